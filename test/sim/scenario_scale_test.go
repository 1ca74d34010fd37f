package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/session"
)

// R2: 3 -> 7 -> 2 under load. All agree within 10 s at each step.
func TestR2Scale(t *testing.T) {
	for _, factor := range []int{0, 2} {
		t.Run(fmt.Sprintf("factor %d", factor), func(t *testing.T) { playSharded(t, 3, factor, scale) })
	}
}

func scale(s *script) {
	s.oneOfEach(nil)
	s.oneOfEach(nil)
	s.oneOfEach(nil)
	s.steady()
	for range 4 {
		s.AddNode().Start()
	}
	s.busy(20 * time.Second)
	s.within(10*time.Second, "seven agree", func() bool { return s.agreed() && len(s.pods()) == 7 })
	for _, n := range s.pods()[:5] {
		n.Retire()
		s.busy(10 * time.Second)
		s.within(10*time.Second, "those that stay agree", s.agreed)
	}
	if len(s.pods()) != 2 {
		s.Fail("%d members are left", len(s.pods()))
	}
}

// P15: all leave but two, at once. No record is lost.
func TestP15SevenToTwo(t *testing.T) {
	for _, factor := range []int{0, 2} {
		t.Run(fmt.Sprintf("factor %d", factor), func(t *testing.T) { playSharded(t, 7, factor, sevenToTwo) })
	}
}

func sevenToTwo(s *script) {
	for _, n := range s.nodes {
		for _, c := range s.oneOfEach(n) {
			c.at = nil
		}
	}
	s.steady()
	s.everyoneIsListed()
	for _, n := range s.nodes[:5] {
		n.Retire()
	}
	s.within(75*time.Second, "five have left", func() bool {
		return !slices.ContainsFunc(s.nodes[:5], func(n *Node) bool { return n.m != nil })
	})
	s.pass(60 * time.Second)
}

// P15, second part: every member is replaced in a rollout, one after another as fast as readiness allows.
func TestP15Rollout(t *testing.T) {
	for _, factor := range []int{0, 2} {
		t.Run(fmt.Sprintf("factor %d", factor), func(t *testing.T) {
			playSharded(t, 3, factor, func(s *script) {
				s.crowd()
				s.rollout()
			})
		})
	}
}

// TestBeatsByAnOldView: a member whose view is old relays beats to who is responsible by that view, and has given the shard up to
// newcomers by now. Somebody who knows the publisher takes them (docs/adr/0012).
func TestBeatsByAnOldView(t *testing.T) {
	playSharded(t, 5, 2, func(s *script) {
		old := s.nodes[4]
		s.oneOfEach(nil)
		var beating []*Client
		for i := range 40 {
			c := s.AddClient(RedoBeats, s.AddService(fmt.Sprint("service-", i)))
			c.at, c.listens = s.nodes[0], true
			beating = append(beating, c)
		}
		for _, n := range s.nodes {
			n.observer.leave() // it comes back, and subscribes to these too
		}
		s.steady()
		s.api.cut[old] = true
		var newcomers []*Node
		for range 3 {
			n := s.AddNode()
			s.net.Cut(old, n)
			n.Start()
			newcomers = append(newcomers, n)
		}
		s.within(90*time.Second, "the newcomers are ready", func() bool {
			return !slices.ContainsFunc(newcomers, func(n *Node) bool { ok, _ := n.m.Ready(); return !ok })
		})
		s.pass(60 * time.Second) // beats are the newcomers' now, and shards are given up
		for _, c := range beating {
			c.at = old
		}
		s.pass(60 * time.Second) // all that is silent would be gone
		for _, c := range beating {
			if c.registrations > 1 {
				s.Fail("nobody knew client %d any more: it has registered %d times", c.id, c.registrations)
			}
		}
		delete(s.api.cut, old)
		s.net.HealAll()
	})
}

// TestFactorChange: the replication factor is changed under load, there and back. Nothing is lost.
func TestFactorChange(t *testing.T) {
	play(t, 4, func(s *script) {
		s.crowd()
		for _, factor := range []int{2, 3, 0} {
			s.factor = factor
			s.rollout()
			s.within(10*time.Second, "all agree", s.agreed)
		}
	})
}

// crowd is three clients of each kind, which must be listed from now on.
func (s *script) crowd() {
	for range 3 {
		s.oneOfEach(nil)
	}
	s.steady()
	s.everyoneIsListed()
}

