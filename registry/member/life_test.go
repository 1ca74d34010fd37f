package member_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/push"
	"github.com/muster-registry/muster/registry/replication"
	"github.com/muster-registry/muster/registry/ring"
)

func (s *peer) ring() *ring.Ring { return ring.New(s.View(), 0) }

// TestColdStart: alone means evidence that nobody is there, not the want of a word.
func TestColdStart(t *testing.T) {
	somebody := membership.Entry{Member: model.Member{Address: "other:9849"}, Alive: true}
	complete := membership.Entry{Member: model.Member{Incarnation: 99, UID: "other", Address: "other:9849", State: model.StateComplete}, Alive: true}
	starting := complete
	starting.State = model.StateStarting
	for name, tc := range map[string]struct {
		policy membership.Policy
		script func(s *peer)
		// after is when it is ready; never when it is more than 2 minutes.
		after time.Duration
	}{
		"standalone":                     {membership.PolicyStandalone(), func(*peer) {}, 0},
		"the source has not answered":    {membership.PolicyLease(), func(*peer) {}, forever},
		"the source cannot be reached":   {membership.PolicyLease(), func(s *peer) { s.SetListing(membership.Listing{}) }, forever},
		"the source lists nobody":        {membership.PolicyLease(), func(s *peer) { s.list() }, 5 * time.Second},
		"all listed are starting":        {membership.PolicyLease(), func(s *peer) { s.list(starting) }, 5 * time.Second},
		"a complete one is not reached":  {membership.PolicyLease(), func(s *peer) { s.list(complete) }, forever},
		"an address refuses":             {membership.PolicyFile(), func(s *peer) { s.list(somebody); s.Dialled("other:9849", replication.DialRefused) }, 5 * time.Second},
		"an address says nothing":        {membership.PolicyFile(), func(s *peer) { s.list(somebody); s.Dialled("other:9849", replication.DialSilent) }, 30 * time.Second},
		"an address was not dialled yet": {membership.PolicyFile(), func(s *peer) { s.list(somebody) }, 30 * time.Second},
		"an address fails the handshake": {membership.PolicyFile(), func(s *peer) { s.list(somebody); s.Dialled("other:9849", replication.DialRejected) }, forever},
		"a complete one is gone after it": {membership.PolicyLease(), func(s *peer) {
			s.list(complete)
			s.c.pass(10 * time.Second)
			gone := complete
			gone.Alive = false
			s.list(gone)
		}, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			s := c.add("self", tc.policy)
			tc.script(s)
			start := c.now.Mono
			for c.now.Mono-start < 2*time.Minute {
				if ok, _ := s.Ready(); ok {
					break
				}
				c.pass(100 * time.Millisecond)
			}
			got := c.now.Mono - start
			if ready, why := s.Ready(); ready != (tc.after != forever) || ready && got > tc.after+200*time.Millisecond {
				t.Errorf("ready %v (%q) after %v, want after %v at the latest", ready, why, got, tc.after)
			}
			if tc.after == 30*time.Second && got < 29*time.Second {
				t.Errorf("ready after %v: silence is waited for", got)
			}
			if ready, _ := s.Ready(); ready && s.StartsAlone() != 1 {
				t.Errorf("started alone %d times, want 1", s.StartsAlone())
			}
		})
	}
}

const forever = time.Hour

