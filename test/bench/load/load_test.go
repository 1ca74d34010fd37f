package load

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestClosedMakesEachOperationOnceOnItsWorker(t *testing.T) {
	var mu sync.Mutex
	got := map[int][]int{}
	if _, err := Closed(t.Context(), 3, 8, func(_ context.Context, w, i int) error {
		mu.Lock()
		defer mu.Unlock()
		got[w] = append(got[w], i)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[int][]int{0: {0, 3, 6}, 1: {1, 4, 7}, 2: {2, 5}}, got); diff != "" {
		t.Errorf("operations by worker (-want +got):\n%s", diff)
	}
}

func TestClosedEndsWithTheFirstFailure(t *testing.T) {
	broken := errors.New("broken")
	made := 0
	_, err := Closed(t.Context(), 1, 1000, func(_ context.Context, _, i int) error {
		made++
		if i == 4 {
			return broken
		}
		return nil
	})
	if !errors.Is(err, broken) || made != 5 {
		t.Errorf("%v after %d operations", err, made)
	}
}

// An operation that hangs delays none of those after it, and its own time counts from when it was due.
func TestOpenWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every = 100 * time.Millisecond
		var mu sync.Mutex
		var starts []time.Duration
		var l Latencies
		began := time.Now()
		err := Open(t.Context(), 20, every, rand.New(rand.NewPCG(1, 1)), func(ctx context.Context, i int, due time.Time) error {
			mu.Lock()
			starts = append(starts, due.Sub(began))
			mu.Unlock()
			if i == 3 {
				_ = Wait(ctx, time.Minute)
			}
			l.Add(time.Since(due))
			return nil
		})
		if err != nil || len(starts) != 20 || l.Count() != 20 {
			t.Fatalf("%v, %d started, %d measured", err, len(starts), l.Count())
		}
		slices.Sort(starts)
		for i, at := range starts[1:] {
			if pause := at - starts[i]; pause < 80*time.Millisecond || pause > 120*time.Millisecond {
				t.Errorf("pause of %v before operation %d", pause, i+1)
			}
		}
		if p50, worst := l.Quantile(0.5), l.Quantile(1); p50 != 0 || worst != time.Minute {
			t.Errorf("p50 %v, worst %v, want 0 and a minute", p50, worst)
		}
	})
}

func TestQuantile(t *testing.T) {
	var l Latencies
	if got := l.Quantile(0.5); got != 0 {
		t.Errorf("%v of nothing", got)
	}
	for i := range 100 {
		l.Add(time.Duration(100 - i))
	}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 50, 0.99: 99, 0.999: 100, 1: 100} {
		if got := l.Quantile(q); got != want {
			t.Errorf("quantile %v = %v, want %v", q, got, want)
		}
	}
	if l.Reset(); l.Count() != 0 {
		t.Errorf("%d are left", l.Count())
	}
}

func TestMedian(t *testing.T) {
	for name, c := range map[string]struct {
		values []float64
		want   float64
	}{
		"none": {nil, 0},
		"odd":  {[]float64{9, 1, 5}, 5},
		"even": {[]float64{4, 1, 2, 9}, 3},
	} {
		if got := Median(c.values); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
