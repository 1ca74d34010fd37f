package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
)

// P1: the link between two of three members is cut for 5 minutes, while publishers on both sides register, change and
// leave. Through the third one both sides go on hearing of each other.
func TestP1LinkCut(t *testing.T) { play(t, 3, linkCut) }

func linkCut(s *script) {
	a, b := s.nodes[0], s.nodes[1]
	left, right := s.oneOfEach(a), s.oneOfEach(b)
	s.steady()
	s.net.Cut(a, b)
	s.pass(20 * time.Second)
	for i := range left {
		left[i].Change()
		right[i].Change()
	}
	newcomer := s.client(RedoGo, b)
	s.within(10*time.Second, "a registration reaches the other side through the third member", func() bool { return s.lists(a, newcomer) })
	left[0].Deregister(s.orders)
	right[1].Deregister(s.orders)
	right[2].at = a
	right[2].Move()
	left[1].Die()
	s.pass(100 * time.Second)
	s.within(time.Second, "who deregistered is gone on both sides", func() bool { return s.nobodyLists(left[0]) && s.nobodyLists(right[1]) })
	s.pass(180 * time.Second)
	s.net.Heal(a, b)
}

// P1: what a publisher says behind a cut is not covered by a member that vouches for what it said before, since its beats
// come there.
func TestP1ChangeBehindCut(t *testing.T) {
	for how, say := range map[string]func(c *Client, k model.ServiceKey){
		"changes":     func(c *Client, _ model.ServiceKey) { c.Change() },
		"deregisters": func(c *Client, k model.ServiceKey) { c.Deregister(k) },
	} {
		t.Run(how, func(t *testing.T) {
			play(t, 3, func(s *script) {
				a, others := s.nodes[0], s.nodes[1:]
				var clients []*Client
				for range 6 {
					clients = append(clients, s.client(RedoBeats, nil))
				}
				s.steady()
				s.apart(a)
				for _, c := range clients {
					c.at = a
				}
				s.pass(20 * time.Second) // their silence at the others is noticed
				for _, c := range clients {
					say(c, s.orders)
				}
				s.pass(6 * time.Second)
				for _, c := range clients {
					c.beatAt(others[0], s.orders)
				}
				s.pass(time.Second)
				s.together(a)
			})
		})
	}
}

// P2: one member is cut off from its peers for longer than the instance timeout; its clients stay, and beat at it.
func TestP2MemberCutOff(t *testing.T) {
	for _, d := range []time.Duration{15 * time.Second, 30 * time.Second, 5 * time.Minute} {
		t.Run(d.String(), func(t *testing.T) {
			play(t, 3, func(s *script) {
				s.oneOfEach(s.nodes[0])
				s.oneOfEach(s.nodes[1])
				s.oneOfEach(nil)
				s.steady()
				s.apart(s.nodes[0])
				s.pass(d + time.Second)
				s.together(s.nodes[0])
			})
		})
	}
}

// P3: a member restarts while its beat publishers go on at its peers. No old heartbeat time removes them.
func TestP3MemberRestarts(t *testing.T) {
	for _, d := range []time.Duration{200 * time.Millisecond, 8 * time.Second, 40 * time.Second} {
		t.Run(d.String(), func(t *testing.T) {
			play(t, 3, func(s *script) {
				for range 9 {
					s.client(RedoBeats, nil)
				}
				s.steady()
				for _, n := range s.nodes {
					n.Kill()
					s.pass(d)
					n.Start()
					s.within(60*time.Second, n.Name+" is ready again", func() bool { ok, _ := n.m.Ready(); return ok })
				}
			})
		})
	}
}

// P5: all members restart at once, in any order, while publishers reconnect and change.
func TestP5AllRestart(t *testing.T) {
	play(t, 3, func(s *script) {
		clients := append(s.oneOfEach(nil), s.oneOfEach(nil)...)
		s.steady()
		for _, n := range s.nodes {
			s.After(s.Between(0, time.Second), func() { n.Kill() })
			s.After(s.Between(1500*time.Millisecond, 6*time.Second), func() { n.Start() })
		}
		for range 200 {
			clients[s.rng.IntN(len(clients))].Change()
			s.pass(200 * time.Millisecond)
		}
	})
}