// TestReadsOpen: during a cold start registrations are taken, and no list goes out that could wipe what clients hold.
func TestReadsOpen(t *testing.T) {
	c := newCluster(t)
	s := c.add("self", membership.PolicyStandalone())
	c.pass(time.Second)
	sub := s.client("subscriber")
	if _, err := s.Query(mail); !errors.Is(err, model.ErrNotReady) {
		t.Errorf("query: %v, want not ready", err)
	}
	if _, err := s.ServiceNames("public", "DEFAULT_GROUP"); !errors.Is(err, model.ErrNotReady) {
		t.Errorf("names: %v, want not ready", err)
	}
	if _, err := s.Instance(mail, webServer.Key()); !errors.Is(err, model.ErrNotReady) {
		t.Errorf("instance: %v, want not ready", err)
	}
	if snap, err := s.Subscribe("subscriber", mail, ""); err != nil || snap.Revision != 0 || len(snap.Hosts) != 0 {
		t.Errorf("subscription: revision %d (%v), want 0: clients that hold a list drop it", snap.Revision, err)
	}
	s.client("publisher")
	s.publish("publisher")
	c.pass(5 * time.Second)
	if s.ReadsOpen() || len(kinds(sub)) != 0 {
		t.Fatal("reads opened 5 s after a registration: beats come every 5 s")
	}
	s.RegisterInstance(mail, model.Instance{IP: "10.0.0.2", Port: 80, Healthy: true, Enabled: true}, model.Client{})
	c.pass(5 * time.Second)
	if s.ReadsOpen() {
		t.Fatal("reads opened though registrations keep coming")
	}
	c.pass(1500 * time.Millisecond)
	if got := kinds(sub); !slices.Equal(got, []push.ItemKind{push.ItemNotify}) || s.shows() != 2 {
		t.Errorf("after the quiet time: pushed %v, shows %d", got, s.shows())
	}
}

// TestReadsOpenAtLast: clients that never stop registering do not keep reads closed for ever; nor does the want of any. Changes of
// what is registered are not waited for.
func TestReadsOpenAtLast(t *testing.T) {
	for name, tc := range map[string]struct {
		each  func(s *peer, second int) error
		opens int // in the second after that one
	}{
		"registrations never end": {func(s *peer, i int) error { return s.Publish("publisher", service(i), []model.Instance{webServer}) }, 34},
		"registrations by HTTP never end": {func(s *peer, i int) error {
			s.RegisterInstance(service(i), webServer, model.Client{})
			return nil
		}, 34},
		"nobody registers": {func(*peer, int) error { return nil }, 34},
		"an instance changes again and again": {func(s *peer, i int) error {
			in := webServer
			in.Weight = float64(i + 1)
			return s.Publish("publisher", mail, []model.Instance{in})
		}, 6},
		"one changes by HTTP": {func(s *peer, i int) error {
			in := webServer
			in.Weight = float64(i + 1)
			s.RegisterInstance(mail, in, model.Client{})
			return nil
		}, 6},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			s := c.add("self", membership.PolicyStandalone())
			s.client("publisher")
			for i := range tc.opens {
				if s.ReadsOpen() {
					t.Fatalf("open after %d s", i)
				}
				if err := tc.each(s, i); err != nil {
					t.Fatal(err)
				}
				c.pass(time.Second)
			}
			if c.pass(2 * time.Second); !s.ReadsOpen() {
				t.Errorf("closed after %d s", tc.opens+2)
			}
		})
	}
}

// TestJoin: who joins takes all before it is ready, and answers lists at once.
func TestJoin(t *testing.T) {
	c, a, b, _ := three(t)
	a.client("publisher")
	a.publish("publisher")
	n := c.add("n", membership.PolicyLease())
	n.client("early")
	if err := n.Publish("early", mail, []model.Instance{{IP: "10.0.0.9", Port: 80, Healthy: true, Enabled: true}}); err != nil {
		t.Fatalf("a member that joins accepts registrations: %v", err)
	}
	c.relist()
	if ok, why := n.Ready(); ok {
		t.Fatalf("ready without a stream (%s)", why)
	}
	for _, s := range c.peers[:3] {
		c.connect(n, s)
	}
	c.pass(200 * time.Millisecond)
	if ok, why := n.Ready(); !ok || !n.ReadsOpen() || n.StartsAlone() != 0 {
		t.Fatalf("not ready: %s, reads open %v, alone %d", why, n.ReadsOpen(), n.StartsAlone())
	}
	if n.shows() != 2 || b.shows() != 2 || n.Sum() != b.Sum() {
		t.Errorf("the newcomer shows %d, the others %d, want 2", n.shows(), b.shows())
	}
}

