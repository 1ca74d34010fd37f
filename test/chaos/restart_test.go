//go:build linux

package chaos

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// P3: a member restarts while its beat publishers go on at its peers. No old heartbeat time removes them.
func TestP3MemberRestarts(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, 3)
	for range 6 {
		c.beater()
	}
	c.oneOfEach()
	times := []time.Duration{200 * time.Millisecond, 8 * time.Second}
	if c.long {
		times = append(times, 40*time.Second)
	}
	for _, d := range times {
		t.Run(d.String(), func(t *testing.T) {
			c.scenario(t, "P3 each away for "+d.String(), func() {
				c.settled()
				for _, m := range c.members {
					c.must(m.kill(t.Context()))
					c.pass(d)
					back := time.Now()
					c.must(m.start())
					c.ready(m)
					c.agree(back)
				}
			})
		})
	}
}

// P5: all members restart at once, in any order, while publishers reconnect and change.
func TestP5AllRestart(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, 3)
	c.limit += c.timeouts().ColdStartQuiet.Duration // so long after the last new record reads are closed
	c.scenario(t, "P5 all restart", func() {
		publishers := append(c.oneOfEach(), c.oneOfEach()...)
		c.settled()
		for range c.times(5, 1) {
			order := rand.Perm(len(c.members))
			for _, i := range order {
				c.must(c.members[i].kill(t.Context()))
				c.pass(rand.N(300 * time.Millisecond))
			}
			rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
			for _, i := range order {
				c.pass(rand.N(2 * time.Second))
				c.must(c.members[i].start())
			}
			agreed := c.agreeing(time.Now()) // between two changes
			c.churn(t, publishers, c.pick(30*time.Second, 10*time.Second))
			over := time.Now() // nobody changes any more
			agreed()
			c.agree(over)
		}
	})
}

// P5, second part: one of them has only slept, and wakes with its old snapshot after everybody has registered anew.
func TestP5OldSnapshot(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, 3)
	c.scenario(t, "P5 an old snapshot wakes", func() {
		awake := c.members[:2]
		publishers := append(c.oneOfEach(awake...), c.oneOfEach(awake...)...)
		c.settled()
		c.must(c.members[2].signal(syscall.SIGSTOP))
		for _, m := range awake {
			c.must(m.kill(t.Context()))
		}
		for _, m := range awake {
			c.must(m.start())
		}
		for _, m := range awake {
			c.ready(m)
		}
		c.churn(t, publishers, c.pick(30*time.Second, 10*time.Second))
		woken := time.Now()
		c.must(c.members[2].signal(syscall.SIGCONT))
		c.ready(c.members[2])
		c.agree(woken)
	})
}

// P15: all members but two leave within a second, 7 -> 2; then every member is replaced, one after another, as fast as readiness
// allows. No record is lost, whether each member holds everything or each shard has two copies.
func TestP15LeaveAndReplace(t *testing.T) {
	t.Parallel()
	for _, factor := range []int{0, 2} {
		t.Run(fmt.Sprintf("factor %d", factor), func(t *testing.T) { leaveAndReplace(t, factor) })
	}
}

func leaveAndReplace(t *testing.T, factor int) {
	t.Parallel()
	with := ""
	if factor > 0 {
		with = fmt.Sprintf(", %d copies", factor)
	}
	c := newSharded(t, 7, 9, factor)
	for range 3 {
		c.oneOfEach()
	}
	c.follow("crowd", 30, c.servers())
	t.Run("leave", func(t *testing.T) {
		c.scenario(t, "P15 7 -> 2 members"+with, func() {
			c.settled()
			c.judge.Hold(time.Now())
			for _, m := range c.members[:5] {
				c.must(m.signal(syscall.SIGTERM))
				c.pass(rand.N(250 * time.Millisecond)) // whoever moves now may have looked at the next one just before it leaves
			}
			for _, m := range c.members[:5] {
				c.must(m.gone(t.Context()))
				c.unwatch(m)
			}
			c.agree(time.Now())
		})
	})
	t.Run("replace", func(t *testing.T) {
		c.scenario(t, "P15 every member replaced"+with, func() {
			c.settled()
			c.judge.Hold(time.Now()) // newcomers must list all of it from their first word on
			for i, m := range c.members[5:7] {
				next := c.members[7+i]
				c.must(next.start())
				c.ready(next)
				c.watch(next) // whoever subscribes for the first time is sent to members that are ready
				c.must(m.signal(syscall.SIGTERM))
			}
			for _, m := range c.members[5:7] {
				c.must(m.gone(t.Context()))
				c.unwatch(m)
			}
			c.agree(time.Now())
		})
	})
}