// P5, second part: one of them has only slept, and comes back with an old snapshot after everybody has registered anew.
func TestP5OldSnapshot(t *testing.T) {
	for _, vm := range []bool{false, true} {
		t.Run(fmt.Sprintf("clock stops %v", vm), func(t *testing.T) {
			play(t, 3, func(s *script) {
				clients := append(s.oneOfEach(s.nodes[0]), s.oneOfEach(s.nodes[1])...)
				s.steady()
				s.nodes[2].Freeze(80*time.Second, vm)
				for i := range 2 {
					s.nodes[i].Kill()
					s.After(2*time.Second, s.nodes[i].Start)
				}
				s.pass(70 * time.Second)
				for _, c := range clients {
					c.Change()
				}
				s.pass(20 * time.Second)
			})
		})
	}
}

// P7: split in two halves for 10 minutes; publishers move from one half to the other. Each keeps one visible instance at
// every member: never two, never none.
func TestP7Split(t *testing.T) {
	play(t, 4, func(s *script) {
		left, right := s.nodes[:2], s.nodes[2:]
		var clients []*Client
		for i, n := range s.nodes {
			clients = append(clients, s.oneOfEach(n)...)
			clients[i*4+3].at = nil // beats go anywhere
		}
		s.steady()
		s.always("every member lists each publisher once", func() bool {
			for _, n := range s.nodes {
				for _, c := range clients {
					if s.count(n, c) != 1 {
						return false
					}
				}
			}
			return true
		})
		s.split(2, 10*time.Minute)
		s.pass(30 * time.Second)
		for i, c := range []*Client{clients[0], clients[1], clients[2], clients[8]} {
			c.at = append(right, left...)[i]
			c.Move()
			s.pass(70 * time.Second)
		}
		clients[0].Change()
		s.pass(10*time.Minute - s.now + 30*time.Second)
	})
}

// P9: a publisher leaves A for B while A and C cannot reach B; later it deregisters at B. Nobody who has not heard of
// that misses it before, and there is no ghost after the heal.
func TestP9MovesBehindACut(t *testing.T) {
	for name, cut := range map[string]func(s *script){
		"B alone":      func(s *script) { s.apart(s.nodes[1]) },
		"A alone":      func(s *script) { s.apart(s.nodes[0]) }, // its Lease lives on
		"A and B only": func(s *script) { s.net.Cut(s.nodes[0], s.nodes[1]) },
	} {
		t.Run(name, func(t *testing.T) {
			play(t, 3, func(s *script) { moveBehind(s, cut, func(*Client) {}, 10*time.Second) })
		})
		// what B never heard of it cannot end: the time that a lost member's records have bounds the ghost
		t.Run(name+", changed at A last", func(t *testing.T) {
			play(t, 3, func(s *script) {
				moveBehind(s, cut, (*Client).Change, Timeouts().Session.MemberLoss+15*time.Second)
			})
		})
	}
}

// moveBehind moves publishers from A to B while some cannot hear of it; before is what they do at A last, bound the time
// after the heal in which those that have deregistered are gone everywhere.
func moveBehind(s *script, cut func(*script), before func(*Client), bound time.Duration) {
	a, b, c := s.nodes[0], s.nodes[1], s.nodes[2]
	movers := []*Client{s.client(RedoGo, a), s.client(RedoJava, a), s.client(RedoPython, a)}
	s.steady()
	cut(s)
	s.pass(20 * time.Second)
	for _, m := range movers {
		before(m)
	}
	s.pass(time.Second)
	for _, m := range movers {
		m.at = b
		m.Move()
	}
	s.pass(50 * time.Second)
	for _, m := range movers {
		if m.node != b || !s.lists(a, m) || !s.lists(b, m) || !s.lists(c, m) {
			s.Fail("client %d moves from A to B and is not listed everywhere", m.id)
			return
		}
		m.Deregister(s.orders)
	}
	s.pass(20 * time.Second)
	s.net.HealAll()
	s.within(bound, "no ghost after the heal", func() bool { return !slices.ContainsFunc(movers, func(m *Client) bool { return !s.nobodyLists(m) }) })
}

