package sim

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/ring"
	"github.com/muster-registry/muster/registry/session"
)

// script is a world in which somebody decides what happens: the rows of the fault scenarios, one by one.
type script struct {
	*World
	orders model.ServiceKey
	// watched are the clients whose newest registration must show in the end.
	watched []*Client
}

var plays = flag.Int("plays", 3, "seeds to run each script with")

// play runs a script with a few seeds, which move everything by milliseconds, heals everything at its end and judges: no
// false removal (F), agreement 10 s after the heal (C), no ghost at the end (G).
func play(t *testing.T, members int, run func(s *script)) {
	t.Helper()
	playSharded(t, members, 0, run)
}

// playSharded is play with a replication factor; 0 = every member holds everything.
func playSharded(t *testing.T, members, factor int, run func(s *script)) {
	t.Helper()
	for seed := uint64(1); seed <= uint64(*plays); seed++ {
		if res := performSharded(seed, members, factor, false, run); len(res.Failures) > 0 {
			res = performSharded(seed, members, factor, true, run)
			t.Fatalf("seed %d: %v\nthe end of it:\n%s", seed, res.Failures, strings.Join(res.Log[max(0, len(res.Log)-100):], "\n"))
		}
	}
}

func perform(seed uint64, members int, keepLog bool, run func(s *script)) Result {
	return performSharded(seed, members, 0, keepLog, run)
}

func performSharded(seed uint64, members, factor int, keepLog bool, run func(s *script)) Result {
	w := New(seed)
	w.keepLog, w.factor, w.returning = keepLog, factor, true
	s := &script{World: w, orders: w.AddService("orders")}
	for range members {
		w.AddNode().Start()
	}
	w.Every(0, time.Second, func() bool { w.truth.settle(); return true })
	s.pass(3 * time.Second)
	run(s)
	if w.truth.pushes == 0 && len(w.failures) == 0 {
		w.Fail("nobody was told anything: the script shows nothing")
	}
	res := w.End(w.now)
	s.newest()
	res.Failures = w.failures
	return res
}

// pass lets time go by.
func (s *script) pass(d time.Duration) {
	s.pump() // what the script did itself
	s.RunUntil(s.now + d)
}

// client starts one that listens, at a node (nil: anywhere). When it dies its ports refuse.
func (s *script) client(redo Redo, at *Node) *Client {
	c := s.AddClient(redo, s.orders)
	c.at, c.listens, c.vanish = at, true, false
	s.watched = append(s.watched, c)
	return c
}

// oneOfEach starts a client of each kind at a node.
func (s *script) oneOfEach(at *Node) []*Client {
	var cs []*Client
	for _, r := range []Redo{RedoGo, RedoJava, RedoPython, RedoBeats} {
		cs = append(cs, s.client(r, at))
	}
	return cs
}

// steady waits until the cluster has started: all complete, all registered everywhere, lists are answered.
func (s *script) steady() {
	s.within(60*time.Second, "the cluster starts", func() bool {
		for _, n := range s.nodes {
			if n.m != nil && !n.m.ReadsOpen() {
				return false
			}
		}
		return s.agreed() && s.everybodyIsSeen()
	})
	s.pass(15 * time.Second) // every port was probed once
}

func (s *script) everybodyIsSeen() bool {
	for _, c := range s.watched {
		for _, n := range s.nodes {
			if n.Up() && n.m.Holds(s.orders) && c.alive && c.want[s.orders] && !s.lists(n, c) {
				return false
			}
		}
	}
	return true
}

// within lets time go by until something is so, and fails when that takes longer.
func (s *script) within(d time.Duration, what string, so func() bool) {
	for end := s.now + d; !so(); s.pass(50 * time.Millisecond) {
		if s.now >= end || len(s.failures) > 0 {
			s.Fail("not so within %v: %s", d, what)
			return
		}
	}
}

