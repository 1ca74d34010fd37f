package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/muster-registry/muster/test/bench/limit"
	"github.com/muster-registry/muster/test/bench/load"
	"github.com/muster-registry/muster/test/bench/nacos"
)

// lostAfter is how long a push is waited for.
const lostAfter = 10 * time.Second

// watch notes when changes come to a subscriber. A list that tells a later change tells the earlier ones too.
type watch struct {
	latencies load.Latencies

	mu      sync.Mutex // guards all below
	due     map[int]time.Time
	last    []byte
	arrived chan struct{} // closed at each arrival
}

func newWatch() *watch { return &watch{due: map[int]time.Time{}, arrived: make(chan struct{})} }

func (w *watch) expect(seq int, due time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.due[seq] = due
}

func (w *watch) take(list []byte) {
	now := time.Now()
	seq, ok := nacos.SeqOf(list)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = bytes.Clone(list)
	for s, due := range w.due {
		if ok && s <= seq {
			w.latencies.Add(now.Sub(due))
			delete(w.due, s)
		}
	}
	close(w.arrived)
	w.arrived = make(chan struct{})
}

// wait until all have come.
func (w *watch) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lostAfter)
	defer cancel()
	for {
		w.mu.Lock()
		missing, arrived := len(w.due), w.arrived
		w.mu.Unlock()
		if missing == 0 {
			return nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return fmt.Errorf("%d changes have not come within %v", missing, lostAfter)
		}
	}
}

// idlePushes makes changes, slowly, and returns how long each took to the subscriber of the last process, from the time
// at which it was due. template is what a limit pushes.
func (b *bench) idlePushes(ctx context.Context, s *subject, template []byte) (*watch, error) {
	w := newWatch()
	subscriber, err := nacos.Dial(ctx, s.grpc[len(s.grpc)-1], nacos.Options{OnPush: w.take})
	if err != nil {
		return nil, err
	}
	defer subscriber.Close()
	publisher, err := nacos.Dial(ctx, s.grpc[0], nacos.Options{})
	if err != nil {
		return nil, err
	}
	defer publisher.Close()
	service, in := nacos.ServiceOf(0), nacos.InstanceOf(0)
	change := func(ctx context.Context, seq int) error {
		if s.bare {
			return publisher.Send(limit.Relay, bytes.Replace(template, []byte(nacos.Marker(1)), []byte(nacos.Marker(seq)), 1))
		}
		changed := in
		changed.Seq = seq
		_, err := publisher.Call(ctx, nacos.Register, nacos.RegisterBody(seq, service, changed))
		return err
	}
	if !s.bare {
		if _, err := subscriber.Call(ctx, nacos.Subscribe, nacos.SubscribeBody(1, service)); err != nil {
			return nil, err
		}
	}
	// The first one finds the way; it is not measured.
	w.expect(1, time.Now())
	if err := errors.Join(change(ctx, 1), w.wait(ctx)); err != nil {
		return nil, err
	}
	w.latencies.Reset()
	rnd := rand.New(rand.NewPCG(4, 4))
	err = load.Open(ctx, b.size.pushes, b.size.pushEvery, rnd, func(ctx context.Context, i int, due time.Time) error {
		w.expect(i+2, due)
		return change(ctx, i+2)
	})
	return w, errors.Join(err, w.wait(ctx))
}

// idle measures one subject.
func (b *bench) idle(ctx context.Context, start starter, template []byte) (*watch, error) {
	s, err := start(ctx)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	if err := load.Wait(ctx, b.size.afterLast/4); err != nil {
		return nil, err
	}
	return b.idlePushes(ctx, s, template)
}

func (b *bench) pushIdle(ctx context.Context) ([]row, error) {
	short := *b
	short.size.pushes = 1
	w, err := short.idle(ctx, b.members(1, nil), nil)
	if err != nil {
		return nil, err
	}
	template := bytes.Replace(w.last, []byte(nacos.Marker(2)), []byte(nacos.Marker(1)), 1)
	var p50s, p99s, ratios, limits50, limits99 []float64
	for range b.size.rounds {
		bare, err := b.idle(ctx, b.limits(2, template, ""), template)
		if err != nil {
			return nil, err
		}
		here, err := b.idle(ctx, b.members(3, nil), nil)
		if err != nil {
			return nil, err
		}
		b.tell("  p50 %v, limit %v; p99 %v, limit %v", here.latencies.Quantile(0.5), bare.latencies.Quantile(0.5), here.latencies.Quantile(0.99), bare.latencies.Quantile(0.99))
		limits50, limits99 = append(limits50, millis(bare.latencies.Quantile(0.5))), append(limits99, millis(bare.latencies.Quantile(0.99)))
		p50s, p99s = append(p50s, millis(here.latencies.Quantile(0.5))), append(p99s, millis(here.latencies.Quantile(0.99)))
		ratios = append(ratios, p50s[len(p50s)-1]/limits50[len(limits50)-1])
	}
	half := row{
		what: "register at A to push at C, idle, p50", against: "three chained gRPC stream hops",
		limit: ms(load.Median(limits50)), value: ms(load.Median(p50s)),
	}
	half.judge(load.Median(ratios), 2)
	most := row{
		what: "the same, p99", against: "three chained gRPC stream hops", limit: ms(load.Median(limits99)), value: ms(load.Median(p99s)),
		ratio: times(load.Median(p99s) / load.Median(limits99)), target: "< 10 ms", met: load.Median(p99s) < 10, judged: true,
	}
	return []row{half, most}, nil
}

