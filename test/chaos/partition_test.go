//go:build linux

package chaos

import (
	"testing"
	"time"
)

// P1: all links between two of three members are cut for 5 minutes, while publishers on both sides register, change and
// leave. Through the third member both sides go on hearing of each other.
func TestP1LinkCut(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, 3)
	c.scenario(t, "P1 link cut", func() {
		a, b := c.members[0], c.members[1]
		left, right := c.oneOfEach(a), c.oneOfEach(b)
		c.oneOfEach()
		leaving, dying := c.provider(a), c.provider(a)
		c.settled()
		cut(t, []*node{a.node}, b.node)
		c.pass(c.pick(20*time.Second, 8*time.Second))
		c.dirty(a, b)
		for _, p := range append(left, right...) {
			c.must(p.change())
		}
		c.provider(b) // reaches A through the third, as settled asks below
		c.settled()
		leaving.leave(agreement)
		right[2].leave(agreement)
		dying.die(c.deadInTrouble())
		c.settled()
		c.pass(c.pick(4*time.Minute, 10*time.Second))
		healed := time.Now()
		heal(t, []*node{a.node}, b.node)
		c.agree(healed)
	})
}

// P2: one member is cut off from its peers for longer than the instance timeout, its clients still connected.
func TestP2MemberCutOff(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, 3)
	alone, others := c.members[0], []*node{c.members[1].node, c.members[2].node}
	at := c.oneOfEach(alone)
	c.oneOfEach(c.members[1])
	c.oneOfEach()
	times := []time.Duration{15 * time.Second}
	if c.long {
		times = append(times, 30*time.Second, 5*time.Minute)
	}
	for _, d := range times {
		t.Run(d.String(), func(t *testing.T) {
			c.scenario(t, "P2 cut off for "+d.String(), func() {
				c.settled()
				cut(t, []*node{alone.node}, others...)
				c.pass(d / 2)
				c.dirty(c.members...)
				c.must(at[0].change()) // known to nobody else until the heal
				c.pass(d / 2)
				healed := time.Now()
				heal(t, []*node{alone.node}, others...)
				c.agree(healed)
			})
		})
	}
}
