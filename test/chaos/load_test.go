//go:build linux

package chaos

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/muster-registry/muster/test/chaos/judge"
)

// openPort is one at which every address of the clients answers.
const openPort = 9000

// listensEverywhere opens it.
func (c *cluster) listensEverywhere() {
	c.t.Helper()
	l, err := listen(net.JoinHostPort("0.0.0.0", strconv.Itoa(openPort)))
	c.must(err)
	c.t.Cleanup(func() { l.Close() })
}

// raw adds a small client of a member, which ends with the test.
func (c *cluster) raw(m *member, change func(*raw), redo func(context.Context, *raw) error) *raw {
	c.t.Helper()
	ip, _ := c.address()
	r, err := dial(c.t.Context(), m.grpc(), ip, change, redo)
	c.must(err)
	c.t.Cleanup(r.close)
	return r
}

// done waits until clients have done all of it so many times.
func (c *cluster) done(clients []*raw, times int) {
	c.t.Helper()
	c.eventually("clients to register", func() string {
		n := 0
		for _, r := range clients {
			if r.times() >= times {
				n++
			}
		}
		if n < len(clients) {
			return fmt.Sprintf("%d of %d have", n, len(clients))
		}
		return ""
	})
}

// L1: 100 stalled subscribers that never read, 10 changes a second to a service of 1,000 instances.
func TestL1StalledSubscribers(t *testing.T) {
	c := newCluster(t, 3, 3)
	c.scenario(t, "L1 100 stalled subscribers", func() {
		const service, instances, stalled = "big", 1000, 100
		m := c.members[0]
		c.oneOfEach()
		c.settled() // reads are open
		scales := c.weigh()
		deaf := func() *raw {
			return c.raw(m, func(r *raw) { r.deaf = true }, func(ctx context.Context, r *raw) error { return r.subscribe(ctx, service) })
		}
		first := deaf() // of the stalled, so long before the others that it is closed in the short form too
		for batch := range slices.Chunk(slices.Collect(counting(instances-1)), 111) {
			c.done([]*raw{c.raw(m, nil, func(ctx context.Context, r *raw) error {
				var all []instance
				for _, port := range batch {
					all = append(all, instance{service: service, ip: r.ip, port: 10_000 + port})
				}
				err := r.registerAll(ctx, service, all)
				for _, in := range all {
					if err == nil {
						c.judge.Registered(service, in.address())
					}
				}
				return err
			})}, 1)
		}
		c.counted()
		c.judge.Hold(time.Now()) // every list is to be complete from the first one on
		publisher := c.raw(m, nil, func(context.Context, *raw) error { return nil })
		l := &latency{}
		var healthy []*raw
		for range 5 {
			healthy = append(healthy, c.raw(m, func(r *raw) { r.heard = l.heard }, func(ctx context.Context, r *raw) error { return r.subscribe(ctx, service) }))
		}
		for _, at := range c.members { // these are judged; the others only measure
			healthy = append(healthy, c.subscriber(at, service, "subscriber of "+service+" at "+at.name, func(pushed) {}))
		}
		c.done(append(healthy, first), 1)
		c.observe(service, time.Second)
		in := instance{service: service, ip: publisher.ip, port: 8080}
		phase := func() time.Duration {
			l.begin()
			for end := time.Now().Add(c.pick(20*time.Second, 6*time.Second)); time.Now().Before(end); c.pass(100 * time.Millisecond) {
				c.must(publisher.register(t.Context(), l.next(in)))
				c.judge.Registered(service, in.address())
			}
			return l.median()
		}
		without := phase()
		round := func() float64 {
			var crowd []*raw
			for range stalled {
				crowd = append(crowd, deaf())
			}
			c.done(crowd, 1)
			_ = phase() // their windows fill
			_, halfway := c.memory(m)
			under := phase()
			_, peak := c.memory(m)
			if c.long { // they have not read for longer than they may: each was closed, and has come again
				c.done(crowd, 2)
			}
			if v, err := m.view(t.Context()); err != nil || v.Counts.Subscriptions < stalled+len(healthy) {
				t.Errorf("the stalled are gone: %+v, %v", v.Counts, err)
			}
			// While they are there one instance leaves: all others hear of it, and all members agree.
			c.judge.Gone(service, in.address(), time.Now().Add(agreement))
			c.must(publisher.deregister(t.Context(), in))
			c.agree(time.Now())
			c.settled()
			for _, r := range crowd {
				r.close()
			}
			after := phase()
			c.agree(time.Now()) // counted from the last change
			ratio := float64(under) / float64((without+after)/2)
			t.Logf("latency p50 %v, with stalled subscribers %v, after them %v: ratio %.2f; memory %d MiB with the stalled, %d MiB later",
				without, under, after, ratio, halfway>>20, peak>>20)
			if peak > halfway+halfway/4 {
				t.Errorf("memory grows with stalled subscribers: %d MiB, %d MiB after a while", halfway>>20, peak>>20)
			}
			without = after
			return ratio
		}
		// What the stalled cost they cost every time; what else the machine does just then, it does once.
		ratio := round()
		for again := 0; ratio >= 1.2 && again < 2; again++ {
			ratio = round()
		}
		if ratio >= 1.2 {
			t.Errorf("healthy subscribers wait %.2f times as long", ratio)
		}
		c.done([]*raw{first}, 2)
		if n, err := m.metric(t.Context(), "muster_grpc_connections_stuck_total"); err != nil || int(n) < 1+c.times(stalled, 0) {
			t.Errorf("%v connections were closed because they did not read, %v", n, err)
		}
		c.counted()
		// Each of the stalled may hold a list of its own, when each was sent one at another time.
		list, err := send(t.Context(), http.MethodGet, m.url(m.config.Listen.HTTPPort, "/nacos/v1/ns/instance/list?serviceName="+service))
		c.must(err)
		held := instances*perInstance + (instances/111+len(healthy))*perConnection
		scales.bounded(held+stalled*(perConnection+len(list)), held+len(list))
	})
}

