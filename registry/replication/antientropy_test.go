package replication_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
)

// round is more than one round of digests and what follows them.
const round = 7 * time.Second

// TestWalk: two that were cut off find the records that differ, whoever holds the newer one.
func TestWalk(t *testing.T) {
	k := key(1, "a")
	tests := map[string]struct {
		before func(p *pipe) // joined
		apart  func(p *pipe) // cut
		check  func(t *testing.T, p *pipe)
	}{
		"one side has more": {
			apart: func(p *pipe) { p.register(0, k, 80) },
		},
		"both have more": {
			apart: func(p *pipe) { p.register(0, k, 80); p.register(1, key(2, "b"), 80) },
		},
		"both have another version": {
			apart: func(p *pipe) { p.register(0, k, 80); p.now += time.Second; p.register(1, k, 81) },
			check: func(t *testing.T, p *pipe) {
				if port := p.nodes[0].store.Record(k).Instances[0].Port; port != 81 {
					t.Errorf("port %d won, the later one is 81", port)
				}
			},
		},
		"one has removed": {
			before: func(p *pipe) { p.register(0, k, 80) },
			apart:  func(p *pipe) { p.remove(1, k) },
			check:  isGone(k),
		},
		"one has removed exactly this version": {
			before: func(p *pipe) { p.register(0, k, 80) },
			apart: func(p *pipe) {
				p.write(1, k, func(_ model.Version, cur *model.Record) *model.Record { return cur.Tombstone(cur.Version) })
			},
			check: isGone(k),
		},
		"one has removed, the other stamped again later": {
			before: func(p *pipe) { p.register(0, k, 80) },
			apart:  func(p *pipe) { p.remove(1, k); p.now += time.Second; p.register(0, k, 80) },
			check: func(t *testing.T, p *pipe) {
				if p.nodes[1].store.Record(k).Deleted {
					t.Error("a removal killed a later stamp")
				}
			},
		},
		"one knows that nobody vouches": {
			before: func(p *pipe) { p.register(0, k, 80) },
			apart:  func(p *pipe) { p.unclaim(1, k, model.CausePublisher) },
			check:  isUnclaimed(k, model.CausePublisher),
		},
		"both know, the more lenient cause stays": {
			before: func(p *pipe) { p.register(0, k, 80) },
			apart:  func(p *pipe) { p.unclaim(0, k, model.CausePublisher); p.unclaim(1, k, model.CauseOurs) },
			check:  isUnclaimed(k, model.CauseOurs),
		},
		"a record without a living origin": {
			apart: func(p *pipe) {
				k := key(1, "orphan")
				p.nodes[1].store.Apply(p.time(p.nodes[1]), &model.Record{Key: k, Version: model.Version{Stamp: 1, Origin: 99}})
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := joined(2)
			if test.before != nil {
				test.before(p)
			}
			p.settle()
			p.cutOff(test.apart)
			if p.nodes[0].store.Sum() == p.nodes[1].store.Sum() {
				t.Fatal("the two do not differ after the cut")
			}
			p.pass(round)
			p.agree(t)
			if test.check != nil {
				test.check(t, p)
			}
			if !p.nodes[0].engine.Agreed(2) || !p.nodes[1].engine.Agreed(1) {
				t.Error("the two do not say that they agree")
			}
		})
	}
}

// cutOff does something while nobody hears it: not even the outboxes keep it.
func (p *pipe) cutOff(do func(*pipe)) {
	for _, a := range p.nodes {
		for _, b := range p.nodes {
			a.engine.PeerDown(b.id)
		}
	}
	do(p)
	for i := range p.nodes {
		for j := range i {
			p.connect(i, j)
		}
	}
}

func isGone(k model.RecordKey) func(*testing.T, *pipe) {
	return func(t *testing.T, p *pipe) {
		for _, n := range p.nodes {
			if r := n.store.Record(k); r == nil || !r.Deleted {
				t.Errorf("%v still holds %+v", n.id, r)
			}
		}
	}
}

