package member_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
)

// crowded is three that are complete, with some records of each.
func crowded(t *testing.T) (c *cluster, a, b, d *peer) {
	t.Helper()
	c, a, b, d = three(t)
	for _, s := range c.peers {
		s.client("client-" + s.Self().Name)
		for i := range 20 {
			s.register(fmt.Sprint("service-", i), i+1)
		}
	}
	c.flow()
	return c, a, b, d
}

// register is by the client of crowded.
func (s *peer) register(service string, port int) {
	s.c.t.Helper()
	k := model.ServiceKey{Namespace: "public", Group: "DEFAULT_GROUP", Name: service}
	in := webServer
	in.Port = int32(port)
	if err := s.Publish("client-"+s.Self().Name, k, []model.Instance{in}); err != nil {
		s.c.t.Fatal(err)
	}
}

// sent counts how often each record is sent to a member, or by it.
func (c *cluster) sent(to bool, s *peer) map[model.RecordKey]int {
	n := map[model.RecordKey]int{}
	c.watch = func(from, dest *peer, m *replication.Message) {
		if to && dest == s || !to && from == s {
			for _, en := range m.Entries {
				n[en.Record.Key]++
			}
		}
	}
	return n
}

func (c *cluster) equal() {
	c.t.Helper()
	for _, s := range c.peers[1:] {
		if s.Sum() != c.peers[0].Sum() {
			c.t.Errorf("%s and %s do not hold the same", s.Self().Name, c.peers[0].Self().Name)
		}
	}
}

func (s *peer) mustBeReady() {
	s.c.t.Helper()
	if ok, why := s.Ready(); !ok || !s.ReadsOpen() {
		s.c.t.Fatalf("%s is not ready: %s, reads open: %v", s.Self().Name, why, s.ReadsOpen())
	}
}

// TestNewcomer takes every record once, from one of those that are complete, and compares with the others.
func TestNewcomer(t *testing.T) {
	c, a, b, d := crowded(t)
	n := c.add("n", membership.PolicyLease())
	n.client("client-n")
	n.register("of the newcomer", 9)
	got := c.sent(true, n)
	c.connect(n, a, b, d)
	c.relist() // before that it would wait for them, and then ask once more
	c.pass(200 * time.Millisecond)
	n.mustBeReady()
	c.equal()
	own := 0
	for k, times := range got {
		if k.Publisher.Member == n.Self().Incarnation {
			own++
		} else if times != 1 {
			t.Errorf("%v was sent %d times", k, times)
		}
	}
	if len(got)-own != 60 || c.offers[n] != 1 || c.compares[n] != 2 {
		t.Errorf("%d records, %d offers, %d comparisons, want 60, 1 and 2", len(got)-own, c.offers[n], c.compares[n])
	}
}

// stalled is a newcomer with streams to all, and the first of them says what it is, and then nothing.
func stalled(t *testing.T) (c *cluster, n, a, b, d *peer) {
	t.Helper()
	c, a, b, d = crowded(t)
	n = c.add("n", membership.PolicyLease())
	n.client("client-n")
	c.pulls[[2]*peer{a, n}] = 1
	c.connect(n, a, b, d)
	c.relist() // before that it would wait for them, and then ask once more
	if c.offers[n] != 1 || c.compares[n] != 0 {
		t.Fatalf("%d offers, %d comparisons: one is asked, the others wait", c.offers[n], c.compares[n])
	}
	return c, n, a, b, d
}

// TestChangedMeanwhile: what any of them writes while a newcomer takes everything from another one arrives everywhere, from one
// that it cannot hear through the others, and the digests do not send it all.
func TestChangedMeanwhile(t *testing.T) {
	c, n, a, b, d := stalled(t)
	got := c.sent(true, n)
	c.pass(2 * time.Second)
	for i, s := range []*peer{n, a, b, d} {
		s.register("service-1", 100+i)
	}
	if err := b.Withdraw("client-b", model.ServiceKey{Namespace: "public", Group: "DEFAULT_GROUP", Name: "service-2"}); err != nil {
		t.Fatal(err)
	}
	c.flow()
	if len(got) != 3+1 || c.offers[n] != 1 {
		t.Fatalf("%d records were sent to the newcomer, want those of a, b and d that changed; %d offers", len(got), c.offers[n])
	}
	if ok, _ := n.Ready(); ok {
		t.Fatal("ready without an answer")
	}
	delete(c.pulls, [2]*peer{a, n})
	c.pass(200 * time.Millisecond)
	n.mustBeReady()
	c.equal()
	if c.offers[n] != 1 || c.compares[n] != 2 {
		t.Errorf("%d offers, %d comparisons", c.offers[n], c.compares[n])
	}
}