// P9, and nobody has noticed the cut yet: a publisher whose port never answered loses its connection, and is back at another member at the
// last moment, when that one has just been cut off. Those that hold it unclaimed have not heard the other one since its time was over.
func TestP9BackBehindAFreshCut(t *testing.T) {
	play(t, 3, func(s *script) {
		other := s.nodes[2]
		c := s.client(RedoGo, s.nodes[0])
		c.listens = false
		s.client(RedoGo, s.nodes[1])
		s.steady()
		c.leave()
		s.pass(Timeouts().Session.SilentConnection - 400*time.Millisecond)
		s.apart(other)
		c.at = other
		c.connect()
		s.pass(20 * time.Second)
		if !s.lists(other, c) {
			s.Fail("client %d is not back", c.id)
		}
		s.together(other)
	})
}

// P10: an origin dies when its last delta has reached only one of the others. They agree within one round of
// anti-entropy.
func TestP10LastDelta(t *testing.T) {
	play(t, 3, func(s *script) {
		a, b, c := s.nodes[0], s.nodes[1], s.nodes[2]
		s.oneOfEach(nil)
		s.steady()
		s.net.Cut(a, c)
		last := s.client(RedoGo, a)
		s.within(time.Second, "the delta reaches B", func() bool { return b.m.HasService(s.orders) && s.lists(b, last) })
		a.Kill()
		if s.lists(c, last) {
			s.Fail("C has heard of it: the script shows nothing")
		}
		s.within(4*time.Second, "B and C agree", func() bool { return s.same(b, c) && s.lists(c, last) })
		s.net.Heal(a, c)
		s.pass(60 * time.Second)
		a.Start()
	})
}

// P10, second part: it dies while a newcomer merges.
func TestP10Newcomer(t *testing.T) {
	for _, after := range []time.Duration{300 * time.Millisecond, 550 * time.Millisecond, 800 * time.Millisecond, 1200 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			play(t, 3, func(s *script) {
				a, b, c := s.nodes[0], s.nodes[1], s.nodes[2]
				s.oneOfEach(nil)
				mine := s.oneOfEach(a)
				s.steady()
				d := s.AddNode()
				d.Start()
				s.pass(after)
				mine[3].Change()
				mine[3].beat(s.orders, 0)
				s.pass(6 * time.Millisecond) // clients that beat do not bring back what was lost with a member
				mine[0].Change()
				s.pass(s.Between(0, 4*time.Millisecond))
				a.Kill()
				s.within(6*time.Second, "all that are left agree", func() bool { return s.same(b, c, d) })
				s.pass(30 * time.Second)
				a.Start()
			})
		})
	}
}

// P10, third part: a newcomer cannot reach one of the others for as long as it joins, and has a slow line to the third. What clients of the
// one register meanwhile it hears of through the other, also what that did not know yet when they began to merge.
func TestP10NewcomerBehindACut(t *testing.T) {
	play(t, 2, func(s *script) {
		a, b := s.nodes[0], s.nodes[1]
		s.oneOfEach(a)
		s.oneOfEach(b)
		s.steady()
		d := s.AddNode()
		s.net.Cut(b, d)
		s.net.Spoil(a, d, Line{Delay: 700 * time.Millisecond})
		d.Start()
		var late []*Client
		s.within(60*time.Second, "the newcomer is complete", func() bool {
			if len(late) < int((s.now-d.born)/(250*time.Millisecond)) {
				late = append(late, s.client(RedoGo, b))
			}
			ok, _ := d.m.Ready()
			return ok
		})
		s.Logf("%s is complete after %d registrations at %s", d.Name, len(late), b.Name)
		for _, c := range late[:max(len(late)-4, 0)] { // the last ones may be under way
			if !s.lists(d, c) {
				s.Fail("%s is complete and does not list client %d", d.Name, c.id)
			}
		}
		s.net.HealAll()
	})
}

// P11: enumerations race new registrations: the walk of a digest after a cut, a bootstrap, and moves of responsibility
// as a member comes and goes. The newer registration lives everywhere.
func TestP11Races(t *testing.T) {
	play(t, 3, func(s *script) {
		a, b, c := s.nodes[0], s.nodes[1], s.nodes[2]
		var clients []*Client
		for _, n := range s.nodes {
			clients = append(clients, s.oneOfEach(n)...)
		}
		for range 6 {
			clients = append(clients, s.client(RedoBeats, nil))
		}
		s.steady()
		churn := func(d time.Duration) {
			for end := s.now + d; s.now < end && len(s.failures) == 0; s.pass(s.Between(5*time.Millisecond, 40*time.Millisecond)) {
				p := clients[s.rng.IntN(len(clients))]
				p.Change()
				if p.redo == RedoBeats {
					p.beat(s.orders, 0)
				}
			}
		}
		s.net.Cut(b, c)
		churn(8 * time.Second)
		s.net.Heal(b, c)
		churn(8 * time.Second)
		d := s.AddNode()
		d.Start()
		churn(8 * time.Second)
		d.Drain()
		churn(8 * time.Second)
		a.Kill()
		churn(15 * time.Second)
		a.Start()
		churn(8 * time.Second)
	})
}

