package replication_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
	"github.com/muster-registry/muster/registry/ring"
)

// sharded is a pipe of n engines that hold one shard each to begin with: the first two hold that of service 0.
func sharded(n int) *pipe {
	p := newPipe(n)
	for _, n := range p.nodes {
		n.store = catalog.New(catalog.Options{
			Revise:            func(now model.Time) int64 { return n.hlc.Read(now).Millis() },
			TombstoneLifetime: 10 * time.Minute, PerOrigin: true,
		})
		n.engine = replication.New(replication.Options{Store: n.store, HLC: n.hlc, Sharded: true})
	}
	for i, n := range p.nodes {
		n.engine.SetStatus(replication.Status{State: model.StateComplete, Complete: true})
		n.engine.SetDuty(n.id, &model.ShardSet{})
		if i < 2 {
			n.engine.SetDuty(n.id, shardOf(0))
		}
		for j := range i {
			p.connect(i, j)
		}
	}
	p.settle()
	p.fetch()
	return p
}

func shardOf(service int) *model.ShardSet { return model.ShardsOf(shard(service)) }

func shard(service int) model.Shard { return key(service, "").Service.Shard() }

// fetch lets everybody ask for what it lacks.
func (p *pipe) fetch() {
	for _, n := range p.nodes {
		n.engine.Fetch(replication.FetchRules{})
		p.settle()
	}
}

// own is the key of a publisher of the i-th node.
func (p *pipe) own(i, service int) model.RecordKey {
	k := key(service, fmt.Sprintf("of-%d", i))
	k.Publisher.Member = p.nodes[i].id
	return k
}

func (n *node) has(k model.RecordKey) bool {
	r := n.store.Record(k)
	return r != nil && !r.Deleted
}

// TestDeltasGoWhereTheyAreWanted: to the replicas, and nowhere else.
func TestDeltasGoWhereTheyAreWanted(t *testing.T) {
	p := sharded(4)
	k := p.own(3, 0)
	p.register(3, k, 1)
	p.settle()
	for i, want := range []bool{true, true, false, true} {
		if got := p.nodes[i].has(k); got != want {
			t.Errorf("node %d has the record: %v, want %v", i, got, want)
		}
	}
	if p.nodes[3].engine.Holds(shard(0)) {
		t.Error("an origin takes its own records for the whole")
	}
}

// TestOwnRecordsAreRepaired: what a replica did not hear of an origin that holds nothing else of the shard.
func TestOwnRecordsAreRepaired(t *testing.T) {
	p := sharded(4)
	kept, lost, ended := p.own(3, 0), p.own(2, 0), p.own(3, 0)
	ended.Publisher.ID = "ended"
	p.register(3, kept, 1)
	p.register(3, ended, 2)
	p.settle()
	p.setCut(3, 0, true)
	p.setCut(2, 0, true)
	p.setCut(3, 1, true)
	p.setCut(2, 1, true)
	p.register(2, lost, 3)
	p.remove(3, ended)
	p.register(3, kept, 4)
	for i := range 4 { // new streams: what waited for the old ones is dropped
		for j := range i {
			p.connect(i, j)
		}
	}
	p.setCut(3, 0, false)
	p.setCut(2, 0, false)
	p.setCut(3, 1, false)
	p.setCut(2, 1, false)
	p.settle()
	p.pass(10 * time.Second)
	for i := range 2 {
		n := p.nodes[i]
		n.holds(t, p.nodes[3].store.Record(kept))
		if !n.has(lost) || n.has(ended) {
			t.Errorf("node %d has what it missed: %v, has what ended: %v", i, n.has(lost), n.has(ended))
		}
		for _, o := range p.nodes {
			if o != n && !n.engine.Agreed(o.id) {
				t.Errorf("node %d does not agree with %v", i, o.id)
			}
		}
	}
}

