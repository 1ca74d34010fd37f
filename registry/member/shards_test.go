package member_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/push"
	"github.com/muster-registry/muster/registry/ring"
	"github.com/muster-registry/muster/registry/session"
)

const factor = 2

// sharded are members that hold two copies of a shard, complete and connected.
func sharded(t *testing.T, n int) *cluster {
	t.Helper()
	c := newCluster(t)
	c.factor = factor
	for i := range n {
		s := c.add(string(rune('a'+i)), membership.PolicyLease())
		for _, o := range c.peers[:i] {
			c.connect(s, o)
		}
	}
	c.relist()
	c.pass(36 * time.Second)
	c.ready()
	return c
}

func (c *cluster) ready() {
	c.t.Helper()
	for _, s := range c.peers {
		if ok, why := s.Ready(); !s.asleep && (!ok || !s.ReadsOpen()) {
			c.t.Fatalf("%s is not ready: %s", s.Self().Name, why)
		}
	}
}

func service(i int) model.ServiceKey {
	return model.ServiceKey{Namespace: "public", Group: "DEFAULT_GROUP", Name: fmt.Sprintf("service-%d", i)}
}

// fill registers an instance of each of n services, at one member after the other.
func (c *cluster) fill(n int) {
	c.t.Helper()
	for i, s := range c.peers {
		s.client("publisher-" + s.Self().Name)
		for k := i; k < n; k += len(c.peers) {
			in := webServer
			in.Port = int32(k + 1)
			if err := s.Publish("publisher-"+s.Self().Name, service(k), []model.Instance{in}); err != nil {
				c.t.Fatal(err)
			}
		}
	}
	c.flow()
}

// copies judges that each service is held by as many as the factor says, whole, and answered by nobody else.
func (c *cluster) copies(n int) {
	c.t.Helper()
	for k := range n {
		held := 0
		for _, s := range c.peers {
			if s.asleep {
				continue
			}
			snap, err := s.Query(service(k))
			switch {
			case !s.Holds(service(k)) && err == nil:
				c.t.Errorf("%s answers for %v, which it does not hold", s.Self().Name, service(k))
			case s.Holds(service(k)) && (err != nil || len(snap.Hosts) != 1):
				c.t.Errorf("%s holds %v and shows %v (%v)", s.Self().Name, service(k), snap, err)
			case s.Holds(service(k)):
				held++
			}
		}
		if held < factor {
			c.t.Errorf("%v is held by %d", service(k), held)
		}
	}
}

// load is how many records a member has.
func (s *peer) load() int { return len(s.Records()) }

// TestShares: each member holds its part, and each service is held twice.
func TestShares(t *testing.T) {
	c := sharded(t, 5)
	const n = 300
	c.fill(n)
	c.pass(20 * time.Second)
	c.copies(n)
	for _, s := range c.peers {
		// a fifth is its own publishers'; of the rest it holds two fifths
		if want := n/5 + n*4/5*factor/5; s.load() < want*3/4 || s.load() > want*5/4 {
			t.Errorf("%s has %d records, want about %d of %d", s.Self().Name, s.load(), want, n)
		}
	}
}

// TestSubscriberElsewhere: a member without a copy fetches one for its subscriber, and keeps it up to date.
func TestSubscriberElsewhere(t *testing.T) {
	c := sharded(t, 5)
	c.fill(5)
	i := slices.IndexFunc(c.peers, func(s *peer) bool { return !s.Holds(service(0)) })
	s := c.peers[i]
	sub := s.client("subscriber")
	if snap, err := s.Subscribe("subscriber", service(0), ""); err != nil || snap.Revision != 0 {
		t.Fatalf("before there is a copy: revision %d (%v), want none", snap.Revision, err)
	}
	c.flow()
	want := func(hosts int) {
		t.Helper()
		var last *push.Item
		for it, ok := sub.Next(); ok; it, ok = sub.Next() {
			last = &it
		}
		if last == nil || last.Kind != push.ItemNotify || len(last.Snapshot.Hosts) != hosts {
			t.Fatalf("pushed %+v, want %d instances", last, hosts)
		}
	}
	want(1)
	second := c.peers[(i+1)%5]
	second.client("second")
	in := webServer
	in.IP = "10.0.0.2"
	if err := second.Publish("second", service(0), []model.Instance{in}); err != nil {
		t.Fatal(err)
	}
	c.flow()
	c.pass(time.Second)
	want(2)
	if _, err := s.Unsubscribe("subscriber", service(0)); err != nil {
		t.Fatal(err)
	}
	c.pass(30 * time.Second)
	if s.Holds(service(0)) {
		t.Error("it keeps a copy that nobody asks for")
	}
}