// TestMergeAgain: who waited for one that cannot be reached asks the others once more: their answers have grown old.
func TestMergeAgain(t *testing.T) {
	c, a, b, _ := three(t)
	n := c.add("n", membership.PolicyLease())
	c.relist()
	c.connect(n, a)
	c.connect(n, b)
	c.pass(29 * time.Second)
	if ok, why := n.Ready(); ok || why != "waiting for d, which cannot be reached" {
		t.Fatalf("ready %v: %q", ok, why)
	}
	before := c.offers[n] + c.compares[n]
	c.pass(1500 * time.Millisecond)
	if ok, why := n.Ready(); !ok || c.offers[n]+c.compares[n] != before+2 {
		t.Errorf("ready %v (%s), %d more exchanges: want one with each that is there", ok, why, c.offers[n]+c.compares[n]-before)
	}
}

// TestIncompletePeer: what a peer answers before it is complete is not the whole.
func TestIncompletePeer(t *testing.T) {
	c, a, b, d := three(t)
	c.cut(a, b)
	first, second := c.add("first", membership.PolicyLease()), c.add("second", membership.PolicyLease())
	c.relist()
	c.connect(first, a) // waits for b and d
	c.connect(second, first)
	c.pass(10 * time.Second)
	if ok, why := second.Ready(); ok {
		t.Fatalf("ready by the word of one who is not (%s)", why)
	}
	d.client("publisher")
	d.publish("publisher")
	c.pass(21 * time.Second)
	if ok, why := first.Ready(); !ok {
		t.Fatalf("the first is not ready: %s", why)
	}
	c.pass(time.Second)
	if ok, why := second.Ready(); !ok || second.shows() != 1 {
		t.Errorf("ready %v (%s), shows %d", ok, why, second.shows())
	}
}

// TestRejoin: after a pause so long that others may have taken us for gone, nothing is answered, pushed or removed until
// we have merged again (R4).
func TestRejoin(t *testing.T) {
	c, a, b, _ := three(t)
	a.client("sleeps")
	a.publish("sleeps")
	sub := a.client("subscriber")
	if _, err := a.Subscribe("subscriber", mail, ""); err != nil {
		t.Fatal(err)
	}
	a.asleep = true
	b.client("publisher")
	if err := b.Publish("publisher", mail, []model.Instance{{IP: "10.0.0.2", Port: 80, Healthy: true, Enabled: true}}); err != nil {
		t.Fatal(err)
	}
	c.pass(7 * time.Second)
	a.asleep = false
	if _, err := a.Query(mail); !errors.Is(err, model.ErrNotReady) {
		t.Fatalf("a query right after waking: %v, want not ready", err)
	}
	if ok, _ := a.Ready(); ok {
		t.Error("ready after a pause of 7 s")
	}
	if slices.Contains(kinds(sub), push.ItemNotify) {
		t.Error("pushed before it has merged")
	}
	c.pass(time.Second)
	if ok, why := a.Ready(); !ok || a.shows() != 2 {
		t.Errorf("ready %v (%s), shows %d, want 2", ok, why, a.shows())
	}
	for it, ok := sub.Next(); ok; it, ok = sub.Next() {
		if it.Kind == push.ItemNotify && len(it.Snapshot.Hosts) != 2 {
			t.Errorf("pushed %d instances: what it held before it slept", len(it.Snapshot.Hosts))
		}
	}
	if a.Self().State != model.StateComplete {
		t.Error("its state went back: in one incarnation it only rises")
	}
}

// TestLongTick: a tick that takes seconds, since much is lost with a member, is no pause while requests show that the process runs.
func TestLongTick(t *testing.T) {
	c, a, _, _ := three(t)
	out := a.client("publisher")
	a.publish("publisher")
	kinds(out)
	for range 16 {
		c.now.Mono += 500 * time.Millisecond
		a.Touch("publisher")
	}
	a.Tick()
	if _, err := a.Query(mail); err != nil {
		t.Errorf("a query after a long tick: %v", err)
	}
	if got := kinds(out); len(got) != 0 {
		t.Errorf("its client is told %v", got)
	}
}