// TestAgreedWhileOwnRecordsMove: the same for the records of a member's own publishers in shards that only the other one holds.
func TestAgreedWhileOwnRecordsMove(t *testing.T) {
	for name, c := range map[string]struct {
		services int
		want     bool
	}{
		"in other shards each time":   {services: 50, want: true},
		"in the same shard each time": {services: 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := sharded(3)
			duty := &model.ShardSet{}
			for i := range c.services {
				duty.Add(shard(i))
			}
			for _, n := range p.nodes[:2] {
				n.engine.SetDuty(n.id, duty)
			}
			p.settle()
			p.fetch()
			holder, origin := p.nodes[0], p.nodes[2]
			changes := 0
			p.watch = func(from, to *node, m replication.Message) {
				if m.Kind != replication.KindDigest || from != origin || to != holder {
					return
				}
				k := p.own(2, changes%c.services)
				changes++
				k.Publisher.ID = fmt.Sprint(changes) // which has come another way, before its origin said the sum
				holder.store.Apply(p.time(holder), &model.Record{Key: k, Version: model.Version{Stamp: model.Stamp(changes), Origin: origin.id}})
			}
			for range 8 {
				p.pass(3 * time.Second)
			}
			for range 8 {
				p.pass(3 * time.Second)
				if got := holder.engine.Agreed(origin.id); got != c.want {
					t.Fatalf("agrees: %v, want %v", got, c.want)
				}
			}
		})
	}
}

// TestMixedFactors: while the factor changes some members hold everything and others a part. What the client of one with a
// part registers or ends behind a cut, in a shard that it does not hold, reaches those that hold everything.
func TestMixedFactors(t *testing.T) {
	p := sharded(3)
	for i, n := range p.nodes[:2] {
		n.store = catalog.New(catalog.Options{
			Revise:            func(now model.Time) int64 { return n.hlc.Read(now).Millis() },
			TombstoneLifetime: 10 * time.Minute,
		})
		n.engine = replication.New(replication.Options{Store: n.store, HLC: n.hlc})
		n.engine.SetDuty(n.id, model.AllShards())
		n.engine.SetStatus(replication.Status{State: model.StateComplete, Complete: true, Everywhere: true})
		for j := range p.nodes {
			if j != i {
				p.connect(i, j)
			}
		}
	}
	p.settle()
	ended, lost := p.own(2, 0), p.own(2, 0)
	ended.Publisher.ID = "ended"
	p.register(2, ended, 1)
	p.settle()
	for i := range 2 {
		p.setCut(2, i, true)
	}
	p.register(2, lost, 2)
	p.remove(2, ended)
	for i := range 2 { // new streams: what waited for the old ones is dropped
		p.connect(2, i)
		p.setCut(2, i, false)
	}
	p.settle()
	p.pass(10 * time.Second)
	for i, n := range p.nodes[:2] {
		if !n.has(lost) || n.has(ended) {
			t.Errorf("node %d has what it missed: %v, has what ended: %v", i, n.has(lost), n.has(ended))
		}
		for _, o := range p.nodes {
			if o != n && !n.engine.Agreed(o.id) {
				t.Errorf("node %d does not agree with %v", i, o.id)
			}
		}
	}
}

// TestRemovedBehindItsOrigin: an origin that holds nothing else of the shard hears what became of its record.
func TestRemovedBehindItsOrigin(t *testing.T) {
	p := sharded(3)
	k := p.own(2, 0)
	r := p.register(2, k, 1)
	p.settle()
	p.setCut(0, 2, true)
	p.write(0, k, func(model.Version, *model.Record) *model.Record { return r.Tombstone(r.Version) })
	p.connect(0, 2)
	p.setCut(0, 2, false)
	p.settle()
	p.pass(10 * time.Second)
	if p.nodes[2].has(k) {
		t.Error("the origin holds what was removed")
	}
}

// TestFetch: a wish brings the whole copy, and every change from then on, also of origins that have not heard of it.
func TestFetch(t *testing.T) {
	p := sharded(4)
	early := p.own(3, 0)
	p.register(3, early, 1)
	p.settle()
	n := p.nodes[2]
	p.setCut(2, 3, true) // the origin does not hear of it
	n.engine.SetInterest(shardOf(0))
	n.engine.Fetch(replication.FetchRules{})
	if n.engine.Holds(shard(0)) {
		t.Error("held before it was fetched")
	}
	p.settle()
	if !n.engine.Holds(shard(0)) || !n.has(early) {
		t.Fatalf("held %v, has the record %v", n.engine.Holds(shard(0)), n.has(early))
	}
	late := p.own(3, 0)
	late.Publisher.ID = "late"
	p.register(3, late, 2)
	p.settle()
	if !n.has(late) {
		t.Error("what the replicas heard was not passed on")
	}
}

