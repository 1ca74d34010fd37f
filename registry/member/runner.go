package member

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime/pprof"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/model"
)

const (
	tickInterval = 100 * time.Millisecond
	// pushInterval bounds how often the ends of push windows are looked at, and so how much longer one takes.
	pushInterval = 10 * time.Millisecond
	// announceTimeout and announceRetry are for a source that is slow, or away.
	announceTimeout = 3 * time.Second
	announceRetry   = time.Second
	// beatPatience is how long the taker of a beat waits for the responsible member.
	beatPatience = time.Second
	// stuckAfter is the time without a tick after which the process is not alive.
	stuckAfter = 30 * time.Second
)

// Links are the streams with the other members, as the Runner needs them.
type Links interface {
	// SetTargets are the addresses with which a stream is wanted.
	SetTargets(addresses []string)
	// Reconnect ends all streams. They are opened again, with what the member says of itself then.
	Reconnect()
}

// RunnerOptions are what a Runner needs.
type RunnerOptions struct {
	// Self describes the member; its incarnation and state are filled in.
	Self model.Member
	// ClusterUID is the same for all members that may talk to each other.
	ClusterUID string
	Policy     membership.Policy
	// Source is nil for a member without peers.
	Source     membership.Source
	Timeouts   Timeouts
	DrainGrace time.Duration
	Probing    Probing
	// MovesPerSecond is Options.MovesPerSecond.
	MovesPerSecond int
	// ReplicationFactor is the number of copies of a shard; 0 = one at every member.
	ReplicationFactor int
	// Waited is the longest time that a client which has just come has waited for an answer since the last call, or still does.
	Waited func() time.Duration
	Log    *slog.Logger
}

// Runner is a Member in a process of its own: it has the clock, the loops, the prober and the source of membership. The
// methods of Member are those of the adapters, whose clients it serves from the moment it is made.
type Runner struct {
	*Member
	opts   RunnerOptions
	log    *slog.Logger
	prober *prober

	leaving  chan struct{} // closed to start the drain
	leave    sync.Once
	parting  chan struct{} // closed when the source shall be told
	farewell chan struct{} // closed when it has been
	left     chan struct{} // closed when the drain is over
	stopped  chan struct{} // closed when Run has ended
	looped   atomic.Int64  // Time.Mono of the last round of the tick loop
}

// NewRunner returns a member that is not running yet.
func NewRunner(o RunnerOptions) *Runner {
	r := &Runner{
		opts: o, log: o.Log,
		leaving: make(chan struct{}), parting: make(chan struct{}), farewell: make(chan struct{}),
		left: make(chan struct{}), stopped: make(chan struct{}),
	}
	r.Member = New(Options{
		Self: o.Self, Incarnation: drawIncarnation, Clock: newClock(), Policy: o.Policy, Timeouts: o.Timeouts,
		Probing: o.Probing.Enabled, MovesPerSecond: o.MovesPerSecond, ReplicationFactor: o.ReplicationFactor,
	})
	r.prober = newProber(o.Probing, r.Verdict)
	return r
}

// clock is the real one.
type clock struct{ start time.Time }

// newClock starts a second after nothing: to those who keep times, 0 means never.
func newClock() clock { return clock{time.Now().Add(-time.Second)} }

// Now implements model.Clock. Differences of time.Time are of the monotonic clock.
func (c clock) Now() model.Time {
	now := time.Now()
	return model.Time{Mono: now.Sub(c.start), Wall: now.UnixMilli()}
}

func drawIncarnation() model.Incarnation {
	for {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails
		if i := model.Incarnation(binary.LittleEndian.Uint64(b[:])); i != 0 {
			return i
		}
	}
}

// Run keeps the member going until ctx ends, which is no error. An error of its own says that the source of membership
// cannot start. links is nil for a member without peers. To be called once.
func (r *Runner) Run(ctx context.Context, links Links) error {
	defer close(r.stopped)
	r.looped.Store(int64(r.clock.Now().Mono))
	if links == nil {
		links = noLinks{}
	}
	g, ctx := errgroup.WithContext(ctx)
	loop := func(name string, run func(context.Context) error) {
		g.Go(func() (err error) {
			pprof.Do(ctx, pprof.Labels("goroutine", name), func(ctx context.Context) { err = run(ctx) })
			return err
		})
	}
	loop("member tick", func(ctx context.Context) error { return r.tickLoop(ctx, links) })
	loop("member push", r.pushLoop)
	loop("member drain", r.drainLoop)
	if r.opts.Probing.Enabled {
		loop("member prober", r.prober.run)
	}
	if r.opts.Source != nil {
		loop("member source", r.sourceLoop)
		loop("member announce", r.announceLoop)
	}
	return g.Wait()
}