// always checks something every half second, for as long as the script runs.
func (s *script) always(what string, so func() bool) {
	s.Every(0, 500*time.Millisecond, func() bool {
		if !s.quiet && !so() {
			s.Fail("not so: %s", what)
		}
		return !s.quiet
	})
}

// count is how often a node lists an instance; -1 when it does not answer.
func (s *script) count(n *Node, c *Client) int {
	if !n.Up() {
		return -1
	}
	snap, err := n.m.Query(s.orders)
	if err != nil {
		return -1
	}
	found := 0
	for _, h := range snap.Hosts {
		if h.Key() == c.Instance().Key() {
			found++
		}
	}
	return found
}

func (s *script) lists(n *Node, c *Client) bool { return s.count(n, c) > 0 }

// nobodyLists reports whether all that answer have forgotten the client.
func (s *script) nobodyLists(c *Client) bool {
	for _, n := range s.nodes {
		if s.lists(n, c) {
			return false
		}
	}
	return true
}

// same reports whether these nodes hold the same live records.
func (s *script) same(nodes ...*Node) bool {
	for _, n := range nodes {
		if !n.Up() || n.m.Sum() != nodes[0].m.Sum() {
			return false
		}
	}
	return true
}

// newest judges that every node shows what each client was last confirmed.
func (s *script) newest() {
	for _, c := range s.watched {
		for _, n := range s.nodes {
			if !c.alive || !c.want[s.orders] || !n.Up() || !n.m.Holds(s.orders) || len(s.failures) > 0 {
				continue
			}
			in, err := n.m.Instance(s.orders, c.Instance().Key())
			if err != nil || in.Weight != c.shown[s.orders] {
				s.Fail("%s shows weight %v of client %d (%v), registered was %v", n.Name, in.Weight, c.id, err, c.shown[s.orders])
			}
		}
	}
}

// apart cuts a node from all others.
func (s *script) apart(n *Node) {
	for _, o := range s.nodes {
		if o != n {
			s.net.Cut(n, o)
		}
	}
}

func (s *script) together(n *Node) {
	for _, o := range s.nodes {
		if o != n {
			s.net.Heal(n, o)
		}
	}
}

// responsible moves a client that beats to an address for whose beats those members name a given node.
func (s *script) responsible(c *Client, want map[*Node][]*Node) {
	for i := 1; i < 5000; i++ {
		c.ip = fmt.Sprintf("10.2.%d.%d", i/250, i%250+1)
		fits := true
		for n, among := range want {
			fits = fits && s.ringOf(among).Responsible(session.BeatPublisher(c.ip, int(c.Instance().Port)), 0) == n.m.Self().Incarnation
		}
		if fits {
			return
		}
	}
	s.Fail("no address fits")
}

func (s *script) ringOf(nodes []*Node) *ring.Ring {
	ms := make([]model.Member, 0, len(nodes))
	for _, n := range nodes {
		m := n.m.Self()
		m.State = model.StateComplete
		ms = append(ms, m)
	}
	return ring.New(model.NewView(ms[0].Incarnation, ms, false), 0)
}

// again starts a new process of a client that has died, at the same address.
func (s *script) again(c *Client) {
	c.alive = true
	c.want[s.orders] = true
	clear(c.done)
	s.Logf("client %d starts again", c.id)
	c.start()
}

// answered reports whether all know that the client's port has answered once.
func (s *script) answered(c *Client) bool {
	for _, n := range s.nodes {
		if n.m == nil {
			continue
		}
		knows := slices.ContainsFunc(n.m.Records(), func(r *model.Record) bool {
			return !r.Deleted && r.Answered && r.Overlaps([]model.Instance{c.Instance()})
		})
		if !knows {
			return false
		}
	}
	return true
}

// record is what a node holds of a client's beats.
func (s *script) record(n *Node, c *Client) *model.Record {
	key := model.RecordKey{Publisher: session.BeatPublisher(c.ip, int(c.Instance().Port)), Service: s.orders}
	for _, r := range n.m.Records() {
		if r.Key == key {
			return r
		}
	}
	return nil
}