func isUnclaimed(k model.RecordKey, c model.Cause) func(*testing.T, *pipe) {
	return func(t *testing.T, p *pipe) {
		for _, n := range p.nodes {
			if r := n.store.Record(k); r.Unclaimed != c {
				t.Errorf("%v has cause %v, want %v", n.id, r.Unclaimed, c)
			}
		}
	}
}

// TestWalkIsSmall: a repair carries the records that differ, and not what lies beside them.
func TestWalkIsSmall(t *testing.T) {
	p := joined(2)
	for i := range 2000 {
		p.register(0, key(i, "a"), 80)
	}
	p.pass(round)
	p.cutOff(func(p *pipe) {
		p.register(0, key(7, "new"), 80)
		p.remove(1, key(8, "a"))
	})
	entries, versions := 0, 0
	p.watch = func(_, _ *node, m replication.Message) {
		entries += len(m.Entries)
		versions += len(m.Versions)
	}
	sent := p.count(func() { p.pass(round) })
	p.agree(t)
	if entries > 8 || versions > 40 || sent[replication.KindOffer] != 0 {
		t.Errorf("two records that differ took %d records, %d versions, messages %v", entries, versions, sent)
	}
}

// TestFewWalksWhileChangesMove: where a change is on its way past every digest, few of them lead to a walk; what really
// differs is repaired by the next one.
func TestFewWalksWhileChangesMove(t *testing.T) {
	p := joined(2)
	changes := 0
	p.watch = func(_, to *node, m replication.Message) {
		if m.Kind == replication.KindDigest {
			changes++
			p.register(int(to.id)-1, key(changes, "a"), 80)
		}
	}
	const rounds = 8
	sent := p.count(func() { p.pass(rounds * 3 * time.Second) })
	if walks, digests := sent[replication.KindGroups], sent[replication.KindDigest]; walks != digests/4 || digests < rounds {
		t.Errorf("%d digests led to %d walks, want a fourth", digests, walks)
	}
	a, b := p.nodes[0], p.nodes[1]
	lost := a.store.Record(key(1, "a")).Tombstone(model.Version{Said: a.hlc.Next(p.time(a)), Origin: a.id})
	a.store.Apply(p.time(a), lost) // nobody is told
	p.pass(4 * 3 * time.Second)
	b.holds(t, lost)
}

// TestAgreedWhileChangesMove: where every digest and every walk crosses a change, two members agree all the same, unless it is the same
// shard each time: what differs there may be more than what moves.
func TestAgreedWhileChangesMove(t *testing.T) {
	for name, c := range map[string]struct {
		services int
		want     bool
	}{
		"in other shards each time":   {services: 1000, want: true},
		"in the same shard each time": {services: 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := joined(2)
			changes := 0
			p.watch = func(_, to *node, m replication.Message) {
				switch m.Kind {
				case replication.KindDigest, replication.KindGroups, replication.KindShards:
					changes++
					p.register(int(to.id)-1, key(changes%c.services, "a"), changes)
				}
			}
			for range 8 {
				p.pass(3 * time.Second)
			}
			for range 8 {
				p.pass(3 * time.Second)
				for i, n := range p.nodes {
					if got := n.engine.Agreed(p.nodes[1-i].id); got != c.want {
						t.Fatalf("%v agrees: %v, want %v", n.id, got, c.want)
					}
				}
			}
		})
	}
}

// TestLargeShard: one whose keys would be more than a frame holds is compared in parts.
func TestLargeShard(t *testing.T) {
	const records = 5000
	p := joined(2)
	k := key(1, "")
	k.Service.Name = strings.Repeat("n", 2000)
	register := func(i int) {
		k.Publisher.ID = fmt.Sprint(i)
		p.register(0, k, 80)
	}
	for i := range records {
		register(i)
	}
	p.settle()
	p.cutOff(func(*pipe) { register(records) })
	listed, most := 0, 0
	p.watch = func(_, _ *node, m replication.Message) {
		if m.Kind == replication.KindKeys {
			listed += len(m.Versions)
			most = max(most, len(m.Versions))
		}
	}
	p.pass(2 * round)
	p.agree(t)
	if listed < records || most > model.MaxRecord/2000 {
		t.Errorf("%d keys were listed, at most %d in a message", listed, most)
	}
}