// fanning: each operation is one change of a crowded service, over when all subscribers have it.
func (b *bench) fanning(template []byte) scenario {
	return scenario{ops: b.size.fans, each: b.size.subscribers, open: func(ctx context.Context, s *subject) (operation, func(), error) {
		var stops []func()
		stop := func() {
			for _, f := range stops {
				f()
			}
		}
		do, err := b.openFan(ctx, s, template, &stops)
		if err != nil {
			stop()
			return nil, nil, err
		}
		return do, stop, nil
	}}
}

func (b *bench) openFan(ctx context.Context, s *subject, template []byte, stops *[]func()) (operation, error) {
	service := nacos.ServiceOf(0)
	n := b.size.crowded
	if s.bare { // whoever is connected to a limit is pushed to
		n = 1
	}
	publishers, stop, err := s.dial(ctx, n, nacos.Options{Small: true})
	if err != nil {
		return nil, err
	}
	*stops = append(*stops, stop)
	if !s.bare { // an instance a connection, as services are
		if _, err := load.Closed(ctx, len(publishers), len(publishers), func(ctx context.Context, w, i int) error {
			_, err := publishers[w].Call(ctx, nacos.Register, nacos.RegisterBody(i, service, nacos.InstanceOf(i)))
			return err
		}); err != nil {
			return nil, err
		}
	}
	c := newCrowd(b.size.subscribers)
	for i := range b.size.subscribers {
		conn, err := nacos.Dial(ctx, s.grpc[i%len(s.grpc)], nacos.Options{OnPush: func(list []byte) { c.take(i, list) }})
		if err != nil {
			return nil, err
		}
		*stops = append(*stops, conn.Close)
		if s.bare {
			continue
		}
		if _, err := conn.Call(ctx, nacos.Subscribe, nacos.SubscribeBody(i, service)); err != nil {
			return nil, err
		}
	}
	var turn sync.Mutex // one change after the other, whoever of the workers has it
	seq := 0
	return func(ctx context.Context, _, _ int) ([]byte, error) {
		turn.Lock()
		defer turn.Unlock()
		seq++
		all := c.expect(seq)
		kind, body := limit.Fan, bytes.Replace(template, []byte(nacos.Marker(1)), []byte(nacos.Marker(seq)), 1)
		if !s.bare {
			in := nacos.InstanceOf(0)
			in.Seq = seq
			kind, body = nacos.Register, nacos.RegisterBody(seq, service, in)
		}
		if _, err := publishers[0].Call(ctx, kind, body); err != nil {
			return nil, err
		}
		err := c.wait(ctx, all)
		return c.list(), err
	}, nil
}

// crowd is subscribers that all wait for one change.
type crowd struct {
	mu     sync.Mutex // guards all below
	marker []byte
	seen   []bool
	left   int
	all    chan struct{}
	last   []byte
}

func newCrowd(n int) *crowd { return &crowd{seen: make([]bool, n)} }

func (c *crowd) expect(seq int) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.marker, c.left, c.all = []byte(nacos.Marker(seq)), len(c.seen), make(chan struct{})
	clear(c.seen)
	return c.all
}

func (c *crowd) take(i int, list []byte) {
	c.mu.Lock()
	marker := c.marker
	c.mu.Unlock()
	if marker == nil || !bytes.Contains(list, marker) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen[i] || !bytes.Equal(marker, c.marker) {
		return
	}
	c.seen[i] = true
	c.last = list
	if c.left--; c.left == 0 {
		close(c.all)
	}
}

func (c *crowd) list() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

func (c *crowd) wait(ctx context.Context, all <-chan struct{}) error {
	timer := time.NewTimer(lostAfter)
	defer timer.Stop()
	select {
	case <-all:
		return nil
	case <-timer.C:
		c.mu.Lock()
		defer c.mu.Unlock()
		return fmt.Errorf("%d subscribers have not been told within %v", c.left, lostAfter)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *bench) pushFanOut(ctx context.Context) ([]row, error) {
	small := *b
	small.size.subscribers = 1
	template, err := small.answer(ctx, small.fanning(nil))
	if err != nil {
		return nil, err
	}
	r := row{
		what:    fmt.Sprintf("one change of a service of %s to %d subscribers, a push", count(b.size.crowded), b.size.subscribers),
		against: "the same buffer on grpc-go streams",
	}
	got, err := b.compare(ctx, b.fanning(template), b.limits(1, []byte(`{"resultCode":200}`), ""), b.members(1, nil))
	if err != nil {
		return nil, err
	}
	r.limit, r.value = medians(got[0]).String(), medians(got[1]).String()
	r.judge(ratio(got[1], got[0]), 1.3)
	return []row{r}, nil
}
