package member

import (
	"runtime/metrics"
	"time"
)

const (
	// schedulerWaits is how long goroutines that were ready to run have waited for a processor, of one in eight of these waits.
	schedulerWaits = "/sched/latencies:seconds"
	// waitsEvery is how often it is looked how long what comes in waits.
	waitsEvery = time.Second
)

// SchedulerWaits returns what RunnerOptions.Waited wants, of this process.
func SchedulerWaits() func() time.Duration {
	sample := []metrics.Sample{{Name: schedulerWaits}}
	read := func() *metrics.Float64Histogram {
		metrics.Read(sample)
		return sample[0].Value.Float64Histogram()
	}
	before := newCounts(read())
	return func() time.Duration { return before.longest(read()) }
}

// counts are those of a histogram when it was read last.
type counts []uint64

func newCounts(h *metrics.Float64Histogram) counts { return append(counts(nil), h.Counts...) }

// longest is the lower bound of the last bucket in which something was counted since; 0 if nothing was.
func (c counts) longest(h *metrics.Float64Histogram) time.Duration {
	var longest time.Duration
	for i, n := range h.Counts {
		if n > c[i] && h.Buckets[i] > 0 { // the first one begins below all
			longest = time.Duration(h.Buckets[i] * float64(time.Second))
		}
	}
	copy(c, h.Counts)
	return longest
}

// lookAtWaits tells the member how long what comes in has waited, and the log when that begins, and ends, to be too long.
func (r *Runner) lookAtWaits(was bool) (strained bool) {
	longest := r.opts.Waited()
	r.Waited(longest)
	switch strained = r.Strained(); {
	case strained && !was:
		r.log.Warn("short of a processor: what clients send is read late, so nothing is removed for being silent", "waited", longest.Round(time.Millisecond).String())
	case was && !strained:
		r.log.Info("what clients send is read in time again")
	}
	return strained
}