// TestDeregisteredElsewhere: an order to deregister is passed on to those who hold the service, and refused, to be repeated, when nobody
// can be told.
func TestDeregisteredElsewhere(t *testing.T) {
	c := sharded(t, 4)
	var holders, others []*peer
	for _, s := range c.peers {
		if s.Holds(mail) {
			holders = append(holders, s)
		} else {
			others = append(others, s)
		}
	}
	holders[0].RegisterInstance(mail, webServer, model.Client{})
	c.flow()
	for _, h := range holders {
		c.cut(others[0], h)
	}
	if err := others[0].DeregisterInstance(mail, webServer.Key()); !errors.Is(err, model.ErrNotReady) {
		t.Errorf("with nobody in reach that holds it: %v, want not ready", err)
	}
	if err := others[1].DeregisterInstance(mail, webServer.Key()); err != nil {
		t.Error(err)
	}
	c.flow()
	for _, h := range holders {
		if n := h.shows(); n != 0 {
			t.Errorf("%s shows %d instances", h.Self().Name, n)
		}
	}
}

// TestGivenUpWhileAsked: a shard that is given up at any moment of a question is never answered as a service without instances.
func TestGivenUpWhileAsked(t *testing.T) {
	for name, ask := range map[string]func(s *peer) (told, hosts int){
		"query": func(s *peer) (told, hosts int) {
			if snap, err := s.Query(service(0)); err == nil {
				return 1, len(snap.Hosts)
			}
			return 0, 0
		},
		"instance": func(s *peer) (told, hosts int) {
			first := model.InstanceKey{IP: webServer.IP, Port: 1, Cluster: webServer.Cluster} // fill
			switch _, err := s.Instance(service(0), first); {
			case err == nil:
				return 1, 1
			case errors.Is(err, model.ErrNotFound):
				return 1, 0
			}
			return 0, 0
		},
		"the end of a subscription": func(s *peer) (told, hosts int) {
			snap, err := s.Unsubscribe("subscriber", service(0))
			if err != nil {
				s.c.t.Fatal(err)
			}
			return int(min(snap.Revision, 1)), len(snap.Hosts)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := sharded(t, 5)
			c.fill(5)
			s := c.peers[slices.IndexFunc(c.peers, func(s *peer) bool { return !s.Holds(service(0)) })]
			s.client("subscriber")
			told := 0
			for nth, again := 1, true; again; nth++ {
				if _, err := s.Subscribe("subscriber", service(0), ""); err != nil {
					t.Fatal(err)
				}
				c.flow()
				if !s.Holds(service(0)) {
					t.Fatal("it has fetched no copy")
				}
				if _, err := s.Unsubscribe("subscriber", service(0)); err != nil {
					t.Fatal(err)
				}
				again = c.atReading(nth, func() { c.pass(25 * time.Second) }, func() {
					n, hosts := ask(s)
					told += n
					if n != 0 && hosts != 1 {
						t.Errorf("given up ahead of reading %d: answered with %d instances, there is one", nth, hosts)
					}
				})
				if again && s.Holds(service(0)) {
					t.Fatal("it has not given the copy up")
				}
			}
			if told == 0 {
				t.Error("it is never answered")
			}
		})
	}
}

// TestReplicaLost: a member that dies leaves one copy of its shards; another one makes a second.
func TestReplicaLost(t *testing.T) {
	c := sharded(t, 5)
	const n = 60
	c.fill(n)
	c.pass(20 * time.Second)
	dead := c.peers[4]
	dead.asleep = true
	for _, s := range c.peers[:4] {
		c.cut(s, dead)
	}
	gone := dead.entry()
	gone.Alive = false
	var entries []membership.Entry
	for _, s := range c.peers[:4] {
		entries = append(entries, s.entry())
	}
	for _, s := range c.peers[:4] {
		s.list(append(slices.Clone(entries), gone)...)
	}
	c.pass(20 * time.Second)
	c.ready()
	c.copies(n)
}

// TestNewcomerTakesItsShare: it is ready with its copies, and the others give up theirs.
func TestNewcomerTakesItsShare(t *testing.T) {
	c := sharded(t, 3)
	const n = 120
	c.fill(n)
	c.pass(20 * time.Second)
	before := c.peers[0].load()
	for i := range 3 {
		s := c.add(string(rune('x'+i)), membership.PolicyLease())
		for _, o := range c.peers[:3+i] {
			c.connect(s, o)
		}
	}
	c.relist()
	c.pass(5 * time.Second)
	c.relist() // they are complete now
	c.pass(40 * time.Second)
	c.ready()
	c.copies(n)
	if after := c.peers[0].load(); after > before*4/5 {
		t.Errorf("a member of three had %d records, one of six has %d", before, after)
	}
}

