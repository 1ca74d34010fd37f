package member_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/push"
)

// resets takes what waits for the connections, and counts those that are asked to move.
func resets(conns []*push.Conn) int {
	n := 0
	for _, c := range conns {
		for it, ok := c.Next(); ok; it, ok = c.Next() {
			if it.Kind == push.ItemReset {
				n++
			}
		}
	}
	return n
}

// TestRebalance: a member that holds all clients asks some to go, a few a second, none of them twice, and only while
// nobody leaves, nobody is out of reach and the view is the true one.
func TestRebalance(t *testing.T) {
	const clients, perSecond = 90, 2
	tests := map[string]struct {
		upset func(c *cluster, a, b, d *peer)
		moves bool
	}{
		"all is well":           {func(*cluster, *peer, *peer, *peer) {}, true},
		"a member leaves":       {func(_ *cluster, _, b, _ *peer) { b.Drain() }, false},
		"this member leaves":    {func(_ *cluster, a, _, _ *peer) { a.Drain() }, false},
		"a member is cut off":   {func(c *cluster, a, b, _ *peer) { c.cut(a, b) }, false},
		"a member says nothing": {func(_ *cluster, _, b, _ *peer) { b.asleep = true }, false},
		"the view is frozen":    {func(_ *cluster, a, _, _ *peer) { a.SetListing(membership.Listing{}) }, false},
		"a member is not yet one": {func(c *cluster, a, _, _ *peer) {
			late := c.add("late", membership.PolicyLease())
			a.list(append(c.entries(), late.entry())...)
		}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, a, b, d := three(t)
			var conns []*push.Conn
			id := func(i int) string { return fmt.Sprintf("c%02d", i) }
			for i := range clients {
				conns = append(conns, a.client(id(i)))
			}
			pass := func(d time.Duration) {
				for ; d > 0; d -= 10 * time.Second {
					c.pass(10 * time.Second)
					for i := range clients {
						a.Touch(id(i))
					}
				}
			}
			pass(40 * time.Second)
			if n := resets(conns); n > 0 {
				t.Fatalf("%d were asked to move within a minute of their connection", n)
			}
			tt.upset(c, a, b, d)
			c.flow()
			resets(conns) // a member that leaves asks all
			pass(40 * time.Second)
			switch n := resets(conns); {
			case tt.moves && (n == 0 || n > 40*perSecond):
				t.Errorf("%d were asked to move in 20 s or so", n)
			case !tt.moves && n > 0:
				t.Errorf("%d were asked to move", n)
			}
			if !tt.moves {
				return
			}
			pass(10 * time.Minute) // nobody follows
			asked, moves := resets(conns), a.Moves()
			if moves.Asked > clients || moves.Staying != int(moves.Asked) || asked > clients || b.Moves() != (member.Moves{}) {
				t.Errorf("in the end %+v, and the one without clients %+v", moves, b.Moves())
			}
		})
	}
}

// entries are how a source lists all who are here.
func (c *cluster) entries() []membership.Entry {
	var all []membership.Entry
	for _, s := range c.peers {
		all = append(all, s.entry())
	}
	return all
}