// noLinks are those of a member without peers.
type noLinks struct{}

func (noLinks) SetTargets([]string) {}
func (noLinks) Reconnect()          {}

// tickLoop lets time pass, and carries out what the member wants from the world.
func (r *Runner) tickLoop(ctx context.Context, links Links) error {
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	var targets []string
	strained := false
	for {
		strained = r.lookAtWaits(strained) // before anything ends for silence
		r.Tick()
		r.looped.Store(int64(r.clock.Now().Mono))
		r.prober.submit(r.TakeProbes())
		if r.TakeReset() {
			r.log.Warn("was gone from the view of a peer, taking a new incarnation", "incarnation", r.Self().Incarnation)
			links.Reconnect()
		}
		if next := r.targets(); !slices.Equal(next, targets) {
			targets = next
			links.SetTargets(targets)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// targets are nobody once the member has left: who dials would be told that it was gone.
func (r *Runner) targets() []string {
	select {
	case <-r.left:
		return nil
	default:
		return r.Targets()
	}
}

// pushLoop sleeps until a push window begins, and then until the last one has ended.
func (r *Runner) pushLoop(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.pushBegun():
		}
		r.pushWindows(ctx)
	}
}

// pushWindows goes on until no window is left.
func (r *Runner) pushWindows(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		next, idle := r.tickPush()
		if idle {
			return
		}
		timer.Reset(max(next, pushInterval))
	}
}

func (r *Runner) sourceLoop(ctx context.Context) error {
	err := r.opts.Source.Run(ctx, r.SetListing)
	if ctx.Err() != nil {
		return nil
	}
	if err == nil {
		err = errors.New("source of membership ended by itself")
	}
	return err
}

// announceLoop tells the source what others shall see of this member, whenever that changes, and the farewell: it is the
// only one to write there, so that no word after the farewell brings the member back.
func (r *Runner) announceLoop(ctx context.Context) error {
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	type announced struct {
		self  model.Member
		dirty bool
	}
	var said announced
	var retry time.Duration
	failing := false
	for {
		want, now := announced{r.Self(), r.Dirty()}, r.clock.Now().Mono
		if want != said && now >= retry {
			err := r.announce(ctx, want.self, want.dirty)
			switch {
			case err == nil:
				said, failing = want, false
			case ctx.Err() != nil:
				return nil
			default:
				if !failing { // once a row
					r.log.Warn("source of membership takes no announcement, trying again", "error", err)
				}
				failing, retry = true, now+announceRetry
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.parting:
			r.leaveSource(ctx)
			close(r.farewell)
			return nil
		case <-ticker.C:
		}
	}
}

func (r *Runner) announce(ctx context.Context, self model.Member, dirty bool) error {
	ctx, cancel := context.WithTimeout(ctx, announceTimeout)
	defer cancel()
	return r.opts.Source.Announce(ctx, self, dirty)
}

// Alive reports whether the loops run. It never depends on peers.
func (r *Runner) Alive() error {
	if silent := r.clock.Now().Mono - time.Duration(r.looped.Load()); silent > stuckAfter {
		return fmt.Errorf("no tick for %s", silent.Round(time.Second))
	}
	return nil
}

// Beat takes a beat and waits for the answer of the responsible member, if that knows more. It alone may order a
// registration anew: without its answer a light beat counts as known, and a full one is registered here.
func (r *Runner) Beat(ctx context.Context, b Beat) (BeatResult, error) {
	result, answer := r.Member.Beat(b)
	if answer == nil {
		return result, nil
	}
	patience := time.NewTimer(beatPatience)
	defer patience.Stop()
	select {
	case known := <-answer:
		return r.Resolve(b, known), nil
	case <-patience.C:
		return r.Resolve(b, b.Full == nil), nil
	case <-ctx.Done():
		return BeatResult{}, ctx.Err()
	}
}