// TestDialsAreForgotten: pods come and go under ever new addresses.
func TestDialsAreForgotten(t *testing.T) {
	c, a, _, _ := three(t)
	members := a.DialsKnown()
	for i := range 100 {
		a.Dialled(fmt.Sprintf("10.0.1.%d:9849", i), replication.DialSilent)
	}
	c.pass(11 * time.Second)
	if n := a.DialsKnown(); n != members || n == 0 {
		t.Errorf("%d addresses are kept, want the %d of members", n, members)
	}
}

// TestPushAfterPause: what waited to be pushed when the process stood still is not pushed before it has merged again, whoever
// wakes first (R4).
func TestPushAfterPause(t *testing.T) {
	for name, tc := range map[string]struct {
		// due: the change is at the writer already; else it waits for the end of its window.
		due  bool
		wake func(a *peer)
	}{
		"the tick":      {false, func(a *peer) { a.Tick() }},
		"the push loop": {false, func(a *peer) { a.TickPush() }},
		"the writer":    {true, func(*peer) {}},
	} {
		t.Run(name, func(t *testing.T) {
			c, a, b, _ := three(t)
			sub := a.client("subscriber")
			if _, err := a.Subscribe("subscriber", mail, ""); err != nil {
				t.Fatal(err)
			}
			a.client("publisher")
			a.publish("publisher")
			for it, ok := sub.Next(); ok; it, ok = sub.Next() {
				a.Ack("subscriber", it.ID, true)
			}
			heavier := webServer
			heavier.Weight = 2
			if err := a.Publish("publisher", mail, []model.Instance{heavier}); err != nil {
				t.Fatal(err)
			}
			c.flow()
			if tc.due {
				c.now.Mono += 60 * time.Millisecond
				a.TickPush()
			}
			a.asleep = true
			b.client("another")
			if err := b.Publish("another", mail, []model.Instance{{IP: "10.0.0.2", Port: 80, Healthy: true, Enabled: true}}); err != nil {
				t.Fatal(err)
			}
			c.pass(40 * time.Second)
			a.asleep = false
			tc.wake(a)
			if slices.Contains(kinds(sub), push.ItemNotify) {
				t.Error("pushed on waking, from before the pause")
			}
			c.pass(time.Second)
			hosts := -1
			for it, ok := sub.Next(); ok; it, ok = sub.Next() {
				if it.Kind == push.ItemNotify {
					hosts = len(it.Snapshot.Hosts)
				}
			}
			if hosts != 2 {
				t.Errorf("pushed %d instances after it has merged, want 2", hosts)
			}
		})
	}
}

// TestRejoinAlone: who wakes with nobody in reach waits for a fresh word of the source: what it said before proves nothing.
func TestRejoinAlone(t *testing.T) {
	c := newCluster(t)
	s := c.add("self", membership.PolicyLease())
	s.list()
	c.pass(40 * time.Second)
	if ok, why := s.Ready(); !ok || !s.ReadsOpen() {
		t.Fatalf("not ready: %s", why)
	}
	s.asleep = true
	c.pass(7 * time.Second)
	s.asleep = false
	c.pass(time.Minute)
	if ok, _ := s.Ready(); ok {
		t.Fatal("ready again without a word of the source")
	}
	s.list()
	c.pass(6 * time.Second)
	if ok, why := s.Ready(); !ok || !s.ReadsOpen() || s.StartsAlone() != 2 {
		t.Errorf("ready %v (%s), reads open %v, started alone %d times", ok, why, s.ReadsOpen(), s.StartsAlone())
	}
}