func counting(n int) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

// latency measures from a registration to the push that shows it.
type latency struct {
	mu   sync.Mutex // guards all below
	last int
	sent map[int]time.Time
	took []time.Duration
}

func (l *latency) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent, l.took = map[int]time.Time{}, nil
}

// next is the instance with its next revision, sent now.
func (l *latency) next(in instance) instance {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	in.tried = l.last
	l.sent[l.last] = time.Now()
	return in
}

func (l *latency) heard(at time.Time, text []byte) {
	newest := 0
	for more := true; more; {
		var value []byte
		_, text, more = bytes.Cut(text, []byte(`"`+revisionKey+`":"`))
		value, _, _ = bytes.Cut(text, []byte(`"`))
		n, _ := strconv.Atoi(string(value)) // what is no number is nobody's
		newest = max(newest, n)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if sent, ok := l.sent[newest]; ok {
		l.took = append(l.took, at.Sub(sent))
	}
}

func (l *latency) median() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.took) == 0 {
		return 0
	}
	slices.Sort(l.took)
	return l.took[len(l.took)/2]
}

// L2: thousands of connections are dropped at once and reconnect with full redo.
func TestL2AllReconnect(t *testing.T) {
	c := newCluster(t, 3, 3)
	connections := min(c.times(20_000, 1_000), descriptors(t)-2_000)
	c.patience = 5 * time.Minute // both sides of the connections share the machine
	c.scenario(t, fmt.Sprintf("L2 %d reconnect at once", connections), func() {
		c.listensEverywhere()
		c.oneOfEach()
		c.settled()
		scales := c.weigh()
		const among = 200
		var clients []*raw
		for i := range connections {
			service := "many-" + strconv.Itoa(i%among)
			clients = append(clients, c.raw(c.members[i%3], nil, func(ctx context.Context, r *raw) error {
				in := instance{service: service, ip: r.ip, port: openPort}
				err := r.register(ctx, in)
				if err == nil {
					c.judge.Registered(service, in.address())
				}
				return err
			}))
		}
		c.done(clients, 1)
		c.counted()
		c.sample("many-", among)
		c.judge.Hold(time.Now())
		dropped := time.Now()
		for _, r := range clients {
			r.drop()
		}
		c.done(clients, 2)
		redone := time.Now()
		c.counted()
		c.agree(redone) // the clients are on this machine: how long they take is theirs
		t.Logf("%d clients were back after %v", connections, redone.Sub(dropped).Round(10*time.Millisecond))
		held := connections*perInstance + connections/len(c.members)*perConnection
		scales.bounded(held, held)
	})
}

