//go:build linux

package chaos

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/muster-registry/muster/test/chaos/judge"
	"github.com/muster-registry/muster/test/sdk"
)

// pollEvery is how often each member is asked for each service.
const pollEvery = 150 * time.Millisecond

// watch judges a member by all that it tells: a real subscriber is at this one only, and each list is asked for again and
// again. Both go on while the member is away.
func (c *cluster) watch(m *member) {
	c.t.Helper()
	c.follow("subscriber at "+m.name, 1, c.servers(m))
	c.watchers = append(c.watchers, queries(m))
	c.poll(m, pollEvery, serviceNames()...)
}

// queries is the observer that asks a member.
func queries(m *member) string { return "query at " + m.name }

// poll asks a member for some lists again and again, until the test ends.
func (c *cluster) poll(m *member, every time.Duration, names ...string) {
	c.t.Helper()
	ctx := c.t.Context()
	var polls sync.WaitGroup
	c.t.Cleanup(polls.Wait) // the context is over by then
	polls.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for _, s := range names {
				asked := time.Now()
				hosts, err := m.list(ctx, s)
				if err != nil {
					break // it says nothing
				}
				l := judge.List{Observer: queries(m), Service: s, Asked: asked, Hosts: map[string]bool{}}
				for address, h := range hosts {
					l.Hosts[address] = h.healthy
				}
				c.judge.Told(l)
			}
			c.judge.Look(time.Now())
		}
	})
}

// observe judges what members tell of a further service of the scenario: each is asked for it. Those who subscribe to it are
// added by their names.
func (c *cluster) observe(service string, every time.Duration) {
	c.t.Helper()
	for _, m := range c.members {
		c.further[service] = append(c.further[service], queries(m))
		c.poll(m, every, service)
	}
}

// subscriber adds a small client that subscribes to a further service of the scenario. All that it is told is judged, then
// told is called.
func (c *cluster) subscriber(m *member, service, name string, told func(pushed)) *raw {
	c.t.Helper()
	c.further[service] = append(c.further[service], name)
	return c.raw(m, func(r *raw) {
		r.told = func(p pushed) {
			c.judge.Told(judge.List{Observer: name, Service: service, Asked: p.At, Hosts: p.addresses(), Standing: true})
			told(p)
		}
	}, func(ctx context.Context, r *raw) error { return r.subscribe(ctx, service) })
}

// unwatch: the member is gone for good, and what its last subscriber holds is nobody's answer.
func (c *cluster) unwatch(m *member) {
	for _, name := range []string{"subscriber at " + m.name, queries(m)} {
		c.judge.Forget(name)
		c.watchers = slices.DeleteFunc(c.watchers, func(w string) bool { return w == name })
	}
}

// follow runs real clients that subscribe to all services, at any of some servers.
func (c *cluster) follow(name string, clients int, servers string) *sdk.Client {
	c.t.Helper()
	observer := func(client int) string {
		if clients == 1 {
			return name
		}
		return name + " " + strconv.Itoa(client)
	}
	for i := range clients {
		c.watchers = append(c.watchers, observer(i))
	}
	return c.consumer(name, observer, "--servers", servers, "--service", "s", "--services", strconv.Itoa(services), "--clients", strconv.Itoa(clients))
}

// consumer runs real clients that subscribe. What each is told is judged as its observer's.
func (c *cluster) consumer(name string, observer func(client int) string, args ...string) *sdk.Client {
	c.t.Helper()
	return c.sdk(name, func(e sdk.Event) bool {
		if e.Event != "list" {
			return false
		}
		l := judge.List{Observer: observer(e.Client), Service: e.Service, Asked: e.Time, Hosts: map[string]bool{}, Standing: true}
		for _, in := range e.Instances {
			l.Hosts[in.Address] = in.Healthy
		}
		c.judge.Told(l)
		return true
	}, append(args, "consumer")...)
}

// sdk starts a process of the real client, which ends with the test. What it says, its SDK's log with it, is kept in a file with
// its name: a client that was told nothing is understood from its own side only.
func (c *cluster) sdk(name string, on func(sdk.Event) bool, args ...string) *sdk.Client {
	c.t.Helper()
	log, err := os.OpenFile(filepath.Join(c.dir, strings.ReplaceAll(name, " ", "-")+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	c.must(err)
	c.t.Cleanup(func() { log.Close() })
	p, err := sdk.Start(c.t.Context(), sdk.Options{
		Binary: program("client"), Args: append([]string{"--dir", c.t.TempDir(), "--sdk-log", "info"}, args...), Start: c.clients.start, Errors: log,
		On: func(e sdk.Event) bool {
			fmt.Fprintln(log, e.Line)
			return on != nil && on(e)
		},
	})
	c.must(err)
	c.t.Cleanup(p.Kill)
	return p
}