// rollout replaces every member.
func (s *script) rollout() {
	for _, old := range s.pods() {
		next := s.AddNode()
		next.Start()
		s.within(30*time.Second, "the next one is ready", func() bool { ok, _ := next.m.Ready(); return ok })
		old.Retire()
	}
	s.pass(75 * time.Second)
}

// everyoneIsListed judges from now on that all that answer list all clients: no record is lost.
func (s *script) everyoneIsListed() {
	s.always("everybody is listed by all that answer", func() bool {
		for _, n := range s.nodes {
			for _, c := range s.watched {
				if s.count(n, c) == 0 {
					return false
				}
			}
		}
		return true
	})
}

// R5: all members are deleted, new ones come. Nobody is ever told a partial list: the first list that each tells has all
// clients that come back within seconds (Python clients take up to 30 s).
func TestR5AllDeleted(t *testing.T) {
	play(t, 3, func(s *script) {
		var back []*Client
		for _, redo := range []Redo{RedoGo, RedoJava, RedoBeats, RedoGo, RedoJava, RedoBeats} {
			back = append(back, s.client(redo, nil))
		}
		s.client(RedoPython, nil)
		s.steady()
		for _, n := range slices.Clone(s.nodes) {
			n.retired = true
			n.Kill()
			s.AddNode()
		}
		s.pass(2 * time.Second)
		s.truth.heard = func(n *Node, _ model.ServiceKey, hosts []model.Instance) {
			for _, c := range back {
				if !slices.ContainsFunc(hosts, func(h model.Instance) bool { return h.Key() == c.Instance().Key() }) {
					s.Fail("%s tells a list without client %d", n.Name, c.id)
				}
			}
		}
		for _, n := range s.pods() {
			s.After(s.Between(0, 3*time.Second), n.Start)
		}
		s.pass(60 * time.Second)
	})
}

// L3: a third of all publishers die in the same second. The brake reports it; the ghosts go, those that a probe confirms
// long before those whose hosts have vanished; nobody who lives goes with them.
func TestL3ThirdDies(t *testing.T) {
	for _, vanish := range []bool{false, true} {
		t.Run(fmt.Sprintf("hosts vanish %v", vanish), func(t *testing.T) { play(t, 3, func(s *script) { thirdDies(s, vanish) }) })
	}
}

func thirdDies(s *script, vanish bool) {
	s.brake = session.Brake{
		ServicePercent: 30, RegistryPercent: 20, MinInstances: 10, Window: time.Minute, PerSecond: 50, MaxHold: 5 * time.Minute,
	}
	for _, n := range s.nodes {
		n.Kill()
		n.Start()
	}
	for range 15 {
		s.oneOfEach(nil)
	}
	s.steady()
	s.pass(time.Minute) // they are expected from now on
	var dead []*Client
	for i, c := range slices.Clone(s.clients) {
		if i%3 == 0 {
			c.vanish = vanish
			dead = append(dead, c)
			s.After(s.Between(0, time.Second), c.Die)
		}
	}
	reported := false
	s.Every(0, 500*time.Millisecond, func() bool {
		for _, n := range s.nodes {
			reported = reported || n.m.Protection().Active
		}
		return !s.quiet
	})
	bound := 90 * time.Second
	if vanish {
		bound = 7 * time.Minute
	}
	s.within(bound, "nobody lists who died", func() bool {
		return !slices.ContainsFunc(dead, func(c *Client) bool { return c.alive || !s.nobodyLists(c) })
	})
	if vanish && !reported {
		s.Fail("no brake has reported that a third is missing")
	}
}

// Two connections of one process publish the same instance, as a sync worker's do. The older one's origin is asked first,
// so neither cancels the other: when the newer one goes, the older still stands.
func TestTwoConnectionsOfOneProcess(t *testing.T) {
	for name, at := range map[string]int{"at two members": 1, "at one member": 0} {
		t.Run(name, func(t *testing.T) {
			play(t, 3, func(s *script) {
				first := s.client(RedoJava, s.nodes[0])
				s.steady()
				second := s.client(RedoJava, s.nodes[at])
				second.ip = first.ip
				s.pass(30 * time.Second)
				second.Deregister(s.orders)
				s.always("the other connection stands for the instance", func() bool {
					return !slices.ContainsFunc(s.nodes, func(n *Node) bool { return !s.lists(n, first) })
				})
				s.pass(30 * time.Second)
			})
		})
	}
}
