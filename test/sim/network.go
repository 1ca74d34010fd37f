package sim

import (
	"slices"
	"time"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
)

const (
	// keepalive is how long a silent stream lives.
	keepalive = 5 * time.Second
	redial    = 500 * time.Millisecond
	underway  = 5 * time.Millisecond // that a message is, at most, on a line that is well
)

// network carries streams between nodes, like TCP: in order, nothing lost and nothing twice while the stream lives. What
// a bad line does to packets shows as delay, and as streams that end and are dialled again (links.go).
type network struct {
	w *World
	// blocked holds the ways on which no packet passes.
	blocked map[way]bool
	bad     map[pair]Line
	streams map[pair]*stream
	// sorted are the pairs with a stream, of the streams of each node; nil after a change of streams.
	sorted []pair
	of     [][]*stream
	untold []untold
	// tamper changes a message on its way, or loses it: for tests that the simulation notices. nil: nobody does.
	tamper func(replication.Message) (m replication.Message, lost bool)
}

type pair struct{ a, b int }

func pairOf(a, b *Node) pair { return pair{min(a.index, b.index), max(a.index, b.index)} }

// stream is up from the handshake until a side is told that it is down.
type stream struct {
	a, b       *Node
	incA, incB model.Incarnation
	// lifeA and lifeB are the processes that it joins.
	lifeA, lifeB int
	// wakeA and wakeB ring when that side has something to send.
	wakeA, wakeB <-chan struct{}
	dead         bool
	// doneA and doneB: that side was told.
	doneA, doneB bool
	lastAB       time.Duration
	lastBA       time.Duration
}

func (n *network) init() {
	n.blocked, n.bad, n.streams = map[way]bool{}, map[pair]Line{}, map[pair]*stream{}
}

// suspect kills the stream of a pair if nothing passes for the keepalive time.
func (n *network) suspect(p pair) {
	s := n.streams[p]
	if s == nil {
		return
	}
	n.w.After(keepalive, func() {
		if n.streams[p] == s && !s.dead && (!n.Reach(s.a, s.b) || s.a.frozen || s.b.frozen) {
			n.kill(s)
		}
	})
}

// kill ends a stream; a frozen side hears it when it wakes.
func (n *network) kill(s *stream) {
	s.dead = true
	delete(n.streams, pairOf(s.a, s.b))
	n.sorted, n.of = nil, nil
	n.tellDown(s, true)
	n.tellDown(s, false)
}

func (n *network) tellDown(s *stream, sideA bool) {
	self, life, other, done := s.a, s.lifeA, s.incB, &s.doneA
	if !sideA {
		self, life, other, done = s.b, s.lifeB, s.incA, &s.doneB
	}
	if *done || self.life != life {
		return
	}
	if self.frozen {
		n.untold = append(n.untold, untold{s, sideA})
		return
	}
	*done = true
	if self.m != nil {
		self.m.PeerDown(other)
	}
}

// tellWoken tells a side that was frozen which of its streams have ended, before it hears of new ones.
func (n *network) tellWoken(x *Node) {
	waiting := n.untold
	n.untold = nil
	for _, u := range waiting {
		if self := u.side(); self == x || !self.frozen {
			n.tellDown(u.stream, u.sideA)
			continue
		}
		n.untold = append(n.untold, u)
	}
}

// untold is a side that was frozen when its stream ended.
type untold struct {
	stream *stream
	sideA  bool
}

func (u untold) side() *Node {
	if u.sideA {
		return u.stream.a
	}
	return u.stream.b
}

// dead ends all streams of a process that has died: the others see a reset at once, unless they are cut off.
func (n *network) dead(x *Node) {
	for _, p := range n.pairs() {
		s := n.streams[p]
		if s.a != x && s.b != x {
			continue
		}
		if s.a == x {
			s.doneA = true
		} else {
			s.doneB = true
		}
		if !n.passes(x, s.other(x)) {
			n.w.After(keepalive, func() {
				if !s.dead {
					n.kill(s)
				}
			})
			continue
		}
		n.kill(s)
	}
}

// reset ends all streams of a process that goes on.
func (n *network) reset(x *Node) {
	for _, p := range n.pairs() {
		if s := n.streams[p]; s.a == x || s.b == x {
			n.kill(s)
		}
	}
}

func (n *network) woke(x *Node) {
	n.tellWoken(x)
	for _, p := range n.pairs() {
		if p.a < len(n.w.nodes) && (n.w.nodes[p.a] == x || n.w.nodes[p.b] == x) {
			n.suspect(p)
		}
	}
}

// pairs are those with a stream, in a fixed order. The list is never changed once it was given.
func (n *network) pairs() []pair {
	if n.sorted != nil {
		return n.sorted
	}
	ps := make([]pair, 0, len(n.streams))
	for p := range n.streams {
		ps = append(ps, p)
	}
	slices.SortFunc(ps, func(x, y pair) int {
		if x.a != y.a {
			return x.a - y.a
		}
		return x.b - y.b
	})
	n.sorted = ps
	return ps
}

