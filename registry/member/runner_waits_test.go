package member

import (
	"math"
	"runtime/metrics"
	"testing"
	"time"
)

// TestLongest: what was counted before says nothing, and a bucket no more than its lower bound.
func TestLongest(t *testing.T) {
	buckets := []float64{math.Inf(-1), 0, 0.001, 1, 2, math.Inf(1)}
	read := func(counts ...uint64) *metrics.Float64Histogram {
		return &metrics.Float64Histogram{Buckets: buckets, Counts: counts}
	}
	for name, tc := range map[string]struct {
		before, now []uint64
		want        time.Duration
	}{
		"nothing at all":         {[]uint64{0, 0, 0, 0, 0}, []uint64{0, 0, 0, 0, 0}, 0},
		"nothing new":            {[]uint64{0, 5, 5, 5, 5}, []uint64{0, 5, 5, 5, 5}, 0},
		"below the first bound":  {[]uint64{0, 0, 0, 0, 0}, []uint64{3, 3, 0, 0, 0}, 0},
		"the longest of the new": {[]uint64{0, 1, 1, 0, 1}, []uint64{0, 9, 2, 1, 1}, time.Second},
		"beyond the last bound":  {[]uint64{0, 1, 1, 0, 0}, []uint64{0, 1, 1, 0, 1}, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			seen := newCounts(read(tc.before...))
			if got := seen.longest(read(tc.now...)); got != tc.want {
				t.Errorf("longest %v, want %v", got, tc.want)
			}
			if got := seen.longest(read(tc.now...)); got != 0 {
				t.Errorf("longest %v when nothing was counted since, want 0", got)
			}
		})
	}
}

// TestSchedulerWaits: the runtime of today counts waits as this package reads them.
func TestSchedulerWaits(t *testing.T) {
	waited := SchedulerWaits()
	ended := make(chan struct{})
	for range 1000 {
		go func() { ended <- struct{}{} }()
	}
	for range 1000 {
		<-ended
	}
	if waited() == 0 {
		t.Error("a thousand goroutines, and none has waited for a processor")
	}
}
