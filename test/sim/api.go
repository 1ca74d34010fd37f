package sim

import (
	"slices"
	"time"

	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/model"
)

const (
	renewInterval = 2 * time.Second
	// watchDelay is the longest time until a change shows in a watch.
	watchDelay = 20 * time.Millisecond
)

// api is a Kubernetes API with Leases, as members see it.
type api struct {
	w      *World
	leases []membership.Lease // in the order in which they were made
	serial int64
	// watched is when each node was last handed something: a watch keeps the order.
	watched map[*Node]time.Duration
	// heard is when each node was last handed something for sure.
	heard map[*Node]time.Duration
	// renewed is when each node last renewed its Lease, before the time before that.
	renewed, before map[*Node]time.Duration
	// said is since when each node's Lease says the state that it says.
	said map[*Node]time.Duration
	// cut are the nodes that cannot reach it; down: nobody can.
	cut  map[*Node]bool
	down bool
}

func (a *api) init() {
	a.cut, a.watched, a.heard = map[*Node]bool{}, map[*Node]time.Duration{}, map[*Node]time.Duration{}
	a.renewed, a.before, a.said = map[*Node]time.Duration{}, map[*Node]time.Duration{}, map[*Node]time.Duration{}
}

func (a *api) reach(n *Node) bool { return !a.down && !a.cut[n] }

// join makes a process renew its Lease and watch all.
func (a *api) join(n *Node) {
	n.every(0, renewInterval, func() { a.renew(n) })
	last := n.m.Self().State
	n.every(tickInterval, tickInterval, func() {
		if s := n.m.Self().State; s != last {
			last = s
			a.renew(n)
		}
	})
}

func (a *api) renew(n *Node) {
	if !a.reach(n) || n.m == nil {
		return
	}
	a.serial++
	a.before[n], a.renewed[n] = a.renewed[n], a.w.now
	l := membership.Lease{Name: n.Name, Member: n.m.Self(), Renewal: a.serial}
	i := a.index(n)
	if i < 0 {
		i = len(a.leases)
		a.leases = append(a.leases, membership.Lease{})
	}
	if a.leases[i].Member.State != l.Member.State {
		a.said[n] = a.w.now
	}
	a.leases[i] = l
	a.changed()
}

func (a *api) release(n *Node) {
	if i := a.index(n); i >= 0 && a.reach(n) {
		a.leases[i].Member.Incarnation = 0
		a.serial++
		a.leases[i].Renewal = a.serial
		a.changed()
	}
}

// shown is the last renewal of a node that has had time to arrive in all watches.
func (a *api) shown(n *Node) time.Duration {
	if a.w.now-a.renewed[n] <= watchDelay {
		return a.before[n]
	}
	return a.renewed[n]
}

// showsComplete reports whether all watches have had the time to show that a node is complete and lives.
func (a *api) showsComplete(n *Node) bool {
	i := a.index(n)
	return i >= 0 && a.leases[i].Member.State == model.StateComplete && a.w.now-a.said[n] > watchDelay && a.w.now-a.shown(n) < 9*time.Second
}

func (a *api) index(n *Node) int {
	return slices.IndexFunc(a.leases, func(l membership.Lease) bool { return l.Name == n.Name })
}

// changed hands the present Leases to all watches. A watch of a node that is cut off stays silent, and looks alive.
func (a *api) changed() {
	now := slices.Clone(a.leases)
	for _, n := range a.w.nodes {
		if n.m == nil {
			continue
		}
		life := n.life
		at := max(a.w.now+a.w.Between(time.Millisecond, watchDelay), a.watched[n])
		a.watched[n] = at
		a.w.After(at-a.w.now, func() {
			if n.life != life || n.m == nil || n.frozen || !a.reach(n) {
				return
			}
			a.heard[n] = a.w.now
			seen := slices.Clone(now)
			for i := range seen {
				seen[i].Own = seen[i].Name == n.Name && seen[i].Member.Incarnation == n.m.Self().Incarnation
			}
			n.list(n.leases.Observe(n.Now(), seen))
		})
	}
}
