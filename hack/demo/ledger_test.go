package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func list(n, healthy int) event {
	return event{Event: "list", Time: noon, Count: &n, Healthy: &healthy}
}

func connected(is bool, after time.Duration) event {
	return event{Event: "connection", Time: noon.Add(after), Connected: &is}
}

// tell feeds a ledger with what two clients print, "p" the provider and "c" a consumer, and returns its lines.
func tell(l *ledger, notes ...note) []string {
	l.meet("c", "consumer 1")
	l.meet("p", provider)
	var lines []string
	for _, n := range notes {
		if line := l.add(n); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestVerdict(t *testing.T) {
	all := note{pod: "c", event: list(3, 3)}
	cases := map[string]struct {
		notes []note
		want  []string // parts of the error; none = no error
	}{
		"the full list, once":                 {notes: []note{all}},
		"the full list again":                 {notes: []note{all, all}},
		"empty before the first registration": {notes: []note{{pod: "c", event: list(0, 0)}, all}},
		"more than were registered":           {notes: []note{all, {pod: "c", event: list(4, 4)}}},
		"the provider loses its connection":   {notes: []note{all, {pod: "p", event: connected(false, 0)}}},
		"an empty list":                       {notes: []note{all, {pod: "c", event: list(0, 0)}, all}, want: []string{"consumer 1 was told 0 instances"}},
		"one is missing":                      {notes: []note{all, {pod: "c", event: list(2, 2)}}, want: []string{"consumer 1 was told 2 instances"}},
		"one is not healthy":                  {notes: []note{all, {pod: "c", event: list(3, 2)}}, want: []string{"3 instances, 2 of them healthy"}},
		"an error instead of a list":          {notes: []note{all, {pod: "c", event: event{Event: "list", Error: "no hosts"}}}, want: []string{"consumer 1 was told an error: no hosts"}},
		"nothing at all":                      {want: []string{"consumer 1 was never told all instances"}},
		"a consumer whose log ends":           {notes: []note{all, {pod: "c", err: errors.New("gone")}}, want: []string{"consumer 1 gone"}},
		"the provider's log ends":             {notes: []note{all, {pod: "p", err: errors.New("gone")}}, want: []string{"provider gone"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			l := newLedger(3)
			tell(l, c.notes...)
			err := l.verdict()
			if (err == nil) != (len(c.want) == 0) {
				t.Fatalf("verdict: %v", err)
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("verdict %q lacks %q", err, part)
				}
			}
		})
	}
}

func TestLines(t *testing.T) {
	delay, refused := int64(4), false
	first := list(3, 3)
	first.DelayMS = &delay
	l := newLedger(3)
	l.at["consumer 1"] = "registry-a"
	got := tell(
		l,
		note{pod: "c", event: connected(true, 0)},
		note{pod: "c", event: event{Event: "subscribed"}},
		note{pod: "c", event: list(0, 0)},
		note{pod: "p", event: event{Event: "done", Do: "register", OK: &refused, Error: "not yet"}},
		note{pod: "p", event: event{Event: "registered"}},
		note{pod: "c", event: first},
		note{pod: "c", event: connected(false, time.Second)},
		note{pod: "c", event: connected(false, 2*time.Second)}, // what failed to connect
		note{pod: "c", event: connected(true, 2500*time.Millisecond)},
		note{pod: "c", event: list(3, 3)},
		note{pod: "c", event: connected(true, 9*time.Second)}, // a member that leaves asks its clients to go
	)
	want := []string{
		"provider: register is refused, it tries again: not yet",
		"consumer 1 is told 3 instances by registry-a, 4 ms after the provider began to register",
		"consumer 1 has lost its connection",
		"consumer 1 has lost its connection",
		"consumer 1 is connected again, to another member, after 1500 ms",
		"consumer 1 is told 3 instances by registry-a",
		"consumer 1 moves to another member",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if !l.registered || l.complete() != 1 {
		t.Errorf("registered %v, complete %d", l.registered, l.complete())
	}
	if diff := cmp.Diff("        consumer 1: 2 lists told, the shortest with 3 of 3 instances", l.summary()); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
}

func TestRose(t *testing.T) {
	views := func(counts map[string]int) []view {
		var out []view
		for name, n := range counts {
			v := view{Name: name}
			v.Counts.Connections = n
			out = append(out, v)
		}
		return out
	}
	for name, c := range map[string]struct {
		before, after map[string]int
		want          string
	}{
		"one more":             {map[string]int{"a": 1, "b": 2}, map[string]int{"a": 1, "b": 3}, "b"},
		"a new member has one": {map[string]int{"a": 1}, map[string]int{"a": 1, "b": 1}, "b"},
		"none":                 {map[string]int{"a": 1}, map[string]int{"a": 1}, ""},
		"two at one member":    {map[string]int{"a": 1}, map[string]int{"a": 3}, ""},
		"one at each of two":   {map[string]int{"a": 1, "b": 1}, map[string]int{"a": 2, "b": 2}, ""},
		"one came, one went":   {map[string]int{"a": 1, "b": 1}, map[string]int{"a": 2, "b": 0}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := rose(views(c.before), views(c.after), connections); got != c.want {
				t.Errorf("rose: %q, want %q", got, c.want)
			}
		})
	}
}