// P12: the first replica removes an unclaimed record while another member has just adopted it, and neither has heard of
// the other; the former origin wakes after that. The live record wins everywhere. That takes a slow line: when the time is over the first
// replica waits for a word of the adopter, which was said before.
func TestP12AdoptedWhileRemoved(t *testing.T) {
	for _, vm := range []bool{false, true} {
		t.Run(fmt.Sprintf("clock stops %v", vm), func(t *testing.T) {
			race := false
			for early := -500 * time.Millisecond; !race && early < 2*time.Second; early += 100 * time.Millisecond {
				play(t, 3, func(s *script) { race = abandoned(s, vm).adopted(early) || race })
			}
			if !race {
				t.Error("there was no race")
			}
		})
	}
}

// adoption is a record of a frozen member's publisher that has died, the member that will remove it, and one that may adopt it.
type adoption struct {
	s                      *script
	origin, first, adopter *Node
	p                      *Client
	r                      *model.Record
	// removed is when the first replica removed it.
	removed time.Duration
}

func abandoned(s *script, vm bool) *adoption {
	a := &adoption{s: s, origin: s.nodes[0], first: s.nodes[1], adopter: s.nodes[2]}
	s.oneOfEach(nil)
	s.steady()
	if s.ringOf(s.nodes[1:]).First(s.orders.Shard()) != a.first.m.Self().Incarnation {
		a.first, a.adopter = a.adopter, a.first
	}
	a.p = s.client(RedoBeats, a.adopter)
	a.p.vanish = true
	s.responsible(a.p, map[*Node][]*Node{a.origin: s.nodes, a.adopter: s.nodes[1:]})
	s.pass(12 * time.Second)
	a.origin.Freeze(6*time.Minute, vm)
	a.p.Die()
	s.pass(20 * time.Second)
	a.r = s.record(a.first, a.p)
	if a.r == nil || a.r.Unclaimed != model.CauseOurs || a.r.Version.Origin != a.origin.m.Self().Incarnation {
		s.Fail("the record of a member that is gone is %s", describe(a.r))
	}
	s.truth.removed = func(n *Node, c catalog.Change) {
		if n == a.first && c.Key == a.r.Key {
			a.removed = s.now
		}
	}
	return a
}

// adopted lets the publisher come back that long before the time of the record is over, over a slow line. It reports whether the record
// was removed after that.
func (a *adoption) adopted(early time.Duration) bool {
	s, p := a.s, a.p
	s.pass(a.r.Since + Timeouts().Session.MemberLoss - a.first.Now().Mono - 5*time.Second)
	s.net.Spoil(a.first, a.adopter, Line{Delay: 1200 * time.Millisecond})
	s.pass(5*time.Second - early)
	s.again(p)
	s.within(5*time.Second, "it is adopted", func() bool { return s.lists(a.adopter, p) && s.record(a.adopter, p).Unclaimed == model.Vouched })
	adopted := s.now
	s.pass(3 * time.Second)
	race := a.removed > adopted
	s.net.Spoil(a.first, a.adopter, Line{})
	s.within(10*time.Second, "the live record wins", func() bool {
		if !s.lists(a.adopter, p) {
			s.Fail("%s loses what it has adopted", a.adopter.Name)
		}
		return s.lists(a.first, p)
	})
	s.pass(90 * time.Second) // the origin wakes
	s.within(time.Second, "and goes on", func() bool { return s.lists(a.origin, p) && s.lists(a.first, p) })
	return race
}

