package member

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/muster-registry/muster/registry/model"
)

// crowd is the clients of a few members behind a load balancer, on a clock of its own. Members know each other's counts
// as they were a second ago.
type crowd struct {
	now     time.Duration
	random  *rand.Rand
	members []*mover
	clients []*follower
	held    map[string]*follower // by the id of their connection
	said    []int
	// place is where a client lands that was at a member, -1 = nowhere before.
	place func(from int) int
	// moves of the last second, by member, and of all time.
	asked []int
	total int
	ids   int
	fault string
}

// follower is a client. Some do not follow.
type follower struct {
	at      int
	id      string
	deaf    bool
	changed time.Duration // when it was told to move last
	told    bool
}

func newCrowd(seed uint64, members, clients, perSecond int) *crowd {
	c := &crowd{random: rand.New(rand.NewPCG(seed, 7)), held: map[string]*follower{}, now: time.Hour}
	c.place = func(int) int { return c.random.IntN(len(c.members)) }
	for range members {
		c.join(perSecond)
	}
	for range clients {
		f := &follower{}
		c.clients = append(c.clients, f)
		c.land(f, -1)
	}
	c.pass(2 * moveEvery)
	return c
}

func (c *crowd) join(perSecond int) {
	c.members = append(c.members, &mover{balance: balance{perSecond: perSecond}, conns: map[string]move{}})
	c.asked = append(c.asked, 0)
}

func (c *crowd) land(f *follower, from int) {
	c.ids++
	f.at, f.id = c.place(from), fmt.Sprintf("%08d", c.ids)
	c.held[f.id] = f
	c.members[f.at].opened(model.Time{Mono: c.now}, f.id)
}

func (c *crowd) counts() []int {
	n := make([]int, len(c.members))
	for _, f := range c.clients {
		n[f.at]++
	}
	return n
}

// pass lets seconds go by.
func (c *crowd) pass(d time.Duration) {
	for end := c.now + d; c.now < end; c.now += time.Second {
		said := c.said
		c.said = c.counts()
		if len(said) != len(c.members) {
			continue // not heard of each other yet
		}
		for i, m := range c.members {
			ids := m.choose(model.Time{Mono: c.now}, uint64(len(c.members)), slices.Delete(slices.Clone(said), i, i+1))
			c.asked[i] = len(ids)
			c.total += len(ids)
			if len(ids) > m.perSecond {
				c.fault = fmt.Sprintf("%d moves in a second, want %d at the most", len(ids), m.perSecond)
			}
			for _, id := range ids {
				c.tell(id)
			}
		}
	}
}

func (c *crowd) tell(id string) {
	f := c.held[id]
	if f.told && c.now-f.changed < moveEvery {
		c.fault = fmt.Sprintf("a client was asked to move twice in %v", c.now-f.changed)
	}
	f.told, f.changed = true, c.now
	if f.deaf {
		return
	}
	delete(c.held, id)
	c.members[f.at].closed(id)
	c.land(f, f.at)
}

// spread is the farthest that a member is from even, in percent.
func (c *crowd) spread() int {
	counts := c.counts()
	even := len(c.clients) / len(counts)
	return 100 * max(slices.Max(counts)-even, even-slices.Min(counts)) / even
}

// TestScaleOut: 1,000 connections even out behind a load balancer that throws dice, and then stay where they are.
func TestScaleOut(t *testing.T) {
	for _, size := range [][2]int{{1, 2}, {3, 4}, {3, 7}, {9, 10}} {
		t.Run(fmt.Sprintf("from %d to %d", size[0], size[1]), func(t *testing.T) {
			for seed := range uint64(3) {
				c := newCrowd(seed, size[0], 1000, 20)
				before := c.total
				for range size[1] - size[0] {
					c.join(20)
				}
				c.pass(15 * time.Minute)
				if s := c.spread(); s > 20 {
					t.Errorf("seed %d: %v, %d %% from even", seed, c.counts(), s)
				}
				moved := c.total - before
				if moved > 2500 {
					t.Errorf("seed %d: %d moves", seed, moved)
				}
				c.pass(20 * time.Minute)
				if again := c.total - before - moved; again > 0 {
					t.Errorf("seed %d: %d more moves when they were even", seed, again)
				}
				if c.fault != "" {
					t.Errorf("seed %d: %s", seed, c.fault)
				}
			}
		})
	}
}