// TestRejoinByAnOldListing: a VM whose clocks stood still takes what its source said before for fresh. Once it has a new
// incarnation, only a listing that was made for that one counts.
func TestRejoinByAnOldListing(t *testing.T) {
	c := newCluster(t)
	s, other := c.add("self", membership.PolicyLease()), c.add("other", membership.PolicyLease())
	old := membership.Listing{Reachable: true, Reader: s.Self().Incarnation}
	s.SetListing(old)
	c.pass(40 * time.Second)
	if ok, why := s.Ready(); !ok {
		t.Fatalf("not ready: %s", why)
	}
	gone := s.entry()
	gone.Alive = false
	other.list(s.entry())
	c.connect(s, other)
	c.cut(s, other)
	other.list(gone)
	c.pass(5 * time.Second)
	c.connect(s, other) // hears that it was gone
	if s.Self().Incarnation == old.Reader {
		t.Fatal("no new incarnation")
	}
	c.cut(s, other)
	s.SetListing(old)
	c.pass(20 * time.Second)
	if ok, _ := s.Ready(); ok {
		t.Fatal("starts alone by what the source said to its former incarnation")
	}
	s.SetListing(membership.Listing{Reachable: true, Reader: s.Self().Incarnation})
	c.pass(6 * time.Second)
	if ok, why := s.Ready(); !ok {
		t.Errorf("not ready: %s", why)
	}
}

// TestStartAloneByAnOldListing: a joining member whose clocks stood still wakes to peers that are gone by its clock, and a
// source that looks alive. It starts alone only after the source has spoken since.
func TestStartAloneByAnOldListing(t *testing.T) {
	c := newCluster(t)
	s, other := c.add("self", membership.PolicyLease()), c.add("other", membership.PolicyLease())
	other.list()
	c.pass(40 * time.Second)
	old := membership.Listing{Reachable: true, Reader: s.Self().Incarnation, Renewal: 1, Entries: []membership.Entry{other.entry()}}
	s.SetListing(old)
	c.pass(time.Second)
	old.Entries[0].Alive = false
	s.SetListing(old)
	c.pass(20 * time.Second)
	if ok, _ := s.Ready(); ok || s.View().Has(other.Self().Incarnation) {
		t.Fatalf("ready %v, view %v", ok, s.View().Members)
	}
	old.Renewal = 2
	s.SetListing(old)
	c.pass(time.Second)
	if ok, why := s.Ready(); !ok {
		t.Errorf("not ready: %s", why)
	}
}

// TestShortPause is noticed, and no reason to join again.
func TestShortPause(t *testing.T) {
	c, a, _, _ := three(t)
	a.asleep = true
	c.pass(3 * time.Second)
	a.asleep = false
	if ok, why := a.Ready(); !ok || !a.ReadsOpen() {
		t.Errorf("after 3 s: not ready (%s)", why)
	}
}

// TestReincarnation: a member that was gone from a view hears so, takes a new incarnation, and merges before it answers.
func TestReincarnation(t *testing.T) {
	c, a, b, d := three(t)
	a.client("publisher")
	a.publish("publisher")
	old := a.Self().Incarnation
	c.cut(a, b)
	c.cut(a, d)
	gone := a.entry()
	gone.Alive = false
	b.list(gone, b.entry(), d.entry())
	d.list(gone, b.entry(), d.entry())
	c.pass(5 * time.Second)
	if b.View().Has(old) {
		t.Fatal("a member whose Lease has ended is in the view")
	}
	if a.TakeReset() {
		t.Fatal("a new incarnation before anybody said so")
	}
	c.connect(a, b)
	if now := a.Self(); now.Incarnation == old || now.State != model.StateStarting {
		t.Fatalf("still %v, %v", now.Incarnation, now.State)
	}
	if !a.TakeReset() || a.TakeReset() {
		t.Error("TakeReset: want true, once")
	}
	if _, err := a.Query(mail); !errors.Is(err, model.ErrNotReady) {
		t.Errorf("query: %v, want not ready", err)
	}
	c.cut(a, b)
	c.connect(a, b)
	c.connect(a, d)
	c.relist()
	c.pass(time.Second)
	if ok, why := a.Ready(); !ok || a.shows() != 1 {
		t.Errorf("ready %v (%s), shows %d", ok, why, a.shows())
	}
	c.pass(10 * time.Second)
	if a.Dirty() || a.Sum() != b.Sum() {
		t.Errorf("dirty %v, sums %x and %x", a.Dirty(), a.Sum(), b.Sum())
	}
}
