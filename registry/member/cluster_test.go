package member_test

import (
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/push"
	"github.com/muster-registry/muster/registry/replication"
	"github.com/muster-registry/muster/registry/session"
)

var (
	mail      = model.ServiceKey{Namespace: "public", Group: "DEFAULT_GROUP", Name: "mail"}
	webServer = model.Instance{IP: "10.0.0.1", Port: 80, Cluster: "DEFAULT", Weight: 1, Healthy: true, Enabled: true}
)

// cluster is some members without runners, on one clock that the test moves. Messages arrive at once.
type cluster struct {
	t     *testing.T
	now   model.Time
	drawn model.Incarnation
	peers []*peer
	// factor is the replication factor of those that are added.
	factor int
	// offers counts with how many each has begun to exchange by offering everything, compares by sums.
	offers, compares map[*peer]int
	// pulls is how often one may still send to another, where that is limited.
	pulls map[[2]*peer]int
	// watch, when set, sees every message on its way.
	watch func(from, to *peer, m *replication.Message)
	// read, when set, runs ahead of each reading of the clock.
	read func()
}

// peer is one member, the source as it sees it, and its streams.
type peer struct {
	*member.Member
	c       *cluster
	asleep  bool
	streams map[*peer]model.Incarnation // by the incarnation that it met
}

func newCluster(t *testing.T) *cluster {
	return &cluster{t: t, offers: map[*peer]int{}, compares: map[*peer]int{}, pulls: map[[2]*peer]int{}, now: model.Time{Mono: time.Hour, Wall: 1_800_000_000_000}}
}

// Now implements model.Clock.
func (c *cluster) Now() model.Time {
	if c.read != nil {
		c.read()
	}
	return c.now
}

func (c *cluster) add(name string, p membership.Policy) *peer {
	s := &peer{c: c, streams: map[*peer]model.Incarnation{}}
	s.Member = member.New(member.Options{
		Self:        model.Member{Name: name, UID: name, Address: name + ":9849"},
		Incarnation: func() model.Incarnation { c.drawn++; return c.drawn },
		Clock:       c, Policy: p, Timeouts: options(nil, name).Timeouts, Probing: false, MovesPerSecond: 2,
		ReplicationFactor: c.factor,
	})
	c.peers = append(c.peers, s)
	return s
}

// entry is how a source of membership lists the member now.
func (s *peer) entry() membership.Entry { return membership.Entry{Member: s.Self(), Alive: true} }

// list hands a member what its source says.
func (s *peer) list(entries ...membership.Entry) {
	s.SetListing(membership.Listing{Entries: entries, Reachable: true})
}

// connect opens streams, whose handshakes work, before anything flows.
func (c *cluster) connect(a *peer, others ...*peer) {
	for _, b := range others {
		a.Dialled(b.Self().Address, replication.DialConnected)
		a.streams[b], b.streams[a] = b.Self().Incarnation, a.Self().Incarnation
		a.PeerUp(b.Self())
		b.PeerUp(a.Self())
	}
	c.flow()
}

func (c *cluster) cut(a, b *peer) {
	if inc, ok := a.streams[b]; ok {
		a.PeerDown(inc)
		b.PeerDown(b.streams[a])
		delete(a.streams, b)
		delete(b.streams, a)
	}
}

// flow carries messages until nobody has anything to say.
func (c *cluster) flow() {
	for again := true; again; {
		again = false
		for _, a := range c.peers {
			for _, b := range c.peers {
				inc, ok := a.streams[b]
				if !ok || a.asleep || b.asleep || !c.may(a, b) {
					continue
				}
				for _, m := range a.Pull(inc) {
					again = true
					c.note(a, b, &m)
					b.Receive(b.streams[a], m)
				}
			}
		}
	}
}

// may reports whether one is allowed to send, and counts it.
func (c *cluster) may(from, to *peer) bool {
	link := [2]*peer{from, to}
	left, limited := c.pulls[link]
	if limited && left > 0 {
		c.pulls[link]--
	}
	return !limited || left > 0
}

func (c *cluster) note(from, to *peer, m *replication.Message) {
	switch {
	case m.Kind == replication.KindOffer && m.Last:
		c.offers[from]++
	case m.Kind == replication.KindCompare:
		c.compares[from]++
	}
	if c.watch != nil {
		c.watch(from, to, m)
	}
}

func (c *cluster) pass(d time.Duration) {
	for end := c.now.Mono + d; c.now.Mono < end; {
		c.now.Mono += 100 * time.Millisecond
		c.now.Wall += 100
		for _, s := range c.peers {
			if !s.asleep {
				s.Tick()
			}
		}
		c.flow()
	}
}

// three are complete, connected and answer lists.
func three(t *testing.T) (c *cluster, a, b, d *peer) {
	t.Helper()
	c = newCluster(t)
	a, b, d = c.add("a", membership.PolicyLease()), c.add("b", membership.PolicyLease()), c.add("d", membership.PolicyLease())
	c.connect(a, b)
	c.connect(a, d)
	c.connect(b, d)
	c.relist()
	c.pass(36 * time.Second)
	for _, s := range c.peers {
		if ok, why := s.Ready(); !ok || !s.ReadsOpen() {
			t.Fatalf("%s is not ready: %s", s.Self().Name, why)
		}
	}
	return c, a, b, d
}

// relist hands everybody a listing of all.
func (c *cluster) relist() {
	var all []membership.Entry
	for _, s := range c.peers {
		all = append(all, s.entry())
	}
	for _, s := range c.peers {
		if !s.asleep {
			s.list(all...)
		}
	}
	c.flow()
}

// client opens a naming connection.
func (s *peer) client(id string) *push.Conn {
	s.c.t.Helper()
	return s.Connect(member.Connection{ID: id, Client: model.Client{IP: "10.0.0.1", Agent: "Nacos-Go-Client:v2"}, Naming: true})
}

// publish registers the web server through a connection.
func (s *peer) publish(id string) {
	s.c.t.Helper()
	if err := s.Publish(id, mail, []model.Instance{webServer}); err != nil {
		s.c.t.Fatal(err)
	}
	s.c.flow()
}

// atReading runs do with then ahead of its nth reading of the clock: whatever may come in between there. It reports whether there
// was such a reading.
func (c *cluster) atReading(nth int, then, do func()) bool {
	n := 0
	c.read = func() {
		if n++; n == nth {
			c.read = nil
			then()
		}
	}
	do()
	c.read = nil
	return n >= nth
}

func (s *peer) shows() int {
	s.c.t.Helper()
	snap, err := s.Query(mail)
	if err != nil {
		s.c.t.Fatal(err)
	}
	return len(snap.Hosts)
}

// portFor is a port of the web server's address for whose beats a member is responsible, as others see it.
func portFor(s, asked *peer) int {
	for port := 1; ; port++ {
		key := session.BeatPublisher(webServer.IP, port)
		if asked.ring().Responsible(key, 0) == s.Self().Incarnation {
			return port
		}
	}
}
