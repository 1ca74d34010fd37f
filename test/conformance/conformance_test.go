package conformance

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

var target = flag.String("server", "", "host:port of a running server to compare, instead of a member in this process")

// TestHTTP compares HTTP v1 with the recorded answers of Nacos 2.5.1. Its time is that of the longest script, which waits
// for beats to expire.
func TestHTTP(t *testing.T) {
	t.Parallel()
	r := &Runner{HTTP: *target, Run: token(), Jobs: 32, Steps: HTTPSteps()}
	if r.HTTP == "" {
		r.HTTP = start(t, config()).Addr().HTTP.String()
	}
	compare(t, r, "http", "http-v1-instance", "http-v1-admin", "health")
}

// compare plays the areas and reports each name that differs in a way that accepted-<name>.yaml does not hold.
func compare(t *testing.T, r *Runner, accepted string, areas ...string) {
	t.Helper()
	scripts, err := Load(areas...)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Recorded(areas...)
	if err != nil {
		t.Fatal(err)
	}
	accept, err := LoadAccepted(accepted)
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Play(t.Context(), scripts)
	if err != nil {
		t.Fatal(err)
	}
	if len(want) == 0 {
		t.Fatal("no recorded answers")
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		answer, ok := got[name]
		if !ok {
			t.Errorf("%s: no answer", name)
			continue
		}
		for _, d := range accept.Remaining(name, Compare(want[name], answer)) {
			t.Errorf("%s: %s\n request %v", name, d, answer.Request)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: nothing is recorded for it", name)
		}
	}
	for _, pattern := range accept.Unused() {
		t.Errorf("accepted-%s.yaml: %s no longer matches a difference: remove it", accepted, pattern)
	}
	t.Logf("%d answers compared", len(want))
}

// token makes the names of a run its own.
func token() string { return fmt.Sprintf("r%06x", time.Now().UnixMilli()>>6&0xffffff) }