// TestManyDiffer: a whole catalog is repaired in messages of bounded size.
func TestManyDiffer(t *testing.T) {
	p := joined(2)
	p.cutOff(func(p *pipe) {
		for i := range 3000 {
			p.register(i%2, key(i/3, fmt.Sprint(i)), 80)
		}
		big := key(1, "big")
		for i := range 3 {
			big.Publisher.ID = fmt.Sprint("big", i)
			p.write(0, big, func(v model.Version, _ *model.Record) *model.Record {
				in := model.Instance{IP: "10.0.0.1", Port: int32(i + 1), Metadata: model.MetadataOf(map[string]string{"k": string(make([]byte, 600<<10))})}
				return &model.Record{Key: big, Version: v, Instances: []model.Instance{in}}
			})
		}
	})
	most, heaviest := 0, 0
	p.watch = func(_, _ *node, m replication.Message) {
		most = max(most, len(m.Entries), len(m.Want))
		heavy := 0
		for _, e := range m.Entries {
			for _, in := range e.Record.Instances {
				heavy += len(in.Metadata.Get("k"))
			}
		}
		heaviest = max(heaviest, heavy)
	}
	p.pass(2 * round)
	p.agree(t)
	if most > 500 || heaviest > 1<<20 {
		t.Errorf("a message carried %d records or keys, one %d bytes of metadata", most, heaviest)
	}
}

// TestTombstonesAreNoDifference: members forget tombstones at different times, and are not dirty for that.
func TestTombstonesAreNoDifference(t *testing.T) {
	p := joined(2)
	p.register(0, key(1, "a"), 80)
	p.remove(0, key(1, "a"))
	p.settle()
	n := p.nodes[1]
	later := p.time(n)
	later.Mono += 11 * time.Minute
	n.store.Sweep(later)
	if n.store.Record(key(1, "a")) != nil {
		t.Fatal("the tombstone is not forgotten")
	}
	sent := p.count(func() { p.pass(round) })
	if sent[replication.KindGroups] != 0 || n.store.Record(key(1, "a")) != nil {
		t.Errorf("a forgotten tombstone was repaired: %v", sent)
	}
}

// TestDirtyForTwoRounds: one digest may cross a delta on its way; two in a row are a disagreement.
func TestDirtyForTwoRounds(t *testing.T) {
	p := joined(2)
	a, b := p.nodes[0], p.nodes[1]
	wrong := replication.Message{Kind: replication.KindDigest, Sums: []uint64{a.store.Sum() + 1}}
	b.engine.Receive(p.time(b), a.id, wrong)
	if !b.engine.Agreed(a.id) {
		t.Error("one digest that differs counts as a disagreement")
	}
	b.engine.Receive(p.time(b), a.id, wrong)
	if b.engine.Agreed(a.id) {
		t.Error("two digests that differ count as agreement")
	}
	p.pass(round)
	if !b.engine.Agreed(a.id) {
		t.Error("a digest that is equal does not end it")
	}
}