// descriptors are the files that this process may open: a connection is one.
func descriptors(t *testing.T) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return int(min(limit.Cur, files))
}

// counted waits until every member holds exactly as many instances as there are.
func (c *cluster) counted() {
	c.t.Helper()
	want := 0
	for _, addresses := range c.judge.Here() {
		want += len(addresses)
	}
	c.eventually("an exact count", func() string {
		for _, m := range c.running() {
			if d, err := m.digest(c.t.Context()); err != nil || d.Instances != want {
				return fmt.Sprintf("%s holds %d of %d instances, %v", m.name, d.Instances, want, err)
			}
		}
		return ""
	})
}

// sample asks random members for random services until the test ends, and lets a real client subscribe to the first few.
func (c *cluster) sample(prefix string, among int) {
	c.t.Helper()
	const name = "sampling subscriber"
	c.consumer(name, func(int) string { return name }, "--servers", c.servers(), "--service", prefix[:len(prefix)-1], "--services", "3")
	ctx := c.t.Context()
	var work sync.WaitGroup
	c.t.Cleanup(work.Wait)
	work.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			m, service, asked := c.members[rand.IntN(len(c.members))], prefix+strconv.Itoa(rand.IntN(among)), time.Now()
			hosts, err := m.list(ctx, service)
			if err != nil {
				continue
			}
			l := judge.List{Observer: "sample of " + m.name, Service: service, Asked: asked, Hosts: map[string]bool{}}
			for address, h := range hosts {
				l.Hosts[address] = h.healthy
			}
			c.judge.Told(l)
		}
	})
}

// mortal is a raw publisher with a port of its own that dies with it.
type mortal struct {
	*raw
	instance
	port net.Listener
}

// L3: one third of all publishers die in the same second.
func TestL3ThirdDies(t *testing.T) {
	c := newCluster(t, 3, 3)
	c.scenario(t, "L3 a third of the publishers die", func() {
		scales := c.weigh()
		var connected []*mortal
		var clients []*raw
		for i := range c.times(300, 90) {
			connected = append(connected, c.mortal(c.members[i%3]))
			clients = append(clients, connected[i].raw)
		}
		var beating []publisher
		for range c.times(60, 18) {
			beating = append(beating, c.beater())
		}
		real := []publisher{c.provider(), c.provider(), c.provider()}
		c.done(clients, 1)
		c.settled()
		c.probed(len(connected) + len(real))
		c.patience = 3 * time.Minute
		// The brake lets go at its own rate what probes confirm, and the rest when its window has passed.
		bound := c.dead() + c.members[0].config.Protection.Window.Duration + 20*time.Second
		var deaths errgroup.Group
		for _, v := range connected[:len(connected)/3] {
			deaths.Go(func() error { v.die(c, bound); return nil })
		}
		for _, v := range append(beating[:len(beating)/3], real[0]) {
			deaths.Go(func() error { v.die(bound); return nil })
		}
		_ = deaths.Wait() // nobody fails to die
		gone := time.Now()
		c.eventually("the brake to say that it holds", func() string {
			for _, m := range c.members {
				if on, err := m.metric(t.Context(), "muster_protection_active"); err == nil && on == 1 {
					return ""
				}
			}
			return "no member does"
		})
		c.settled()
		t.Logf("the ghosts were gone after %v", time.Since(gone).Round(100*time.Millisecond))
		c.alike() // nobody comes back, so there is no heal
		c.counted()
		held := (len(connected)+len(beating)+len(real))*perInstance + (len(connected)+len(real))*perConnection
		scales.bounded(held, held)
	})
}