// TestSomeDoNotFollow: they are counted, each is asked once, and those that follow make up for them as far as they can.
func TestSomeDoNotFollow(t *testing.T) {
	for seed := range uint64(3) {
		c := newCrowd(seed, 3, 1000, 20)
		for i, f := range c.clients {
			f.deaf = i%4 == 0
		}
		c.join(20)
		c.pass(20 * time.Minute)
		if s := c.spread(); s > 20 {
			t.Errorf("seed %d: %v, %d %% from even", seed, c.counts(), s)
		}
		staying, asked := 0, 0
		for _, m := range c.members {
			for _, n := range m.conns {
				if n.asked != 0 {
					staying++
				}
			}
		}
		for _, f := range c.clients {
			if f.deaf && f.told {
				asked++
			}
		}
		if staying != asked || asked == 0 {
			t.Errorf("seed %d: %d that were asked do not follow, %d are counted", seed, asked, staying)
		}
		if c.fault != "" {
			t.Errorf("seed %d: %s", seed, c.fault)
		}
	}
}

// TestMovesThatLeadNowhere: behind a load balancer that sends everybody back, moving is tried less and less.
func TestMovesThatLeadNowhere(t *testing.T) {
	c := newCrowd(1, 2, 200, 20)
	c.place = func(from int) int { return from }
	c.join(20)
	c.pass(time.Hour)
	first := c.total
	c.pass(9 * time.Hour)
	if later := (c.total - first) / 9; first == 0 || later > first/2 {
		t.Errorf("%d moves in the first hour, %d in each hour after it", first, later)
	}
	c.place = func(int) int { return c.random.IntN(3) }
	c.pass(3 * time.Hour)
	if s := c.spread(); s > 20 {
		t.Errorf("when the load balancer spreads them at last: %v", c.counts())
	}
}

// TestFewConnections: what chance does to a handful is left alone.
func TestFewConnections(t *testing.T) {
	for n := range 12 {
		c := newCrowd(uint64(n), 3, n, 20)
		c.pass(time.Hour)
		if c.total > 0 {
			t.Errorf("%d connections at 3 members: %d moves", n, c.total)
		}
	}
}

// TestDecide: what holds in any state: nobody gives away what it does not have too much of, nor more than it may.
func TestDecide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := balance{perSecond: rapid.IntRange(0, 30).Draw(t, "rate")}
		now := time.Duration(0)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now += time.Second
			c := census{
				mine:   rapid.IntRange(0, 300).Draw(t, "mine"),
				others: rapid.SliceOfN(rapid.IntRange(0, 300), 1, 4).Draw(t, "others"),
			}
			c.movable = rapid.IntRange(0, c.mine).Draw(t, "movable")
			n := b.decide(now, rapid.Uint64Range(1, 2).Draw(t, "members"), c)
			if n < 0 || n > b.perSecond || n > c.movable || n > 0 && c.mine-n < c.even() {
				t.Fatalf("%+v: %d are to move", c, n)
			}
			if now < unevenFor && n > 0 {
				t.Fatalf("moved at once")
			}
		}
	})
}

// TestChooseIsTheSameAgain: two members with the same connections choose the same: a replay of the simulation is one.
func TestChooseIsTheSameAgain(t *testing.T) {
	conns := map[string]move{}
	for i := range 100 {
		conns[fmt.Sprint(i)] = move{opened: time.Duration(i%7) * time.Second}
	}
	var first []string
	for range 10 {
		m := &mover{balance: balance{perSecond: 10}, conns: maps.Clone(conns)}
		var got []string
		for s := range 12 {
			got = append(got, m.choose(model.Time{Mono: time.Hour + time.Duration(s)*time.Second}, 1, []int{0})...)
		}
		if first == nil {
			first = got
		}
		if len(got) == 0 || !slices.Equal(first, got) {
			t.Fatalf("chose %v, and %v", first, got)
		}
	}
}