// R3: a random member is killed every 20 s for 10 minutes, while publishers die as well.
func TestR3Kills(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, 3)
	c.patience = 3 * time.Minute // the last ghosts have their time
	c.scenario(t, "R3 a member killed again and again", func() {
		var dying []*provider
		for range c.times(20, 4) {
			dying = append(dying, c.provider())
		}
		c.oneOfEach()
		c.oneOfEach()
		c.settled()
		c.probed(len(dying) + 2)
		var back time.Time
		died := 0
		for i := range c.times(30, 5) {
			next := time.Now().Add(c.pick(20*time.Second, 16*time.Second))
			m := c.members[rand.IntN(len(c.members))]
			for _, other := range c.members {
				c.ready(other) // a second one would take with it what only it was told
			}
			// Publishers die at the moment of a kill, one just before it and one with it.
			var dies []*provider
			if i%2 == 0 {
				dies = steady(dying)
			}
			if len(dies) == 2 {
				c.must(dies[1].client.Process().Signal(syscall.SIGSTOP)) // it shall not get to another member
				dies[0].die(c.deadInTrouble())
			}
			c.must(m.kill(t.Context()))
			if len(dies) == 2 {
				dies[1].die(c.deadInTrouble())
				died += 2
			}
			c.pass(500*time.Millisecond + rand.N(4*time.Second))
			back = time.Now()
			c.must(m.start())
			if i < c.times(30, 5)-1 {
				c.pass(time.Until(next))
			}
		}
		for _, m := range c.members {
			c.ready(m)
		}
		c.agree(back)
		t.Logf("%d publishers died", died)
		if died == 0 {
			t.Error("no publisher died: there was nothing to become a ghost")
		}
	})
}

// steady are the first two that are where they are for long enough to have been probed there. Of one that has just registered
// anew nobody knows whether its port ever answered: its ghost has the long grace, which each further loss puts off.
func steady(providers []*provider) []*provider {
	var found []*provider
	for _, p := range providers {
		if p.here && len(found) < 2 && time.Since(p.connected()) > 13*time.Second {
			found = append(found, p)
		}
	}
	return found
}

// R4: a member is stopped for 40 s and goes on. It removes nobody on waking, and tells nobody what it held before.
func TestR4Frozen(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, 3)
	c.scenario(t, "R4 a member frozen", func() {
		sleeper, awake := c.members[0], c.members[1:]
		at := c.oneOfEach(sleeper)
		others := c.oneOfEach(awake...)
		c.oneOfEach()
		leaving := c.provider(awake...)
		c.settled()
		c.must(sleeper.signal(syscall.SIGSTOP))
		c.pass(c.pick(20*time.Second, 8*time.Second))
		c.provider(awake...)
		c.changed(others[0])
		leaving.leave(c.pick(40*time.Second, 16*time.Second) + agreement)
		c.settledBut(sleeper)
		c.judge.Hold(time.Now()) // whatever the sleeper tells from now on has to show the newcomer
		c.pass(c.pick(20*time.Second, 8*time.Second))
		woken := time.Now()
		c.must(sleeper.signal(syscall.SIGCONT))
		c.ready(sleeper)
		c.agree(woken)
		c.changed(at[0])
	})
}