// TestConverges: writes that are spread over members in any way, with any links cut meanwhile, are the same everywhere
// after the digests (P1, P6, P10).
func TestConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := joined(rapid.IntRange(2, 3).Draw(t, "members"))
		last := len(p.nodes) - 1
		for range rapid.IntRange(1, 40).Draw(t, "writes") {
			i := rapid.IntRange(0, last).Draw(t, "at")
			k := key(rapid.IntRange(0, 3).Draw(t, "service"), rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "publisher"))
			cur := p.nodes[i].store.Record(k)
			switch rapid.IntRange(0, 7).Draw(t, "what") {
			case 0, 1:
				p.register(i, k, rapid.IntRange(80, 82).Draw(t, "port"))
			case 2:
				p.remove(i, k)
			case 3:
				if cur != nil && !cur.Deleted {
					p.unclaim(i, k, model.Cause(rapid.IntRange(1, 2).Draw(t, "cause")))
				}
			case 4:
				if cur != nil && !cur.Deleted {
					p.write(i, k, func(_ model.Version, cur *model.Record) *model.Record { return cur.Tombstone(cur.Version) })
				}
			case 5:
				if cur != nil && k.Publisher.ID != "c" {
					p.write(i, key(1, "c"), func(v model.Version, _ *model.Record) *model.Record {
						older := model.Superseded{Publisher: k.Publisher, Version: cur.Version}
						return &model.Record{Key: key(1, "c"), Version: v, Rare: model.NewSuccession([]model.Superseded{older}, nil)}
					})
				}
			case 6:
				j := rapid.IntRange(0, last).Draw(t, "with")
				switch rapid.IntRange(0, 2).Draw(t, "link") {
				case 0:
					p.setCut(i, j, true)
				case 1:
					p.setCut(i, j, false)
				default:
					if i != j {
						p.connect(i, j) // what waited is dropped
					}
				}
			default:
				p.now += time.Duration(rapid.IntRange(0, 4000).Draw(t, "ms")) * time.Millisecond
				p.nodes[i].wall = time.Duration(rapid.SampledFrom([]int{0, 0, 3600, -3600}).Draw(t, "wall")) * time.Second
				p.settle()
			}
		}
		clear(p.cut)
		p.pass(2 * round)
		p.agree(t)
		for _, a := range p.nodes {
			for _, b := range p.nodes {
				if a != b && !a.engine.Agreed(b.id) {
					t.Fatalf("%v does not agree with %v", a.id, b.id)
				}
			}
		}
	})
}

// TestGarbage: a peer that sends what makes no sense breaks nothing (B1, B3).
func TestGarbage(t *testing.T) {
	big := make([]uint64, model.ShardCount)
	tests := map[string]replication.Message{
		"no kind":                  {},
		"an unknown kind":          {Kind: 200, Entries: []replication.Entry{{}}},
		"no sum":                   {Kind: replication.KindDigest},
		"too many sums":            {Kind: replication.KindDigest, Sums: big},
		"no groups":                {Kind: replication.KindGroups},
		"too many groups":          {Kind: replication.KindGroups, Sums: big},
		"groups beyond the last":   {Kind: replication.KindShards, Groups: []uint16{math.MaxUint16}, Sums: make([]uint64, replication.GroupSize)},
		"a group without sums":     {Kind: replication.KindShards, Groups: []uint16{1}},
		"sums without a group":     {Kind: replication.KindShards, Sums: make([]uint64, replication.GroupSize)},
		"the same group again":     {Kind: replication.KindShards, Groups: []uint16{1, 1, 1}, Sums: make([]uint64, 3*replication.GroupSize)},
		"shards beyond the last":   {Kind: replication.KindKeys, Shards: []model.Shard{math.MaxUint16}},
		"versions of other shards": {Kind: replication.KindKeys, Versions: []replication.KeyVersion{{Key: key(1, "a")}, {}}},
		"wants what is not there":  {Kind: replication.KindRepair, Want: []model.RecordKey{{}, key(9, "z")}},
		"entries without records":  {Kind: replication.KindDelta, Entries: []replication.Entry{{}, {Age: math.MinInt64}}},
		"an age of centuries": {Kind: replication.KindDelta, Entries: []replication.Entry{{
			Age: math.MaxInt64, Record: &model.Record{Key: key(5, "old"), Version: model.Version{Stamp: 1, Origin: 9}, Unclaimed: model.CauseOurs},
		}}},
		"an offer of nothing":       {Kind: replication.KindOffer, Last: true},
		"a merge that nobody wants": {Kind: replication.KindMerged, Last: true},
		"too few sums to compare":   {Kind: replication.KindCompare, Exchange: 1, Sums: big},
		"too many sums to compare":  {Kind: replication.KindCompare, Exchange: 1, Sums: make([]uint64, replication.CompareSums+1)},
		"an end of no comparison":   {Kind: replication.KindCompared, Exchange: 1},
		"nothing was compared":      {Kind: replication.KindSettled},
		"another was compared":      {Kind: replication.KindSettled, Exchange: 7},
		"cursors of another world":  {Kind: replication.KindStatus, Seq: math.MaxUint64, Ack: math.MaxUint64},
	}
	for name, m := range tests {
		t.Run(name, func(t *testing.T) {
			p := joined(2)
			a, b := p.nodes[0], p.nodes[1]
			want := p.register(0, key(1, "a"), 80)
			p.settle()
			if in := b.engine.Receive(p.time(b), a.id, m); in.Merged || in.Gone || in.Left {
				t.Errorf("taken as %+v", in)
			}
			b.engine.Receive(p.time(b), 77, m) // from nobody
			p.pass(round)
			a.holds(t, want)
			b.holds(t, want)
			p.agree(t)
		})
	}
}

