package model_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-registry/muster/registry/model"
)

// TestFit: a map that was large is replaced by one with the same entries, and one that is not stays as it is.
func TestFit(t *testing.T) {
	peak := 0
	m := map[int]int{}
	for i := range 10_000 {
		m[i] = -i
	}
	same := func(a, b map[int]int) bool { // what is written to one is in the other
		a[-1] = 1
		defer delete(a, -1)
		return b[-1] == 1
	}
	if !same(m, model.Fit(m, &peak)) || peak != 10_000 {
		t.Fatalf("a full map is replaced, the peak is %d", peak)
	}
	for i := 1300; i < 10_000; i++ {
		delete(m, i)
	}
	if !same(m, model.Fit(m, &peak)) {
		t.Error("one with 1,300 of 10,000 is replaced")
	}
	for i := 1200; i < 1300; i++ {
		delete(m, i)
	}
	fitting := model.Fit(m, &peak)
	if same(m, fitting) || peak != 1200 {
		t.Errorf("one with 1,200 of 10,000 is kept, the peak is %d", peak)
	}
	if d := cmp.Diff(m, fitting); d != "" {
		t.Errorf("entries were lost:\n%s", d)
	}
}
