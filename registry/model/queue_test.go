package model

import "testing"

// TestQueue: first in, first out, and only what is due.
func TestQueue(t *testing.T) {
	var q Queue[int]
	for i := range 10 {
		q.Add(i)
	}
	for i := range 10 {
		if _, ok := q.Take(func(at int) bool { return at < i }); ok {
			t.Errorf("%d is taken too early", i)
		}
		if got, ok := q.Take(func(at int) bool { return at <= i }); !ok || got != i {
			t.Errorf("took %d, %t, want %d", got, ok, i)
		}
	}
	if q.items != nil {
		t.Error("keeps its room")
	}
}
