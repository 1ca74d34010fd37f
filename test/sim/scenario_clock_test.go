package sim

import (
	"fmt"
	"testing"
	"time"
)

// P8: the wall clock of one member jumps by an hour, forth or back. No lost update is visible for longer than one beat,
// and no subscriber that moves is deaf.
func TestP8ClockJumps(t *testing.T) {
	for _, step := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(fmt.Sprint(step), func(t *testing.T) {
			play(t, 3, func(s *script) {
				jumps := s.nodes[0]
				for _, n := range s.nodes {
					for _, c := range s.oneOfEach(n) {
						c.at = nil
					}
				}
				s.steady()
				s.roam(5 * time.Second)
				s.pass(12 * time.Second)
				jumps.Step(step)
				s.pass(2500 * time.Millisecond)
				s.everyChangeShows()
				jumps.Step(-step)
				s.pass(2500 * time.Millisecond)
				s.everyChangeShows()
				jumps.Step(step)
				jumps.Kill()
				s.pass(15 * time.Second)
				jumps.Start()
				s.within(60*time.Second, "it is back", func() bool { ok, _ := jumps.m.Ready(); return ok })
				s.pass(35 * time.Second) // Python clients that were there
				s.everyChangeShows()
			})
		})
	}
}

// P8, second part: all clocks of one member run 10 % too fast, or too slow, for half an hour.
func TestP8ClockDrifts(t *testing.T) {
	for _, rate := range []float64{0.1, -0.1} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			play(t, 3, func(s *script) {
				for _, n := range s.nodes {
					s.oneOfEach(n)
				}
				s.steady()
				s.roam(7 * time.Second)
				s.nodes[0].Drift(rate)
				for range 6 {
					s.pass(5 * time.Minute)
					s.everyChangeShows()
				}
			})
		})
	}
}

// P8 behind a cut: the clocks on the other side run ahead. A publisher deregisters there, and registers here afterwards. After the heal
// the order from there looks later, to whoever has taken in the registration too; no list lacks the instance. The clocks there may
// differ by then: the first that is heard of does not put the clocks here as far forward as the second.
func TestP8EndedBehindACut(t *testing.T) {
	for _, further := range []time.Duration{0, 5 * time.Second} {
		t.Run(fmt.Sprint("one further ahead by ", further), func(t *testing.T) {
			play(t, 4, func(s *script) {
				here, there := s.nodes[:2], s.nodes[2:]
				c := s.client(RedoBeats, here[0])
				s.client(RedoGo, here[1])
				s.steady()
				for _, h := range here {
					for _, o := range there {
						s.net.Cut(h, o)
					}
				}
				s.pass(5 * time.Second)
				for _, o := range there {
					o.Step(time.Hour)
				}
				c.at = there[0]
				s.pass(10 * time.Second)
				c.Deregister(s.orders)
				s.pass(5 * time.Second)
				s.net.Cut(there[0], there[1])
				there[1].Step(further)
				s.pass(15 * time.Second)
				c.at, c.want[s.orders] = here[0], true
				s.pass(20 * time.Second)
				s.net.HealAll()
			})
		})
	}
}

// everyChangeShows lets each client change, and judges that all members show the newest one beat later.
func (s *script) everyChangeShows() {
	for range 3 {
		for _, c := range s.watched {
			c.Change()
		}
		s.within(6*time.Second, "all members show the newest of each client", func() bool {
			for _, c := range s.watched {
				for _, n := range s.nodes {
					if !n.Up() {
						continue
					}
					if in, err := n.m.Instance(s.orders, c.Instance().Key()); err != nil || in.Weight != c.weight {
						return false
					}
				}
			}
			return true
		})
	}
}