// TestJoinedIsToldOnce: who has joined hears of a change from whoever made it, and from nobody else.
func TestJoinedIsToldOnce(t *testing.T) {
	c, a, b, _ := crowded(t)
	got := c.sent(true, a)
	b.register("late", 7)
	c.flow()
	for k, times := range got {
		if times != 1 {
			t.Errorf("%v was sent %d times", k, times)
		}
	}
	if len(got) != 1 {
		t.Errorf("%d records were sent", len(got))
	}
}

// TestLeavesBeforeItJoined: one that leaves without having been complete holds no more than another that starts, and is no
// reason to start alone while the source is silent.
func TestLeavesBeforeItJoined(t *testing.T) {
	c := newCluster(t)
	a, b := c.add("a", membership.PolicyLease()), c.add("b", membership.PolicyLease())
	for _, s := range c.peers {
		s.SetListing(membership.Listing{Entries: []membership.Entry{a.entry(), b.entry()}})
	}
	c.connect(a, b)
	c.pass(40 * time.Second)
	a.Drain()
	c.pass(time.Second)
	if p, _ := b.View().Find(a.Self().Incarnation); p.State != model.StateLeaving {
		t.Fatalf("its peer sees it as %v", p.State)
	}
	if ok, why := b.Ready(); ok {
		t.Errorf("ready: %q", why)
	}
}

// TestSilentSource: one that falls silent is not waited for with the offers to the others.
func TestSilentSource(t *testing.T) {
	c, n, a, _, d := stalled(t)
	c.pass(2400 * time.Millisecond)
	if c.offers[n] != 1 {
		t.Fatalf("%d offers before it was out of reach", c.offers[n])
	}
	c.pass(300 * time.Millisecond)
	if c.offers[n] != 2 || c.compares[n] != 1 || n.Sum() != d.Sum() {
		t.Fatalf("%d offers, %d comparisons, want the second to offer to and the third to compare with", c.offers[n], c.compares[n])
	}
	if ok, why := n.Ready(); ok || why != "merging with a" {
		t.Errorf("ready %v: %q", ok, why)
	}
	delete(c.pulls, [2]*peer{a, n})
	c.pass(200 * time.Millisecond)
	n.mustBeReady()
	c.equal()
}

// TestLostSource: nor is one that is lost; when it is back it is compared with.
func TestLostSource(t *testing.T) {
	c, n, a, _, d := stalled(t)
	c.cut(n, a)
	delete(c.pulls, [2]*peer{a, n})
	c.pass(100 * time.Millisecond)
	if c.offers[n] != 2 || c.compares[n] != 1 || n.Sum() != d.Sum() {
		t.Fatalf("%d offers, %d comparisons", c.offers[n], c.compares[n])
	}
	if ok, why := n.Ready(); ok || why != "waiting for a, which cannot be reached" {
		t.Fatalf("ready %v: %q", ok, why)
	}
	a.register("meanwhile", 7)
	got := c.sent(true, n)
	c.connect(n, a)
	c.pass(200 * time.Millisecond)
	n.mustBeReady()
	c.equal()
	if c.offers[n] != 2 || len(got) != 1 {
		t.Errorf("%d offers, %d records were sent when it was back", c.offers[n], len(got))
	}
}

// TestSleeper: who wakes says sums, takes what it has missed, and tells what only it knows; the members of the version
// before, which know no sums, it offers to.
func TestSleeper(t *testing.T) {
	for name, old := range map[string]bool{"all speak this version": false, "the others speak the one before": true} {
		t.Run(name, func(t *testing.T) {
			c, a, b, d := crowded(t)
			asOld := func(from *peer, m *replication.Message) {
				if old && from != a && m.Kind == replication.KindStatus {
					m.Status.Protocol = 0
				}
			}
			c.watch = func(from, _ *peer, m *replication.Message) { asOld(from, m) }
			c.pass(2 * time.Second)
			offers, compares := c.offers[a], c.compares[a]
			c.cut(a, b)
			c.cut(a, d)
			a.register("only here", 5)
			a.asleep = true
			b.register("missed", 6)
			c.pass(7 * time.Second)
			a.asleep = false
			got := c.sent(true, a)
			count := c.watch
			c.watch = func(from, to *peer, m *replication.Message) { asOld(from, m); count(from, to, m) }
			c.connect(a, b, d)
			c.pass(300 * time.Millisecond)
			a.mustBeReady()
			c.equal()
			offers, compares = c.offers[a]-offers, c.compares[a]-compares
			// with each, and as it had to wait for the streams, once more
			if old && (offers != 4 || compares != 0) || !old && (offers != 0 || compares != 4 || len(got) > 2) {
				t.Errorf("%d offers, %d comparisons, %d records were sent to it", offers, compares, len(got))
			}
		})
	}
}
