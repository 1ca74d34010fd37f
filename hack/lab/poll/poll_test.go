package poll_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-registry/muster/hack/lab/poll"
)

func TestUntil(t *testing.T) {
	errCold := errors.New("it is cold")
	cases := map[string]struct {
		answersAt time.Duration // never, when 0
		cancelAt  time.Duration
		want      string
		took      time.Duration
	}{
		"answers at once":          {answersAt: 1},
		"answers later":            {answersAt: 350 * time.Millisecond, took: 400 * time.Millisecond},
		"never answers":            {want: "after 2s: it is cold", took: 2 * time.Second},
		"the caller has no time":   {cancelAt: 250 * time.Millisecond, want: "context canceled", took: 250 * time.Millisecond},
		"an answer after patience": {answersAt: 3 * time.Second, want: "it is cold", took: 2 * time.Second},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.cancelAt > 0 {
					time.AfterFunc(c.cancelAt, cancel)
				}
				err := poll.Until(ctx, 2*time.Second, func(context.Context) error {
					if c.answersAt > 0 && time.Since(start) >= c.answersAt-1 {
						return nil
					}
					return errCold
				})
				if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want %q", err, c.want)
				}
				if took := time.Since(start); took != c.took {
					t.Errorf("took %s, want %s", took, c.took)
				}
			})
		})
	}
}

// An error that only says that our own time ran out hides the real one.
func TestUntilKeepsTheRealError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		err := poll.Until(t.Context(), time.Second, func(ctx context.Context) error {
			if calls++; calls == 1 {
				return errors.New("connection refused")
			}
			<-ctx.Done()
			return ctx.Err()
		})
		if err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("error %v, want connection refused", err)
		}
	})
}
