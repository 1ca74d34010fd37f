package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/model"
)

// R4, second part: the only member there is sleeps, so no cut explains the silence. It removes nobody on waking.
func TestR4FrozenAlone(t *testing.T) {
	for _, vm := range []bool{false, true} {
		t.Run(fmt.Sprintf("clock stops %v", vm), func(t *testing.T) {
			play(t, 1, func(s *script) {
				s.oneOfEach(nil)
				s.oneOfEach(nil)
				s.steady()
				for range 3 {
					s.nodes[0].Freeze(40*time.Second, vm)
					s.pass(90 * time.Second)
				}
			})
		})
	}
}

// R4, third part: a member sleeps while the API is down. Nobody takes it for gone, so nobody tells it to join again; it
// does all the same, and tells nobody what it held before.
func TestR4FrozenWithoutAPI(t *testing.T) {
	play(t, 3, func(s *script) {
		sleeper := s.nodes[0]
		s.oneOfEach(sleeper)
		s.oneOfEach(s.nodes[1])
		s.steady()
		s.api.down = true
		s.pass(7 * time.Second)
		sleeper.Freeze(40*time.Second, false)
		s.pass(20 * time.Second)
		newcomer := s.client(RedoGo, s.nodes[1])
		s.pass(19900 * time.Millisecond)
		s.truth.heard = func(n *Node, _ model.ServiceKey, hosts []model.Instance) {
			knows := slices.ContainsFunc(hosts, func(h model.Instance) bool { return h.Key() == newcomer.Instance().Key() })
			if n != sleeper || knows {
				return
			}
			s.Fail("%s tells what it held before it slept", n.Name)
		}
		s.client(RedoBeats, sleeper)
		for _, c := range s.clients[:4] {
			s.After(150*time.Millisecond, c.Change)
		}
		s.within(20*time.Second, "it is back", func() bool { return s.lists(sleeper, newcomer) })
		s.pass(20 * time.Second)
		s.api.down = false
	})
}

// R4, and nobody else is in the view of who wakes: its peer was gone from it, and renews its Lease by now behind a cut that lasts. It is
// complete, so that whoever wakes does not start alone.
func TestR4WokenBesideAnEstranged(t *testing.T) {
	play(t, 2, func(s *script) {
		s.bereft(func(peer, sleeper *Node) {
			delete(s.api.cut, peer)
			s.pass(10 * time.Second)
			sleeper.Freeze(40*time.Second, false)
			s.pass(75 * time.Second)
		})
	})
}

// R4, and the source falls silent when it has spoken once: its word is from before the peer could renew its Lease. Time that passes says
// nothing of who lives.
func TestR4WokenBySilence(t *testing.T) {
	play(t, 2, func(s *script) {
		s.bereft(func(peer, sleeper *Node) {
			sleeper.Freeze(40*time.Second, false)
			s.pass(43 * time.Second)
			s.api.cut[sleeper] = true
			delete(s.api.cut, peer)
			s.pass(30 * time.Second)
			delete(s.api.cut, sleeper)
		})
	})
}

// bereft lets something happen while one of two members is gone from the other's view, and judges that both see each other once all is well.
func (s *script) bereft(happens func(peer, sleeper *Node)) {
	peer, sleeper := s.nodes[0], s.nodes[1]
	s.oneOfEach(peer)
	s.oneOfEach(sleeper)
	s.steady()
	s.net.Cut(peer, sleeper)
	s.api.cut[peer] = true
	s.within(40*time.Second, "the peer is gone", func() bool { return len(sleeper.m.View().Members) == 1 })
	happens(peer, sleeper)
	s.net.HealAll()
	s.within(40*time.Second, "both see each other", func() bool { return len(sleeper.m.View().Members) == 2 && len(peer.m.View().Members) == 2 })
}

// R4, fourth part: who wakes has heard publishers beat before it slept. They have moved to its peers since, and died there: it
// vouches for none of them.
func TestR4DiedDuringTheSleep(t *testing.T) {
	for _, vm := range []bool{false, true} {
		t.Run(fmt.Sprintf("clock stops %v", vm), func(t *testing.T) {
			play(t, 3, func(s *script) {
				var clients []*Client
				for range 6 {
					c := s.client(RedoBeats, nil)
					c.listens = false // its port says nothing of it
					clients = append(clients, c)
				}
				s.steady()
				s.nodes[0].Freeze(200*time.Second, vm)
				s.pass(160 * time.Second)
				for _, c := range clients {
					c.Die()
				}
				s.pass(Timeouts().Session.BeatUnhealthy + Timeouts().Session.MemberLoss)
				s.within(15*time.Second, "nobody lists the dead", func() bool { return !slices.ContainsFunc(clients, func(c *Client) bool { return !s.nobodyLists(c) }) })
			})
		})
	}
}

// R4, fifth part: a member gets so little of a processor that whatever comes in waits for seconds, though its timers are served. Clients
// give up and come back, beats are late: nobody is removed, and nobody is shown as unhealthy.
func TestR4Starved(t *testing.T) {
	for _, members := range []int{1, 3} {
		for _, waits := range []time.Duration{3 * time.Second, 12 * time.Second, 40 * time.Second} {
			t.Run(fmt.Sprintf("%d members, %v", members, waits), func(t *testing.T) {
				play(t, members, func(s *script) {
					for range 2 {
						for _, c := range s.oneOfEach(s.nodes[0]) {
							c.listens = false // its port says nothing of it
						}
					}
					s.steady()
					s.truth.heard = func(n *Node, _ model.ServiceKey, hosts []model.Instance) {
						if i := slices.IndexFunc(hosts, func(h model.Instance) bool { return !h.Healthy }); i >= 0 {
							s.Fail("%s shows %s as unhealthy", n.Name, hosts[i].IP)
						}
					}
					s.nodes[0].Strain(waits, 3*time.Minute)
					s.pass(4 * time.Minute)
				})
			})
		}
	}
}

// P9, third part: publishers move behind a cut that lasts longer than the grace of a lost member, and the heal comes over
// a slow line. The end of the cut is not yet the word of who is behind it.
func TestP9SlowHeal(t *testing.T) {
	play(t, 3, func(s *script) {
		a, b, c := s.nodes[0], s.nodes[1], s.nodes[2]
		movers := []*Client{s.client(RedoGo, a), s.client(RedoJava, a), s.client(RedoPython, a)}
		s.steady()
		if s.ringOf([]*Node{b, c}).First(s.orders.Shard()) != c.m.Self().Incarnation {
			b, c = c, b // C shall be the one that ends what nobody vouches for
		}
		s.net.Cut(b, c)
		for _, m := range movers {
			m.at = b
		}
		a.Kill()
		s.pass(Timeouts().Session.MemberLoss + 90*time.Second)
		s.net.Spoil(b, c, Line{Delay: 2 * time.Second})
		s.net.Heal(b, c)
		s.pass(30 * time.Second)
	})
}