// TestNewcomerAsksForItsShareOnly: before it knows the others it wants nothing. It would be everything, which each newcomer
// of a large registry would fetch, and give up again.
func TestNewcomerAsksForItsShareOnly(t *testing.T) {
	c := sharded(t, 5)
	s := c.add("x", membership.PolicyLease())
	if n := s.Counts().WantedShards; n != 0 {
		t.Errorf("alone it wants %d shards", n)
	}
	for _, o := range c.peers[:5] {
		c.connect(s, o)
	}
	c.relist()
	c.pass(5 * time.Second)
	c.ready()
	if n, share := s.Counts().WantedShards, factor*model.ShardCount/6; n < share*9/10 || n > share*11/10 {
		t.Errorf("it wants %d shards, two copies of six are %d", n, share)
	}
}

// TestNewcomerCutFromHolders: what a newcomer has fetched grows old when it is cut off from all who hold it before it is complete. It
// waits for them, and opens with no list that has missed something.
func TestNewcomerCutFromHolders(t *testing.T) {
	c := sharded(t, 4)
	const n = 60
	c.fill(n)
	c.pass(20 * time.Second)
	x, old := c.add("x", membership.PolicyLease()), c.peers[:4]
	for _, o := range old[:3] {
		c.connect(x, o)
	}
	c.relist()
	if held := x.HeldShards().Without(old[0].HeldShards()).Count(); held == 0 {
		t.Fatal("it has fetched nothing that only others hold")
	}
	c.cut(x, old[1])
	c.cut(x, old[2])
	for i := range n { // each service has one more
		in := webServer
		in.Port = int32(1000 + i)
		if err := old[1].Publish("publisher-b", service(i), []model.Instance{in}); err != nil {
			t.Fatal(err)
		}
	}
	c.pass(time.Minute)
	if ok, _ := x.Ready(); ok {
		t.Error("it is ready, and cannot ask those who hold its shards")
	}
	if n := x.HeldShards().Without(old[0].HeldShards()).Count(); n != 0 {
		t.Errorf("it takes %d copies for whole of which nobody in reach has another", n)
	}
	for _, o := range old[1:] {
		c.connect(x, o)
	}
	c.pass(20 * time.Second)
	c.ready()
	for i := range n {
		snap, err := x.Query(service(i))
		if x.Holds(service(i)) && (err != nil || !slices.ContainsFunc(snap.Hosts, func(in model.Instance) bool { return in.Port == int32(1000+i) })) {
			t.Errorf("%v is told without what came meanwhile: %v (%v)", service(i), snap, err)
		}
	}
}

// TestOldViewOfHolders: whoever joins by an old view may not know those who hold its shards, and the one that it meets gave them
// up to them. It does not take them for lost, however long it has waited.
func TestOldViewOfHolders(t *testing.T) {
	c := sharded(t, 4)
	const n = 60
	c.fill(n)
	c.pass(20 * time.Second)
	a, x := c.peers[0], c.add("x", membership.PolicyLease())
	x.SetListing(membership.Listing{Entries: []membership.Entry{a.entry()}}) // what a former process knew, before the others came
	c.connect(x, a)
	c.pass(time.Minute)
	if ok, _ := x.Ready(); ok {
		t.Error("it is ready, and does not know who holds its shards")
	}
	if n := x.HeldShards().Without(a.HeldShards()).Count(); n != 0 {
		t.Errorf("%d shards that the one in reach does not hold begin anew", n)
	}
	c.relist()
	c.connect(x, c.peers[1:4]...)
	c.pass(20 * time.Second)
	c.ready()
	c.copies(n)
}