// TestStalledFetch: nor does such an answer make a copy whole. It is asked for again.
func TestStalledFetch(t *testing.T) {
	for stall, whole := range map[time.Duration]bool{2 * time.Second: true, 3 * time.Second: false} {
		p := sharded(3)
		n := p.nodes[2]
		n.engine.SetInterest(shardOf(0))
		n.engine.Fetch(replication.FetchRules{})
		source := int(shard(0)) % 2 // of an interest one is asked
		p.carry(2, source)
		k := p.own(0, 0)
		p.stall(source, 2, stall, func() { p.register(0, k, 1) })
		if n.engine.Holds(shard(0)) != whole || n.has(k) {
			t.Fatalf("after %v: held %v, has the record %v", stall, n.engine.Holds(shard(0)), n.has(k))
		}
		p.settle()
		n.engine.Fetch(replication.FetchRules{})
		p.settle()
		if !n.engine.Holds(shard(0)) || !n.has(k) {
			t.Errorf("after %v and another one: held %v, has the record %v", stall, n.engine.Holds(shard(0)), n.has(k))
		}
	}
}

// TestFetchSurvivesItsSource: who was asked and is lost is asked no more, and another one is.
func TestFetchSurvivesItsSource(t *testing.T) {
	p := sharded(3)
	k := p.own(0, 0)
	p.register(0, k, 1)
	p.settle()
	n := p.nodes[2]
	p.setCut(2, 0, true)
	p.setCut(2, 1, true)
	n.engine.SetInterest(shardOf(0))
	n.engine.Fetch(replication.FetchRules{})
	n.engine.PeerDown(1)
	n.engine.PeerDown(2)
	if _, waits := n.engine.Fetch(replication.FetchRules{HoldersMayBeAway: true}); !waits || n.engine.Holds(shard(0)) {
		t.Fatal("held without a word of those that may hold it")
	}
	p.setCut(2, 1, false)
	p.connect(1, 2)
	p.settle()
	n.engine.Fetch(replication.FetchRules{HoldersMayBeAway: true})
	p.settle()
	if !n.engine.Holds(shard(0)) || !n.has(k) {
		t.Errorf("held %v, has the record %v", n.engine.Holds(shard(0)), n.has(k))
	}
}

// TestFetchWhileAStreamEnds: whatever comes first, the shards are asked for again.
func TestFetchWhileAStreamEnds(t *testing.T) {
	for range 50 {
		p := sharded(3)
		n, holders := p.nodes[0], p.nodes[1:]
		for _, h := range holders {
			h.engine.SetInterest(model.AllShards())
		}
		p.fetch()
		n.engine.SetInterest(model.AllShards())
		p.settle()
		var both sync.WaitGroup
		both.Go(func() { n.engine.Fetch(replication.FetchRules{}) })
		both.Go(func() {
			n.engine.PeerDown(holders[0].id)
			n.engine.PeerDown(holders[1].id)
		})
		both.Wait()
		for j := range holders {
			p.connect(0, j+1)
		}
		p.settle()
		p.fetch()
		if wanted, held := n.engine.ShardCounts(); held != wanted {
			t.Fatalf("%d of %d shards are held", held, wanted)
		}
	}
}

// TestWantedWhilePassedOn is for the race detector: what a peer wants more is noted while what others change is passed on to it.
func TestWantedWhilePassedOn(t *testing.T) {
	p := sharded(3)
	n := p.nodes[0]
	at := p.time(n)
	from := func(id model.Incarnation, m replication.Message) { n.engine.Receive(at, id, m) }
	k := p.own(2, 0)
	var both sync.WaitGroup
	both.Go(func() {
		for i := range 3000 {
			sh := shard(0)/64*64 + model.Shard(i%64)
			from(2, replication.Message{Kind: replication.KindOwnership, Shares: []replication.Share{{Shard: sh, Wanted: i/64%2 == 0}}})
		}
	})
	both.Go(func() {
		for i := range 3000 {
			v := model.Version{Said: model.Stamp(i + 1), Stamp: model.Stamp(i + 1), Origin: 3}
			r := &model.Record{Key: k, Version: v, Instances: []model.Instance{{IP: "10.0.0.1"}}}
			from(3, replication.Message{Kind: replication.KindDelta, Entries: []replication.Entry{{Record: r}}})
		}
	})
	both.Wait()
}