// join makes a process dial.
func (n *network) join(x *Node) {
	x.every(n.w.Between(0, redial), redial, func() { n.dial(x) })
}

func (n *network) dial(x *Node) {
	for _, address := range x.m.Targets() {
		i := slices.IndexFunc(n.w.nodes, func(o *Node) bool { return o.Address == address })
		if i < 0 || n.w.nodes[i] == x {
			continue
		}
		y := n.w.nodes[i]
		if s := n.streams[pairOf(x, y)]; s != nil {
			if y.frozen || x.frozen {
				n.suspect(pairOf(x, y))
			}
			continue
		}
		switch {
		case !n.Reach(x, y) || y.frozen || n.lost(x, y):
			x.m.Dialled(address, replication.DialSilent)
		case y.m == nil:
			x.m.Dialled(address, replication.DialRefused)
		default:
			n.connect(x, y)
		}
	}
}

func (n *network) connect(x, y *Node) {
	p := pairOf(x, y)
	a, b := n.w.nodes[p.a], n.w.nodes[p.b]
	s := &stream{a: a, b: b, lifeA: a.life, lifeB: b.life, incA: a.m.Self().Incarnation, incB: b.m.Self().Incarnation}
	n.streams[p], n.sorted, n.of = s, nil, nil
	n.w.Logf("stream %s - %s", a.Name, b.Name)
	x.m.Dialled(y.Address, replication.DialConnected)
	s.wakeA = a.m.PeerUp(b.m.Self())
	s.wakeB = b.m.PeerUp(a.m.Self())
	if x.frozen || y.frozen {
		n.suspect(p)
	}
}

// pull takes what a node wants to send, and plans its delivery.
func (n *network) pull(x *Node) {
	for _, s := range n.streamsOf(x) {
		wake := s.wakeB
		if s.a == x {
			wake = s.wakeA
		}
		if len(wake) == 0 || s.dead {
			continue
		}
		<-wake
		if s.a == x {
			n.send(s, x, s.b, s.incB, s.incA, &s.lastAB)
		} else {
			n.send(s, x, s.a, s.incA, s.incB, &s.lastBA)
		}
	}
}

// streamsOf are the streams of a node, in a fixed order.
func (n *network) streamsOf(x *Node) []*stream {
	if n.of == nil {
		n.of = make([][]*stream, len(n.w.nodes))
		for _, p := range n.pairs() {
			s := n.streams[p]
			n.of[p.a], n.of[p.b] = append(n.of[p.a], s), append(n.of[p.b], s)
		}
	}
	if x.index >= len(n.of) {
		return nil // made since the last change of streams
	}
	return n.of[x.index]
}

func (s *stream) other(x *Node) *Node {
	if s.a == x {
		return s.b
	}
	return s.a
}

func (n *network) send(s *stream, from, to *Node, toInc, fromInc model.Incarnation, last *time.Duration) {
	for {
		ms := from.m.Pull(toInc)
		if len(ms) == 0 {
			return
		}
		d := n.w.Between(500*time.Microsecond, underway)
		late, broken := n.delay(from, to)
		if broken {
			n.w.Logf("the stream %s - %s breaks", s.a.Name, s.b.Name)
			n.w.After(keepalive, func() {
				if !s.dead {
					n.kill(s)
				}
			})
		}
		late += to.lag()
		at := max(n.w.now+d+late, *last)
		*last = at
		if at > n.w.now+d { // also behind what was late before
			to.late = max(to.late, at)
		}
		clocks := from.clocks()
		for _, m := range ms {
			if n.tamper != nil {
				var lost bool
				if m, lost = n.tamper(m); lost {
					continue
				}
			}
			n.deliver(letter{s, from, to, fromInc, m, clocks}, at-n.w.now)
		}
	}
}

// letter is a message on its way, with what its sender has heard of clocks.
type letter struct {
	stream   *stream
	from, to *Node
	fromInc  model.Incarnation
	message  replication.Message
	clocks   []time.Duration
}

// deliver waits while packets do not pass: what is not lost by the end of the stream arrives after the heal.
func (n *network) deliver(l letter, d time.Duration) {
	n.w.After(d, func() {
		switch {
		case l.stream.dead:
		case !n.passes(l.from, l.to) || l.to.frozen:
			n.deliver(l, 100*time.Millisecond)
		case l.to.m != nil:
			n.w.Logf("%s > %s kind %d seq %d entries %d", l.from.Name, l.to.Name, l.message.Kind, l.message.Seq, len(l.message.Entries))
			l.to.hear(l.clocks)
			l.to.m.Receive(l.fromInc, l.message)
		}
	})
}
