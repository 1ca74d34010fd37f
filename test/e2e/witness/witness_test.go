package witness

import (
	"slices"
	"strings"
	"testing"
)

const (
	whole     = `{"event":"list","client":0,"count":2,"instances":[{"address":"a:1","healthy":true},{"address":"b:1","healthy":true}]}`
	part      = `{"event":"list","client":0,"count":1,"instances":[{"address":"a:1","healthy":true}]}`
	unhealthy = `{"event":"list","client":0,"count":2,"instances":[{"address":"a:1","healthy":true},{"address":"b:1","healthy":false}]}`
	other     = `{"event":"list","client":0,"count":2,"instances":[{"address":"a:1","healthy":true},{"address":"c:1","healthy":true}]}`
	failed    = `{"event":"list","client":0,"error":"hosts is empty"}`
)

func TestViolations(t *testing.T) {
	tests := map[string]struct {
		before, after []string // Hold is called between them
		want          string   // "" = none
	}{
		"lists grow before anybody holds": {[]string{failed, part}, []string{whole}, ""},
		"the same list again":             {[]string{whole}, []string{whole, whole}, ""},
		"one instance less":               {[]string{whole}, []string{part, whole}, "b:1"},
		"another in its place":            {[]string{whole}, []string{other}, "b:1"},
		"unhealthy":                       {[]string{whole}, []string{unhealthy}, "b:1 (unhealthy)"},
		"an error in place of a list":     {[]string{whole}, []string{failed}, "a:1 b:1"},
		"a first list that is short":      {nil, []string{part}, "b:1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := New()
			take(t, w, "p", tt.before...)
			w.Hold("a:1", "b:1")
			take(t, w, "p", tt.after...)
			got := strings.Join(w.Violations(), "\n")
			if (got != "") != (tt.want != "") || !strings.HasSuffix(got, tt.want) {
				t.Errorf("violations %q, want %q", got, tt.want)
			}
		})
	}
}

func TestTold(t *testing.T) {
	w := New()
	take(t, w, "p", part, whole)
	take(t, w, "q", whole, part)
	take(t, w, "r", unhealthy)
	if got := w.Told("a:1", "b:1"); got != 1 {
		t.Errorf("%d subscribers know both, want 1", got)
	}
	take(t, w, "s", other)
	want := []string{"client 0 of q: lacks b:1", "client 0 of r: lacks b:1 (unhealthy)", "client 0 of s: lacks b:1, has c:1"}
	if got := w.Differs("a:1", "b:1"); !slices.Equal(got, want) {
		t.Errorf("different are %q, want %q", got, want)
	}
	if got := w.Told("a:1"); got != 1 {
		t.Errorf("%d subscribers know one, want 1", got)
	}
	if got := w.Lists(); got != 6 {
		t.Errorf("%d lists, want 6", got)
	}
}

func TestConnectionsAndProgress(t *testing.T) {
	w := New()
	take(t, w, "p", `{"event":"connection","connected":true}`, `{"event":"connection","connected":false}`, `{"event":"connection"}`, `{"event":"registered","count":10}`)
	if w.Connected() != 1 || w.Lost() != 1 || w.Done("p") != 10 || w.Done("q") != 0 {
		t.Errorf("made %d, lost %d, done %d and %d", w.Connected(), w.Lost(), w.Done("p"), w.Done("q"))
	}
	if err := w.Take("p", []byte("panic: no")); err == nil {
		t.Error("a line that is no event is taken")
	}
}

func take(t *testing.T, w *Witness, pod string, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if err := w.Take(pod, []byte(l)); err != nil {
			t.Fatal(err)
		}
	}
}