// TestBeatByAnOldView: a member whose view is old relays no beat to one that has given the shard up: that one does not know the publisher,
// and the beat would be lost.
func TestBeatByAnOldView(t *testing.T) {
	c := sharded(t, 3)
	a, old := c.peers[0], c.peers[:3]
	for i := range 4 {
		s := c.add(string(rune('x'+i)), membership.PolicyLease())
		c.connect(s, c.peers[:3+i]...)
	}
	a.asleep = true // it is told nothing of those that come
	c.relist()
	c.pass(time.Second)
	c.relist()
	a.asleep = false
	c.pass(time.Minute)
	gaveUp := func(id model.Incarnation, k model.ServiceKey) bool {
		return slices.ContainsFunc(old, func(s *peer) bool { return s.Self().Incarnation == id && !s.Holds(k) })
	}
	k, in, responsible := model.ServiceKey{}, webServer, (*peer)(nil)
	for i := range 10_000 {
		in.Port = int32(i%1000 + 1)
		p, sh := session.BeatPublisher(in.IP, int(in.Port)), service(i).Shard()
		now := ring.New(old[1].View(), factor).Responsible(p, sh)
		if a.Holds(service(i)) && gaveUp(ring.New(a.View(), factor).Responsible(p, sh), service(i)) && !a.View().Has(now) {
			k, responsible = service(i), c.peers[slices.IndexFunc(c.peers, func(s *peer) bool { return s.Self().Incarnation == now })]
			break
		}
	}
	if responsible == nil {
		t.Fatal("nobody in the old view has given anything up")
	}
	responsible.RegisterInstance(k, in, model.Client{})
	c.flow()
	for range 12 {
		c.pass(5 * time.Second)
		if res, _ := a.Beat(member.Beat{Service: k, IP: in.IP, Port: int(in.Port)}); !res.Known {
			t.Fatal("it does not know the publisher")
		}
		c.flow()
		for _, s := range c.peers {
			if snap, err := s.Query(k); err == nil && (len(snap.Hosts) != 1 || !snap.Hosts[0].Healthy) {
				t.Fatalf("%s shows %+v while it beats", s.Self().Name, snap.Hosts)
			}
		}
	}
}

// TestDrainKeepsCopies: who leaves goes when the replicas to come hold what it held (P15).
func TestDrainKeepsCopies(t *testing.T) {
	c := sharded(t, 4)
	const n = 60
	c.fill(n)
	c.pass(20 * time.Second)
	for _, s := range c.peers[:2] {
		s.Drain()
	}
	for _, s := range c.peers[:2] {
		s.Disconnect("publisher-" + s.Self().Name)
	}
	c.relist()
	c.pass(10 * time.Second)
	for _, s := range c.peers[:2] {
		if !s.HandedOver() {
			t.Errorf("%s has not handed over", s.Self().Name)
		}
		s.Leave()
	}
	c.flow()
	for _, s := range c.peers[:2] {
		s.asleep = true
		for _, o := range c.peers[2:] {
			c.cut(s, o)
		}
	}
	c.pass(20 * time.Second)
	c.copies(n)
}

// disowns reports whether a beat is answered by the word that its publisher is not known.
func (s *peer) disowns(k model.ServiceKey) bool {
	res, answer := s.Beat(member.Beat{Service: k, IP: "10.9.9.9", Port: 80})
	s.c.flow()
	if answer == nil {
		return !res.Known
	}
	select {
	case known := <-answer:
		return !known
	default:
		return false
	}
}

// TestBareShard: a shard that has lost all its copies at once starts cold by itself. Nobody is told the few that have
// registered again already, but who only beats is told to register; after the time that a cold start takes it opens.
func TestBareShard(t *testing.T) {
	c := sharded(t, 4)
	const n = 60
	c.fill(n)
	c.pass(20 * time.Second)
	lost := c.peers[:2]
	stay := c.peers[2:]
	var bare []model.ServiceKey
	for k := range n {
		if lost[0].Holds(service(k)) && lost[1].Holds(service(k)) {
			bare = append(bare, service(k))
		}
	}
	if len(bare) == 0 {
		t.Fatal("no service is held by these two")
	}
	entries := []membership.Entry{stay[0].entry(), stay[1].entry()}
	for _, s := range lost {
		s.asleep = true
		for _, o := range stay {
			c.cut(o, s)
		}
		gone := s.entry()
		gone.Alive = false
		entries = append(entries, gone)
	}
	for _, s := range stay {
		s.list(entries...)
	}
	for second := range 30 {
		c.pass(time.Second)
		for _, s := range stay {
			if told := s.disowns(bare[0]); second < 5 && told || second > 7 && !told {
				t.Fatalf("%s, second %d: who beats is told that nobody knows it: %v", s.Self().Name, second, told)
			}
			for _, k := range bare {
				if snap, err := s.Query(k); err == nil {
					t.Fatalf("%s answers for %v: %d instances", s.Self().Name, k, len(snap.Hosts))
				}
			}
		}
	}
	c.pass(10 * time.Second)
	for _, s := range stay {
		for _, k := range bare {
			if _, err := s.Query(k); err != nil {
				t.Errorf("%s, %v after a cold start: %v", s.Self().Name, k, err)
			}
		}
	}
}
