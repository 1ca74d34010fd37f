// Package load drives a server: in a closed loop, to see what an operation costs, and in an open one, to see how long it
// takes.
package load

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Closed makes operations 0 to n-1, one at a time on each worker: worker w makes w, w+workers, w+2*workers. It returns
// how long that took. The first failure ends it.
func Closed(ctx context.Context, workers, n int, do func(ctx context.Context, worker, i int) error) (time.Duration, error) {
	g, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	for w := range workers {
		g.Go(func() error {
			for i := w; i < n; i += workers {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := do(ctx, w, i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := g.Wait()
	return time.Since(began), err
}

// Open starts n operations at times that were fixed before, whatever became of the earlier ones, and waits for all. Who
// measures begins to count at due: an operation that starts late because the generator or the server is slow has waited.
// The pauses are every, a fifth more or less, so that they do not fall in step with a ticker of the server.
func Open(ctx context.Context, n int, every time.Duration, rnd *rand.Rand, do func(ctx context.Context, i int, due time.Time) error) error {
	g, ctx := errgroup.WithContext(ctx)
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	due := time.Now()
	for i := range n {
		due = due.Add(time.Duration(float64(every) * (0.8 + 0.4*rnd.Float64())))
		timer.Reset(time.Until(due))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return g.Wait()
		}
		at := due
		g.Go(func() error { return do(ctx, i, at) })
	}
	return g.Wait()
}

// Latencies collects times. Safe for concurrent use.
type Latencies struct {
	mu    sync.Mutex
	times []time.Duration
}

// Add puts one in.
func (l *Latencies) Add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.times = append(l.times, d)
}

// Reset forgets all.
func (l *Latencies) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.times = nil
}

// Quantile is the smallest time that at least the share q of all are not above; 0 of none.
func (l *Latencies) Quantile(q float64) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.times) == 0 {
		return 0
	}
	slices.Sort(l.times)
	return l.times[min(max(int(math.Ceil(q*float64(len(l.times))))-1, 0), len(l.times)-1)]
}

// Count is how many were put in.
func (l *Latencies) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.times)
}

// Median of values; of an even number the mean of the middle two, 0 of none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// Wait lets time pass.
func Wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
