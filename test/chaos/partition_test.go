//go:build linux

package chaos

import (
	"fmt"
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
		c.probed(8)
		cut(t, []*node{a.node}, b.node)
		c.pass(c.pick(20*time.Second, 8*time.Second))
		c.dirty(a, b)
		for _, p := range append(left, right...) {
			c.changed(p)
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
				c.changed(at[0]) // known to nobody else until the heal
				c.pass(d / 2)
				healed := time.Now()
				heal(t, []*node{alone.node}, others...)
				c.agree(healed)
			})
		})
	}
}

// P4 and P13 share an API server, and follow each other.
func TestAPICutOff(t *testing.T) {
	t.Parallel()
	if *formName == "" {
		t.Skip("needs namespaces and minutes: make chaos-short, or make chaos")
	}
	n := newNetwork(t)
	k := newKube(t, n)
	t.Run("P4", func(t *testing.T) { apiAway(t, newLeaseCluster(t, k, n, "p4"), k) })
	t.Run("P13", func(t *testing.T) { isolated(t, newLeaseCluster(t, k, n, "p13"), k) })
}

// P4: one member is cut off from its peers, and the Kubernetes API is away for all: the view is frozen and says so.
func apiAway(t *testing.T, c *cluster, k *kube) {
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
			c.scenario(t, "P4 cut off, no API for "+d.String(), func() {
				c.settled()
				cut(t, []*node{k.node}, append(others, alone.node)...)
				c.frozen(c.members...)
				cut(t, []*node{alone.node}, others...)
				c.pass(d / 2)
				c.dirty(c.members...)
				c.changed(at[0])
				c.pass(d / 2)
				c.frozen(c.members...)
				healed := time.Now()
				heal(t, []*node{alone.node}, others...)
				heal(t, []*node{k.node}, append(others, alone.node)...)
				c.agree(healed)
				c.whole() // nobody was taken for gone
			})
		})
	}
}

// P13: a member loses the API and its peers while its watch still looks alive. It removes nobody; the others take it for
// gone after their time, and keep what its clients have registered, and one whose beats all go there now.
func isolated(t *testing.T, c *cluster, k *kube) {
	c.scenario(t, "P13 a member isolated", func() {
		alone, others := c.members[0], []*node{c.members[1].node, c.members[2].node}
		c.oneOfEach(alone)
		c.oneOfEach(c.members[1])
		c.oneOfEach()
		moving := c.beater()
		dying := c.provider(c.members[1])
		c.settled()
		c.probed(8)
		moving.goTo(alone)
		cut(t, []*node{alone.node}, append(others, k.node)...)
		c.frozen(alone)
		for _, m := range c.members[1:] {
			c.eventually(m.name+" to take it for gone", func() string {
				if v, err := m.view(t.Context()); err != nil || len(v.Members) != 2 || v.Frozen {
					return fmt.Sprintf("%+v, %v", v, err)
				}
				return ""
			})
		}
		if v, err := alone.view(t.Context()); err != nil || len(v.Members) != 3 {
			t.Errorf("the view of the isolated member: %+v, %v", v, err)
		}
		dying.die(patience + c.pick(100*time.Second, 20*time.Second) + agreement) // the isolated one cannot know
		c.settledBut(alone)
		c.pass(c.pick(100*time.Second, 20*time.Second))
		healed := time.Now()
		heal(t, []*node{alone.node}, append(others, k.node)...)
		c.agree(healed)
		c.whole()
	})
}

// frozen waits until members say that their view is.
func (c *cluster) frozen(members ...*member) {
	c.t.Helper()
	for _, m := range members {
		c.eventually("the view of "+m.name+" to be frozen", func() string {
			if v, err := m.view(c.t.Context()); err != nil || !v.Frozen {
				return fmt.Sprintf("%+v, %v", v, err)
			}
			return ""
		})
	}
}