// TestJoiningHolderIsNoSource: who joins again has a copy, and may have missed what came after it had fetched that.
func TestJoiningHolderIsNoSource(t *testing.T) {
	p := sharded(3)
	k := p.own(0, 0)
	p.register(0, k, 1)
	p.settle()
	n := p.nodes[2]
	p.nodes[1].engine.SetStatus(replication.Status{State: model.StateComplete})
	p.settle()
	p.setCut(2, 0, true)
	n.engine.PeerDown(1)
	n.engine.SetInterest(shardOf(0))
	if _, waits := n.engine.Fetch(replication.FetchRules{HoldersMayBeAway: true}); !waits {
		t.Error("somebody who joins is asked for its copy")
	}
	p.nodes[1].engine.SetStatus(replication.Status{State: model.StateComplete, Complete: true})
	p.settle()
	n.engine.Fetch(replication.FetchRules{HoldersMayBeAway: true})
	p.settle()
	if !n.engine.Holds(shard(0)) || !n.has(k) {
		t.Errorf("held %v, has the record %v, after it has joined", n.engine.Holds(shard(0)), n.has(k))
	}
}

// TestMergeOfAHeldShard: who joins again behind a cut, and has its copy still, gets by the merge what it has missed.
func TestMergeOfAHeldShard(t *testing.T) {
	p := sharded(3)
	n := p.nodes[2]
	n.engine.SetInterest(shardOf(0))
	p.fetch()
	p.pass(11 * time.Second) // deltas are passed on no more
	p.setCut(2, 0, true)
	late := p.own(0, 0)
	p.register(0, late, 1)
	p.settle()
	if n.has(late) {
		t.Fatal("it is known behind the cut")
	}
	n.engine.SetStatus(replication.Status{})
	n.engine.Offer(p.nodes[1].id)
	if sent := p.count(p.settle)[replication.KindKeys]; sent > 0 || !n.has(late) {
		t.Errorf("%d messages of a repair, has the record %v", sent, n.has(late))
	}
}

// TestToldWhileItJoins: who joins behind a cut, long after it began to want the shard, is told by whom it reaches what that one
// hears, as a change or by a merge.
func TestToldWhileItJoins(t *testing.T) {
	for name, heal := range map[string]func(p *pipe){
		"a change": func(*pipe) {},
		"a merge":  func(p *pipe) { p.setCut(0, 1, false); p.nodes[0].engine.Offer(p.nodes[1].id); p.settle() },
	} {
		t.Run(name, func(t *testing.T) {
			p := sharded(3)
			n := p.nodes[2]
			n.engine.SetInterest(shardOf(0))
			p.fetch()
			n.engine.SetStatus(replication.Status{})
			p.settle()
			p.pass(11 * time.Second) // it is no news any more that it wants the shard
			p.setCut(2, 0, true)
			p.setCut(0, 1, name == "a merge")
			late := p.own(0, 0)
			p.register(0, late, 1)
			p.settle()
			heal(p)
			if !n.has(late) {
				t.Error("it does not know what the one that it reaches knows")
			}
		})
	}
}

// TestRelease: a copy is given up when all replicas hold it, and not before; records of the own publishers stay.
func TestRelease(t *testing.T) {
	p := sharded(3)
	foreign, own := p.own(1, 0), p.own(0, 0)
	p.register(1, foreign, 1)
	p.register(0, own, 2)
	p.settle()
	p.pass(7 * time.Second)
	r := ring.New(model.NewView(1, []model.Member{{Incarnation: 2, State: model.StateComplete}, {Incarnation: 3, State: model.StateComplete}}, false), 2)
	n := p.nodes[0]
	n.engine.SetDuty(n.id, &model.ShardSet{})
	p.settle()
	if gone := n.engine.Release(p.time(n), r); len(gone) != 0 || !n.engine.Holds(shard(0)) {
		t.Fatal("given up though a replica does not hold it")
	}
	p.nodes[2].engine.SetDuty(3, shardOf(0))
	p.nodes[2].engine.Fetch(replication.FetchRules{})
	p.settle()
	p.pass(7 * time.Second)
	gone := n.engine.Release(p.time(n), r)
	if len(gone) != 1 || gone[0].Key != foreign || n.engine.Holds(shard(0)) || n.has(foreign) || !n.has(own) {
		t.Errorf("forgot %v, holds %v, has the foreign record %v, its own %v", gone, n.engine.Holds(shard(0)), n.has(foreign), n.has(own))
	}
	p.settle()
	p.pass(7 * time.Second)
	for _, o := range p.nodes[1:] {
		if !o.has(own) || !o.has(foreign) || !n.engine.Agreed(o.id) {
			t.Errorf("%v has them: %v %v, agrees: %v", o.id, o.has(own), o.has(foreign), n.engine.Agreed(o.id))
		}
	}
}

