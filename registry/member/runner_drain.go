package member

import (
	"context"
	"errors"
	"time"
)

const (
	// drainPoll is how often a member on its way out looks whether it may go.
	drainPoll = 50 * time.Millisecond
	// lookElsewhere is how long a member with peers stays at least: whoever routes clients needs the time to see that it
	// is leaving.
	lookElsewhere = 2 * time.Second
	// moveTime is how long clients may take to move; then their connections are closed. A quarter of the grace, if that
	// is less.
	moveTime = 5 * time.Second
	// farewellLimit is how long peers may take to hear that the member is gone, and the source after them.
	farewellLimit = 3 * time.Second
)

// errEnded is for a drain that the process did not live to see.
var errEnded = errors.New("the member was stopped before it had left")

// Drain makes the member leave, and returns when it may stop: it has handed over, or its grace is over. Any number of
// callers wait for the same drain; it goes on when their contexts end.
func (r *Runner) Drain(ctx context.Context) error {
	r.leave.Do(func() { close(r.leaving) })
	select {
	case <-r.left:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-r.stopped:
	}
	select {
	case <-r.left:
		return nil
	default:
		return errEnded
	}
}

// drainLoop waits for the order to leave and carries it out.
func (r *Runner) drainLoop(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-r.leaving:
	}
	start := r.clock.Now().Mono
	r.log.Info("leaving", "grace", r.opts.DrainGrace.String())
	r.Member.Drain()
	if !r.poll(ctx, r.opts.DrainGrace, r.handOver(start)) && ctx.Err() == nil {
		r.log.Warn("drain grace is over, stopping with something left", "connections", r.Counts().Connections)
	}
	r.Leave()
	if !r.poll(ctx, farewellLimit, r.Told) && ctx.Err() == nil {
		r.log.Warn("not every peer has heard that this member stops")
	}
	if ctx.Err() != nil {
		return nil
	}
	close(r.parting)
	if r.opts.Source != nil {
		select {
		case <-ctx.Done():
			return nil
		case <-r.farewell:
		}
	}
	r.log.Info("left", "after", (r.clock.Now().Mono - start).String())
	close(r.left)
	return nil
}

// handOver returns what is asked until the member may go. Connections that do not move by themselves are closed.
func (r *Runner) handOver(start time.Duration) func() bool {
	wait := min(moveTime, r.opts.DrainGrace/4)
	least := start
	if len(r.View().Members) > 1 {
		least += min(lookElsewhere, r.opts.DrainGrace/4)
	}
	closeAt := start + wait
	return func() bool {
		now := r.clock.Now().Mono
		if now >= closeAt {
			closeAt = now + time.Second
			r.CloseConnections()
		}
		return now >= least && r.HandedOver()
	}
}

// poll asks until the answer is yes, or the time is over.
func (r *Runner) poll(ctx context.Context, limit time.Duration, done func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(drainPoll)
	defer ticker.Stop()
	for {
		if done() {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
	}
}

func (r *Runner) leaveSource(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, farewellLimit)
	defer cancel()
	if err := r.opts.Source.Leave(ctx); err != nil {
		r.log.Warn("source of membership was not told that this member is gone", "error", err)
	}
}