// P13: a member loses the API and its peers while its watch still looks alive. It removes nobody; the others take it for
// gone after their time (R3), and keep what its clients have registered, and those who go there now.
func TestP13IsolatedMember(t *testing.T) {
	play(t, 3, func(s *script) {
		alone := s.nodes[0]
		clients := append(s.oneOfEach(alone), append(s.oneOfEach(s.nodes[1]), s.oneOfEach(nil)...)...)
		s.steady()
		s.truth.removed = func(n *Node, c catalog.Change) {
			if n == alone && !s.quiet && c.New.Successor() == nil {
				s.Fail("the isolated member removes %s", c.Key.Publisher)
			}
		}
		s.apart(alone)
		s.api.cut[alone] = true
		s.pass(30 * time.Second)
		if v := alone.m.View(); len(v.Members) != 3 || !v.Frozen {
			s.Fail("the view of the isolated member has %d members, frozen %v", len(v.Members), v.Frozen)
		}
		if v := s.nodes[1].m.View(); len(v.Members) != 2 || v.Frozen {
			s.Fail("the view of the others has %d members, frozen %v", len(v.Members), v.Frozen)
		}
		clients[4].Die() // at a member that the isolated one cannot hear
		for _, c := range clients[8:] {
			c.at = alone
			c.Move()
		}
		s.within(70*time.Second, "the others drop who died", func() bool { return !s.lists(s.nodes[1], clients[4]) && !s.lists(s.nodes[2], clients[4]) })
		s.pass(100 * time.Second)
	})
}

// R3: a random member is killed every 20 s for 10 minutes, while publishers die as well: their ghosts go within the time
// for a refuted one after the loss of a member, counted from when that was noticed.
func TestR3Kills(t *testing.T) { play(t, 3, kills) }

func kills(s *script) {
	clients := append(s.oneOfEach(nil), append(s.oneOfEach(nil), s.oneOfEach(nil)...)...)
	s.steady()
	until := map[*Client]time.Duration{}
	s.always("no ghost outlives its bound", func() bool {
		for c, end := range until {
			if s.now > end && !s.nobodyLists(c) {
				return false
			}
		}
		return true
	})
	die := func(c *Client) {
		answered := s.answered(c)
		c.Die()
		if answered { // of the others nobody knows, and each kill is a cut to whose heal the grace is added: End judges them
			until[c] = s.now + 70*time.Second
		}
	}
	for i := range 30 {
		n := s.nodes[s.rng.IntN(3)]
		if s.othersComplete(n) {
			n.Kill()
			s.restart(n, s.Between(500*time.Millisecond, 5*time.Second))
		}
		if i%3 == 2 {
			c := clients[i/3]
			s.After(s.Between(0, 15*time.Second), func() { die(c) })
		}
		s.pass(20 * time.Second)
	}
}

// R4: a member is stopped for 40 s and goes on (SIGSTOP, or a VM whose clocks stand still). It removes nobody on waking,
// and tells nobody what it held before.
func TestR4Frozen(t *testing.T) {
	for _, vm := range []bool{false, true} {
		t.Run(fmt.Sprintf("clock stops %v", vm), func(t *testing.T) { play(t, 3, func(s *script) { frozen(s, vm) }) })
	}
}

func frozen(s *script, vm bool) {
	sleeper := s.nodes[0]
	s.oneOfEach(sleeper)
	others := append(s.oneOfEach(s.nodes[1]), s.oneOfEach(nil)...)
	s.steady()
	sleeper.Freeze(40*time.Second, vm)
	s.pass(20 * time.Second)
	newcomer := s.client(RedoGo, s.nodes[1])
	others[0].Change()
	s.pass(19 * time.Second)
	s.truth.heard = func(n *Node, _ model.ServiceKey, hosts []model.Instance) {
		if n != sleeper {
			return
		}
		for _, h := range hosts {
			if h.Key() == newcomer.Instance().Key() {
				return
			}
		}
		s.Fail("%s tells what it held before it slept", n.Name)
	}
	before := sleeper.m.Self().Incarnation
	s.truth.removed = func(n *Node, c catalog.Change) {
		ordered := c.New.Successor() != nil // its publisher has registered elsewhere
		if n == sleeper && c.New.Version.Origin == before && !ordered {
			s.Fail("%s removes %s on waking", n.Name, c.Key.Publisher)
		}
	}
	s.within(20*time.Second, "it is back", func() bool { return s.lists(sleeper, newcomer) })
	s.pass(60 * time.Second)
}