// TestTombstoneWaitsForSuccessor: an origin that holds nothing else of the shard knows that its record was superseded, and
// not by what: it does not pass the tombstone on alone, which would leave a gap (P7).
func TestTombstoneWaitsForSuccessor(t *testing.T) {
	p := sharded(4)
	older, newer := p.own(3, 0), p.own(2, 0)
	r := p.register(3, older, 1)
	p.settle()
	p.setCut(2, 1, true)
	p.setCut(0, 1, true)
	p.write(2, newer, func(v model.Version, _ *model.Record) *model.Record {
		return &model.Record{Key: newer, Version: v, Instances: r.Instances, Rare: model.NewSuccession([]model.Superseded{{Publisher: older.Publisher, Version: r.Version}}, nil)}
	})

	p.settle()
	p.pass(10 * time.Second)
	if n := p.nodes[1]; !n.has(older) && !n.has(newer) {
		t.Error("a replica that is cut off from the newer origin shows neither of the two")
	}
	p.setCut(2, 1, false)
	p.setCut(0, 1, false)
	p.connect(2, 1)
	p.connect(0, 1)
	p.settle()
	p.pass(10 * time.Second)
	if n := p.nodes[1]; n.has(older) || !n.has(newer) {
		t.Errorf("after the heal it shows the older one: %v, the newer one: %v", n.has(older), n.has(newer))
	}
}

// TestForwardingEnds: members that have all begun to want a shard pass on to each other that nobody vouches for a record, and
// come to an end with it, though every hop makes that a little later.
func TestForwardingEnds(t *testing.T) {
	p := sharded(4)
	k := p.own(0, 0)
	p.register(0, k, 1)
	p.settle()
	for _, i := range []int{2, 3} {
		p.nodes[i].engine.SetInterest(shardOf(0))
		p.nodes[i].engine.Fetch(replication.FetchRules{})
	}
	p.settle()
	p.unclaim(0, k, model.CauseOurs)
	carried := 0
	for moved := true; moved && carried < 200; {
		moved = false
		for _, from := range p.nodes {
			for _, to := range p.nodes {
				if from == to {
					continue
				}
				ms := from.engine.Pull(p.time(from), to.id)
				p.now += time.Millisecond // a hop takes time
				for _, m := range ms {
					to.engine.Receive(p.time(to), from.id, m)
					moved, carried = true, carried+1
				}
			}
		}
	}
	if carried >= 200 {
		t.Error("they pass it on and on")
	}
}

// TestGarbageOfShares: shards that do not exist, lists that do not fit, rounds that nobody began: ignored (B3).
func TestGarbageOfShares(t *testing.T) {
	none := model.Shard(model.ShardCount)
	for name, m := range map[string]replication.Message{
		"wants what is no shard":       {Kind: replication.KindOwnership, Shares: []replication.Share{{Shard: none, Wanted: true, Held: true}}},
		"asks for what is no shard":    {Kind: replication.KindFetch, Exchange: 1, Shards: []model.Shard{none}},
		"sums of what is no shard":     {Kind: replication.KindOrigins, Shards: []model.Shard{none}, Sums: []uint64{1}},
		"sums without shards":          {Kind: replication.KindOrigins, Sums: []uint64{1}},
		"an answer that nobody awaits": {Kind: replication.KindFetched, Exchange: 77, Last: true},
		"nothing shown":                {Kind: replication.KindShown, Entries: []replication.Entry{{}}},
	} {
		t.Run(name, func(t *testing.T) {
			p := sharded(3)
			k := p.own(0, 0)
			r := p.register(0, k, 1)
			p.settle()
			p.nodes[0].engine.Receive(p.time(p.nodes[0]), 3, m)
			p.settle()
			p.nodes[0].holds(t, r)
			p.nodes[1].holds(t, r)
			if !p.nodes[0].engine.Holds(shard(0)) {
				t.Error("the copy is not whole any more")
			}
		})
	}
}
