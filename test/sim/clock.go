package sim

import (
	"time"

	"github.com/muster-registry/muster/registry/model"
)

// clock is what is wrong with the clocks of a node (P8).
type clock struct {
	// skew is what its wall clock is ahead.
	skew time.Duration
	// rate is what both its clocks run too fast since since, as a share; gained is what they did before.
	rate          float64
	since, gained time.Duration
}

// Now is the node's clock.
func (n *Node) Now() model.Time {
	const epoch = 1_700_000_000_000
	ran := n.w.now - n.stood + n.clock.ahead(n.w.now)
	return model.Time{Mono: ran - n.born + time.Hour, Wall: epoch + (ran + n.clock.skew).Milliseconds()}
}

func (c *clock) ahead(now time.Duration) time.Duration {
	if c.rate == 0 {
		return c.gained
	}
	return c.gained + time.Duration(c.rate*float64(now-c.since))
}

// Step moves the wall clock.
func (n *Node) Step(d time.Duration) {
	n.clock.skew += d
	n.w.Logf("the clock of %s jumps by %v", n.Name, d)
}

// Drift makes both clocks run too fast by a share, or too slow.
func (n *Node) Drift(rate float64) {
	if n.clock.rate == rate {
		return
	}
	at := n.w.now
	if n.frozen && n.clockStops { // it stands still since then, and is put right when it wakes
		at = n.frozenAt
	}
	n.clock.gained, n.clock.since, n.clock.rate = n.clock.ahead(at), at, rate
	n.w.Logf("the clocks of %s drift by %v", n.Name, rate)
}

// reading is a process's clock at a time.
type reading struct {
	process int
	at      time.Duration
}

func (n *Node) reading() reading { return reading{n.process, n.w.now} }

// hasHeard reports whether the process has heard of a later reading of a clock, its own or another's, also through others. Every message
// bears its sender's clock, so that the receiver's is not behind it from then on.
func (n *Node) hasHeard(r reading) bool {
	return r.process == n.process || r.process < len(n.heard) && n.heard[r.process] > r.at
}

// clocks is what its next message tells of clocks. Only who roams asks for that.
func (n *Node) clocks() []time.Duration {
	if len(n.w.roamers) == 0 {
		return nil
	}
	told := make([]time.Duration, n.w.processes)
	copy(told, n.heard)
	told[n.process] = n.w.now
	return told
}

// hear takes in what a message tells.
func (n *Node) hear(told []time.Duration) {
	for len(n.heard) < len(told) {
		n.heard = append(n.heard, 0)
	}
	for i, at := range told {
		n.heard[i] = max(n.heard[i], at)
	}
}
