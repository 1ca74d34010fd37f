package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/muster-registry/muster/test/bench/load"
	"github.com/muster-registry/muster/test/bench/nacos"
)

// sample is what operations cost a subject in one round.
type sample struct {
	micros float64 // of its CPU, for one operation
	rate   float64 // operations a second
}

func (s sample) String() string { return fmt.Sprintf("%.1f µs, %.0f/s", s.micros, s.rate) }

// scenario is what is done to each of them.
type scenario struct {
	// open connects and prepares. The operations are made in a closed loop, one at a time on each connection.
	open func(ctx context.Context, s *subject) (operation, func(), error)
	ops  int
	// each operation counts as so many; 0 = 1.
	each int
}

// operation i, on connection w, with its answer.
type operation func(ctx context.Context, w, i int) ([]byte, error)

// compare runs a scenario on all subjects in turn, once a round, every other round in the other order: what disturbs the
// machine for a while disturbs all of them. It returns the samples of each subject.
func (b *bench) compare(ctx context.Context, sc scenario, subjects ...starter) ([][]sample, error) {
	all := make([][]sample, len(subjects))
	for round := range b.size.rounds {
		order := make([]int, len(subjects))
		for i := range order {
			order[i] = i
		}
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, i := range order {
			got, err := b.sample(ctx, sc, subjects[i])
			if err != nil {
				return nil, err
			}
			b.tell("  round %d, subject %d: %v", round+1, i+1, got)
			all[i] = append(all[i], got)
		}
	}
	return all, nil
}

func (b *bench) sample(ctx context.Context, sc scenario, start starter) (sample, error) {
	s, err := start(ctx)
	if err != nil {
		return sample{}, err
	}
	defer s.stop()
	do, stop, err := sc.open(ctx, s)
	if err != nil {
		return sample{}, err
	}
	defer stop()
	if err := load.Wait(ctx, b.size.afterLast/4); err != nil {
		return sample{}, err
	}
	if err := s.record(); err != nil {
		return sample{}, err
	}
	before, err := s.cpu()
	if err != nil {
		return sample{}, err
	}
	took, err := load.Closed(ctx, b.size.connections, sc.ops, func(ctx context.Context, w, i int) error {
		_, err := do(ctx, w, i)
		return err
	})
	if err != nil {
		return sample{}, err
	}
	if err := load.Wait(ctx, b.size.afterLast); err != nil { // what is put off counts too
		return sample{}, err
	}
	after, err := s.cpu()
	if err != nil {
		return sample{}, err
	}
	if err := s.finish(ctx); err != nil {
		return sample{}, err
	}
	n := float64(sc.ops * max(sc.each, 1))
	return sample{micros: float64(after-before) / float64(time.Microsecond) / n, rate: n / took.Seconds()}, nil
}

// answer is what the registry says to the first operation: the limit will say the same.
func (b *bench) answer(ctx context.Context, sc scenario) ([]byte, error) {
	s, err := b.members(1, nil)(ctx)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	do, stop, err := sc.open(ctx, s)
	if err != nil {
		return nil, err
	}
	defer stop()
	body, err := do(ctx, 0, 0)
	return slices.Clone(body), err
}

// medians of all rounds.
func medians(samples []sample) sample {
	var micros, rates []float64
	for _, s := range samples {
		micros, rates = append(micros, s.micros), append(rates, s.rate)
	}
	return sample{load.Median(micros), load.Median(rates)}
}

// ratio is the median of those of the rounds: both of a round have met the same machine.
func ratio(samples, limits []sample) float64 {
	var ratios []float64
	for i := range samples {
		ratios = append(ratios, samples[i].micros/limits[i].micros)
	}
	return load.Median(ratios)
}

// calls opens connections over gRPC, prepares the subject unless it is bare, and makes calls.
func (b *bench) calls(prepare func(context.Context, []*nacos.Conn) error, call func(i int) (kind string, body []byte)) func(context.Context, *subject) (operation, func(), error) {
	return func(ctx context.Context, s *subject) (operation, func(), error) {
		conns, stop, err := s.dial(ctx, b.size.connections, nacos.Options{})
		if err != nil {
			return nil, nil, err
		}
		if prepare != nil && !s.bare {
			if err := prepare(ctx, conns); err != nil {
				stop()
				return nil, nil, err
			}
		}
		return func(ctx context.Context, w, i int) ([]byte, error) {
			kind, body := call(i)
			return conns[w].Call(ctx, kind, body)
		}, stop, nil
	}
}

// web is the same over HTTP. What is prepared over gRPC stays while it is connected, without beats.
func (b *bench) web(prepare func(context.Context, []*nacos.Conn) error, beating []([]byte), request func(i int) []byte) func(context.Context, *subject) (operation, func(), error) {
	return func(ctx context.Context, s *subject) (do operation, stop func(), err error) {
		var stops []func()
		stop = func() {
			for _, f := range stops {
				f()
			}
		}
		defer func() {
			if err != nil {
				stop()
			}
		}()
		if prepare != nil && !s.bare {
			rpc, closeAll, err := s.dial(ctx, b.size.connections, nacos.Options{})
			if err != nil {
				return nil, nil, err
			}
			stops = append(stops, closeAll)
			if err := prepare(ctx, rpc); err != nil {
				return nil, nil, err
			}
		}
		conns := make([]*nacos.HTTPConn, b.size.connections)
		for i := range conns {
			if conns[i], err = nacos.DialHTTP(s.http[i%len(s.http)]); err != nil {
				return nil, nil, err
			}
			stops = append(stops, conns[i].Close)
		}
		if !s.bare {
			if _, err := load.Closed(ctx, len(conns), len(beating), func(_ context.Context, w, i int) error {
				_, err := conns[w].Do(beating[i])
				return err
			}); err != nil {
				return nil, nil, err
			}
		}
		return func(_ context.Context, w, i int) ([]byte, error) { return conns[w].Do(request(i)) }, stop, nil
	}
}