func (c *cluster) mortal(m *member) *mortal {
	c.t.Helper()
	v := &mortal{instance: c.newInstance()}
	var err error
	v.port, err = listen(v.address())
	c.must(err)
	c.t.Cleanup(func() { v.port.Close() })
	in := v.instance
	v.raw, err = dial(c.t.Context(), m.grpc(), in.ip, nil, func(ctx context.Context, r *raw) error {
		err := r.register(ctx, in)
		if err == nil {
			c.judge.Registered(in.service, in.address())
		}
		return err
	})
	c.must(err)
	c.t.Cleanup(v.close)
	return v
}

func (v *mortal) die(c *cluster, bound time.Duration) {
	c.judge.Gone(v.service, v.address(), time.Now().Add(bound))
	v.port.Close()
	v.close()
}

// L4: 100 instances of one service restart together. A subscriber gets at most one push a window, and the last is complete.
func TestL4RestartTogether(t *testing.T) {
	c := newCluster(t, 3, 3)
	c.scenario(t, "L4 100 instances restart together", func() {
		const service, instances = "fleet", 100
		c.listensEverywhere()
		c.oneOfEach()
		c.settled()
		scales := c.weigh()
		var mu sync.Mutex
		revision, pushes := 1, map[int][]pushed{} // guarded by mu
		var clients, subscribers []*raw
		for i := range instances {
			clients = append(clients, c.raw(c.members[i%3], nil, func(ctx context.Context, r *raw) error {
				mu.Lock()
				in := instance{service: service, ip: r.ip, port: openPort, tried: revision}
				mu.Unlock()
				err := r.register(ctx, in)
				if err == nil {
					c.judge.Registered(service, in.address())
				}
				return err
			}))
		}
		c.done(clients, 1)
		c.counted()
		c.judge.Hold(time.Now())
		for i := range 6 {
			name := fmt.Sprintf("subscriber %d of %s", i, service)
			subscribers = append(subscribers, c.subscriber(c.members[i%3], service, name, func(p pushed) {
				mu.Lock()
				defer mu.Unlock()
				pushes[i] = append(pushes[i], p)
			}))
		}
		c.observe(service, pollEvery)
		c.done(subscribers, 1)
		mu.Lock()
		revision = 2
		clear(pushes)
		mu.Unlock()
		restarted := time.Now()
		for _, r := range clients {
			r.drop()
		}
		c.done(clients, 2)
		c.agree(time.Now()) // all are back
		c.eventually("the last push to be complete", func() string {
			mu.Lock()
			defer mu.Unlock()
			for i := range subscribers {
				got := pushes[i]
				if len(got) == 0 || !maps.Equal(got[len(got)-1].revisions(), map[string]int{"2": instances}) {
					return fmt.Sprintf("subscriber %d was told %d lists", i, len(got))
				}
			}
			return ""
		})
		mu.Lock()
		defer mu.Unlock()
		window := c.timeouts().PushWindow.Duration
		for i := range subscribers {
			got := pushes[i]
			// Every one was sent after the restart and before the last one came, however long each was on its way.
			span := got[len(got)-1].At.Sub(restarted)
			most := int(span/window) + 1 // the first at once
			t.Logf("subscriber %d got %d pushes, the last %v after the restart", i, len(got), span.Round(time.Millisecond))
			if len(got) > most {
				t.Errorf("subscriber %d got %d pushes in %v: more than one in %v", i, len(got), span, window)
			}
			for _, p := range got {
				if len(p.Hosts) != instances {
					t.Errorf("subscriber %d was told %d of %d instances", i, len(p.Hosts), instances)
				}
			}
		}
		held := instances*perInstance + (instances+len(subscribers))*perConnection
		scales.bounded(held, held)
	})
}
