package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestAwait(t *testing.T) {
	broken := errors.New("no such image")
	for name, c := range map[string]struct {
		patience time.Duration
		answers  []error // nil = done; the last one stays
		want     string  // "" = no error
	}{
		"there at once":          {time.Hour, []error{nil}, ""},
		"after an error":         {time.Hour, []error{errors.New("refused"), nil}, ""},
		"no waiting mends it":    {time.Hour, []error{fatal{broken}}, "no such image"},
		"the patience is over":   {0, []error{errors.New("refused\nmore")}, "the thing: not after 0s: refused"},
		"after an error, broken": {time.Hour, []error{errors.New("refused"), fatal{broken}}, "no such image"},
	} {
		t.Run(name, func(t *testing.T) {
			d := &demo{say: newTeller(&bytes.Buffer{}), ledger: newLedger(1)}
			asked := 0
			err := d.await(t.Context(), awaited{"the thing", c.patience, func(context.Context) (string, bool, error) {
				answer := c.answers[min(asked, len(c.answers)-1)]
				asked++
				return "", answer == nil, answer
			}})
			switch {
			case c.want == "" && err != nil:
				t.Errorf("await: %v", err)
			case c.want != "" && (err == nil || err.Error() != c.want):
				t.Errorf("await: %v, want %q", err, c.want)
			}
		})
	}
}

// TestHeard: what is heard early waits for the line that it follows from.
func TestHeard(t *testing.T) {
	var out bytes.Buffer
	d := &demo{say: newTeller(&out), ledger: newLedger(1)}
	d.holding = true
	d.hear("b")
	d.say.sayf("a")
	d.release()
	d.hear("c")
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Fields(line)[1])
	}
	if text := strings.Join(got, ""); text != "abc" {
		t.Errorf("order: %s\n%s", text, out.String())
	}
}