// TestSilentGarbage: what is not understood is not answered.
func TestSilentGarbage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := joined(2)
		b := p.nodes[1]
		m := replication.Message{
			Kind:   replication.Kind(rapid.Uint8().Draw(t, "kind")),
			Sums:   rapid.SliceOfN(rapid.Uint64(), 0, 300).Draw(t, "sums"),
			Last:   rapid.Bool().Draw(t, "last"),
			Groups: rapid.SliceOfN(rapid.Uint16(), 0, 4).Draw(t, "groups"),
		}
		for _, s := range rapid.SliceOfN(rapid.Uint16(), 0, 4).Draw(t, "shards") {
			m.Shards = append(m.Shards, model.Shard(s))
		}
		before := b.store.Collect(nil)
		b.engine.Receive(p.time(b), 1, m)
		if d := cmp.Diff(before, b.store.Collect(nil)); d != "" {
			t.Fatalf("it changed the catalog: %s", d)
		}
		for _, answer := range b.engine.Pull(p.time(b), 1) {
			if n := len(answer.Entries) + len(answer.Versions) + len(answer.Want); n > 0 {
				t.Fatalf("%d records of an empty catalog were sent", n)
			}
		}
	})
}

// TestANewcomerIsSentEverythingOnce: while it is, its sums differ from all others, and there is nothing to repair.
func TestANewcomerIsSentEverythingOnce(t *testing.T) {
	const records = 10_000
	p := newPipe(2)
	old, newcomer := p.nodes[0], p.nodes[1]
	for i := range records {
		p.register(0, key(i, "a"), 80)
	}
	newcomer.engine.SetStatus(replication.Status{})
	p.connect(0, 1)
	newcomer.engine.Offer(old.id)
	for range 3 {
		p.carry(1, 0)
	}
	newcomer.engine.Offer(old.id) // it has heard that the other one is complete
	carried := 0
	p.watch = func(from, _ *node, m replication.Message) {
		if from == old {
			carried += len(m.Entries)
		}
	}
	sent := p.count(func() {
		for range 200 { // some seconds, in which little is carried at a time
			p.now += 100 * time.Millisecond
			for _, n := range p.nodes {
				n.engine.Tick(p.time(n))
			}
			p.carry(1, 0)
			p.carry(0, 1)
		}
	})
	if carried != records || sent[replication.KindGroups] != 0 {
		t.Errorf("%d records were sent to one that lacks %d, in %v", carried, records, sent)
	}
	p.agree(t)
	if !old.engine.Agreed(newcomer.id) || !newcomer.engine.Agreed(old.id) {
		t.Error("they do not agree")
	}
}
