package sim

import "time"

// way is one direction of a pair of nodes.
type way struct{ from, to int }

// Line is a bad line between two nodes (P6). A lost packet is sent again after 200 ms, then after twice as long each time,
// and holds up all that follows it: what TCP makes of loss, duplicates and another order of packets is delay, and an end
// of the stream where the delay is longer than the keepalive.
type Line struct {
	// Loss is the share of packets that are lost.
	Loss float64
	// Delay is the longest time that a packet takes.
	Delay time.Duration
}

const firstRetransmission = 200 * time.Millisecond

// passes reports whether packets pass one way.
func (n *network) passes(from, to *Node) bool {
	return len(n.blocked) == 0 || !n.blocked[way{from.index, to.index}]
}

// Reach reports whether packets pass between two nodes, both ways: without answers there is no stream for long.
func (n *network) Reach(a, b *Node) bool { return n.passes(a, b) && n.passes(b, a) }

// Cut ends that they do; streams are found dead after the keepalive.
func (n *network) Cut(a, b *Node) {
	if a == b || !n.passes(a, b) && !n.passes(b, a) {
		return
	}
	n.blocked[way{a.index, b.index}], n.blocked[way{b.index, a.index}] = true, true
	n.w.Logf("cut %s - %s", a.Name, b.Name)
	n.suspect(pairOf(a, b))
}

// CutWay ends that packets pass from a to b; from b to a they still do.
func (n *network) CutWay(a, b *Node) {
	if a == b || !n.passes(a, b) {
		return
	}
	n.blocked[way{a.index, b.index}] = true
	n.w.Logf("cut %s > %s", a.Name, b.Name)
	n.suspect(pairOf(a, b))
}

// Heal lets packets pass again, both ways.
func (n *network) Heal(a, b *Node) {
	if !n.Reach(a, b) {
		delete(n.blocked, way{a.index, b.index})
		delete(n.blocked, way{b.index, a.index})
		n.w.Logf("heal %s - %s", a.Name, b.Name)
	}
}

// HealAll lets all pass, on good lines.
func (n *network) HealAll() {
	clear(n.bad)
	for i := range n.w.nodes {
		for j := i + 1; j < len(n.w.nodes); j++ {
			n.Heal(n.w.nodes[i], n.w.nodes[j])
		}
	}
}

// Spoil makes a line bad, or good again with the zero Line.
func (n *network) Spoil(a, b *Node, l Line) {
	if a == b {
		return
	}
	n.w.Logf("the line %s - %s loses %.0f %% and takes %v", a.Name, b.Name, 100*l.Loss, l.Delay)
	if l == (Line{}) {
		delete(n.bad, pairOf(a, b))
		return
	}
	n.bad[pairOf(a, b)] = l
}

// Flap cuts and heals a pair again and again for d.
func (n *network) Flap(a, b *Node, d time.Duration) {
	end := n.w.now + d
	var flap func()
	flap = func() {
		if n.w.now >= end || n.w.quiet {
			n.Heal(a, b)
			return
		}
		if n.Reach(a, b) {
			n.Cut(a, b)
		} else {
			n.Heal(a, b)
		}
		n.w.After(n.w.Between(100*time.Millisecond, 7*time.Second), flap)
	}
	flap()
}

// delay draws what a bad line adds, and whether the stream breaks on it.
func (n *network) delay(from, to *Node) (late time.Duration, broken bool) {
	l, bad := n.bad[pairOf(from, to)]
	if !bad {
		return 0, false
	}
	if l.Delay > 0 {
		late = n.w.Between(l.Delay/2, l.Delay)
	}
	for again := firstRetransmission; n.w.rng.Float64() < l.Loss; again *= 2 {
		if late += again; late > keepalive {
			return late, true
		}
	}
	return late, false
}

// lost draws whether a handshake fails on a bad line.
func (n *network) lost(a, b *Node) bool {
	l, bad := n.bad[pairOf(a, b)]
	return bad && n.w.rng.Float64() < l.Loss
}
