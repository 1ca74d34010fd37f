//go:build linux

package chaos

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// turn is how long a starved member runs at a time, every so often. It is never stopped for as long as a pause, which a member
	// knows by its clock.
	turn, turnEvery = 20 * time.Millisecond, time.Second
)

// R4, second part: a member gets a fiftieth of a processor, and more to do than that. What its clients send lies unread for longer
// than silence may last: it removes nobody for that, and neither do the others, who hear of those clients through it.
func TestR4Starved(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, 3)
	c.scenario(t, "R4 a member starved", func() {
		starved, others := c.members[0], c.members[1:]
		at := append(c.oneOfEach(starved), c.oneOfEach(starved)...)
		elsewhere := c.oneOfEach(others...)
		c.oneOfEach()
		leaving := c.provider(others...)
		c.settled()
		c.judge.Hold(time.Now())
		fed := c.starve(starved)
		calm := c.flood(starved, c.times(6000, 2000)) // before each that beats all of them are served
		c.eventually("the member to notice that it reads late", func() string {
			if log, err := os.ReadFile(filepath.Join(c.dir, starved.name+".log")); err != nil || !strings.Contains(string(log), "answers come late") {
				return "its log does not say so"
			}
			return ""
		})
		c.changed(elsewhere[0])
		trouble := c.pick(2*time.Minute, 30*time.Second)
		leaving.leave(trouble + c.patience) // it has to read that as well
		c.pass(trouble)
		over := time.Now()
		calm()
		fed()
		c.ready(starved)
		c.agree(over)
		c.changed(at[0])
	})
}

// starve gives a member short turns of a processor only, until what it returns is called.
func (c *cluster) starve(m *member) (fed func()) {
	c.t.Helper()
	ctx, stop := context.WithCancel(c.t.Context())
	var turns sync.WaitGroup
	turns.Go(func() {
		runs := func(s syscall.Signal, d time.Duration) bool {
			select {
			case <-ctx.Done():
				return false
			case <-time.After(d):
				return m.signal(s) == nil
			}
		}
		for runs(syscall.SIGSTOP, turn) && runs(syscall.SIGCONT, turnEvery-turn) {
		}
		_ = m.signal(syscall.SIGCONT) // it may have been killed with the test
	})
	fed = func() {
		stop()
		turns.Wait()
	}
	c.t.Cleanup(fed)
	return fed
}

// flood has so many clients ask a member for a list, each again as soon as it is answered, until what it returns is called.
func (c *cluster) flood(m *member, clients int) (calm func()) {
	c.t.Helper()
	ctx, stop := context.WithCancel(c.t.Context())
	connections := &http.Transport{MaxIdleConnsPerHost: clients}
	url := m.url(m.config.Listen.HTTPPort, "/nacos/v1/ns/instance/list?serviceName="+serviceName(0))
	var asking sync.WaitGroup
	for range clients {
		asking.Go(func() {
			for ctx.Err() == nil {
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
				if err != nil {
					return
				}
				answer, err := connections.RoundTrip(r)
				if err != nil {
					select { // it may have no file for one more
					case <-ctx.Done():
					case <-time.After(100 * time.Millisecond):
					}
					continue
				}
				_, _ = io.Copy(io.Discard, answer.Body) // else its connection is closed
				answer.Body.Close()
			}
		})
	}
	calm = func() {
		stop()
		asking.Wait()
		connections.CloseIdleConnections()
	}
	c.t.Cleanup(calm)
	return calm
}
