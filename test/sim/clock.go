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
