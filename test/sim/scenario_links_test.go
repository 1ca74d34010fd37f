package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/model"
)

// P4: P2 with the Kubernetes API cut off too. The view of all is frozen and says so.
func TestP4CutOffWithoutAPI(t *testing.T) {
	for _, d := range []time.Duration{15 * time.Second, 30 * time.Second, 5 * time.Minute} {
		t.Run(d.String(), func(t *testing.T) {
			play(t, 3, func(s *script) {
				s.oneOfEach(s.nodes[0])
				s.oneOfEach(s.nodes[1])
				s.oneOfEach(nil)
				s.steady()
				s.api.down = true
				s.apart(s.nodes[0])
				s.pass(d + time.Second)
				for _, n := range s.nodes {
					if v := n.m.View(); len(v.Members) != 3 || !v.Frozen {
						s.Fail("the view of %s has %d members, frozen %v", n.Name, len(v.Members), v.Frozen)
					}
				}
				s.together(s.nodes[0])
				s.api.down = false
			})
		})
	}
}

// P4, second part: a member is cut off from the API alone. Its Lease expires, its streams live: nobody takes it for gone,
// and it takes nobody for gone.
func TestP4CutOffFromAPIOnly(t *testing.T) {
	play(t, 3, func(s *script) {
		s.oneOfEach(s.nodes[0])
		s.oneOfEach(nil)
		s.steady()
		s.always("everybody is in every view", func() bool {
			for _, n := range s.nodes {
				if len(n.m.View().Members) != 3 {
					return false
				}
			}
			return true
		})
		s.api.cut[s.nodes[0]] = true
		s.pass(2 * time.Minute)
		if !s.nodes[0].m.View().Frozen || s.nodes[1].m.View().Frozen {
			s.Fail("frozen are %v and %v", s.nodes[0].m.View().Frozen, s.nodes[1].m.View().Frozen)
		}
	})
}

// P6: links that pass packets one way, links that flap, 30 % loss and 2 s delay. A stream is in order and loses nothing
// while it lives (replication/link runs over TCP): loss shows as delay and as streams that break, and what is doubled or
// out of order are the messages of streams that follow each other, and records that come by delta and by repair.
func TestP6BadLinks(t *testing.T) {
	for name, spoil := range map[string]func(s *script){
		"one way, from one":  func(s *script) { s.net.CutWay(s.nodes[0], s.nodes[1]); s.net.CutWay(s.nodes[0], s.nodes[2]) },
		"one way, to one":    func(s *script) { s.net.CutWay(s.nodes[1], s.nodes[0]); s.net.CutWay(s.nodes[2], s.nodes[0]) },
		"one way, in a ring": func(s *script) { s.ringOfWays() },
		"flapping":           func(s *script) { s.allPairs(func(a, b *Node) { s.net.Flap(a, b, 90*time.Second) }) },
		"30 % loss":          func(s *script) { s.allPairs(func(a, b *Node) { s.net.Spoil(a, b, Line{Loss: 0.3}) }) },
		"2 s delay":          func(s *script) { s.allPairs(func(a, b *Node) { s.net.Spoil(a, b, Line{Delay: 2 * time.Second}) }) },
		"loss, delay and flapping": func(s *script) {
			s.allPairs(func(a, b *Node) {
				s.net.Spoil(a, b, Line{Loss: 0.3, Delay: 2 * time.Second})
				s.net.Flap(a, b, 90*time.Second)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, 3, func(s *script) {
				for _, n := range s.nodes {
					s.oneOfEach(n)
				}
				s.oneOfEach(nil)
				s.steady()
				spoil(s)
				s.busy(90 * time.Second)
				s.net.HealAll()
			})
		})
	}
}

func (s *script) allPairs(do func(a, b *Node)) {
	for i, a := range s.nodes {
		for _, b := range s.nodes[i+1:] {
			do(a, b)
		}
	}
}

// ringOfWays lets each member hear one neighbour, and be heard by the other.
func (s *script) ringOfWays() {
	for i, n := range s.nodes {
		s.net.CutWay(n, s.nodes[(i+1)%len(s.nodes)])
	}
}

// busy lets clients change, move, go and come for d, one each second. Those that beat change nothing: a beat that comes to
// a member which has not heard of the change yet stamps again what that one knows, and the change is lost (a known limit).
func (s *script) busy(d time.Duration) {
	clients := s.watched
	for end := s.now + d; s.now < end && len(s.failures) == 0; s.pass(s.Between(500*time.Millisecond, 1500*time.Millisecond)) {
		c := clients[s.rng.IntN(len(clients))]
		switch s.rng.IntN(6) {
		case 0:
			c.Move()
		case 1:
			c.Deregister(s.orders)
		case 2:
			if c.alive && !c.want[s.orders] {
				c.want[s.orders] = true
				c.publish()
			}
		default:
			if c.redo != RedoBeats {
				c.Change()
			}
		}
	}
}

// P14: views differ between members for half a minute, while beats and registrations arrive everywhere: one member that
// cannot reach the API keeps one that is gone, and knows nothing of one that is new.
func TestP14ViewsDiffer(t *testing.T) {
	for _, factor := range []int{0, 2} {
		t.Run(fmt.Sprintf("factor %d", factor), func(t *testing.T) { playSharded(t, 5, factor, viewsDiffer) })
	}
}

func viewsDiffer(s *script) {
	behind, gone := s.nodes[0], s.nodes[4]
	for range 12 {
		s.client(RedoBeats, nil)
	}
	s.oneOfEach(nil)
	s.steady()
	s.api.cut[behind] = true
	s.pass(6 * time.Second)
	gone.Kill()
	fresh := s.AddNode()
	fresh.Start()
	s.pass(12 * time.Second)
	before := s.registrations()
	var added []*Client
	for i := 0; i < 6; i++ {
		added = append(added, s.client([]Redo{RedoBeats, RedoJava}[i%2], nil))
		s.pass(4 * time.Second)
	}
	v, o := behind.m.View(), s.nodes[1].m.View()
	if v.Equal(&model.View{Self: v.Self, Members: o.Members, Frozen: v.Frozen}) {
		s.Fail("the views do not differ: the script shows nothing")
	}
	s.pass(6 * time.Second)
	if storm := s.registrations() - before - 3; storm > 3 { // three of those added register by HTTP
		s.Fail("%d registrations that nobody wanted", storm)
	}
	s.within(time.Second, "who came meanwhile is listed by all that answer", func() bool {
		for _, c := range added {
			if s.count(behind, c) == 0 || s.count(s.nodes[1], c) == 0 || s.count(fresh, c) == 0 {
				return false
			}
		}
		return true
	})
	delete(s.api.cut, behind)
}

func (s *script) registrations() int {
	n := 0
	for _, c := range s.clients {
		n += c.registrations
	}
	return n
}

// Clients whose ports answer nobody have the shortest grace. Each kind comes back within it when it moves, whatever time its
// redo takes (nacos-protocol §3.4).
func TestRedoInTime(t *testing.T) {
	play(t, 3, func(s *script) {
		clients := append(s.oneOfEach(nil), s.oneOfEach(nil)...)
		for _, c := range clients {
			c.listens = false
		}
		s.steady()
		for range 5 {
			for _, c := range clients {
				c.Move()
			}
			s.pass(40 * time.Second)
		}
	})
}
