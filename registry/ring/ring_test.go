package ring_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/ring"
)

func members(state model.MemberState, ids ...model.Incarnation) []model.Member {
	ms := make([]model.Member, 0, len(ids))
	for _, id := range ids {
		ms = append(ms, model.Member{Incarnation: id, State: state})
	}
	return ms
}

func of(ms ...[]model.Member) *ring.Ring {
	all := slices.Concat(ms...)
	return ring.New(model.NewView(all[0].Incarnation, all, false), 0)
}

// incarnations are random, as in life: a ring need not spread ids that somebody chose.
func incarnations(t *rapid.T, least, most int) []model.Incarnation {
	ids := rapid.SliceOfNDistinct(rapid.Uint64Min(1<<32), least, most, rapid.ID[uint64]).Draw(t, "incarnations")
	out := make([]model.Incarnation, 0, len(ids))
	for _, id := range ids {
		out = append(out, scramble(id))
	}
	return out
}

// scramble makes rapid's small and round numbers look drawn.
func scramble(x uint64) model.Incarnation {
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return model.Incarnation(x ^ x>>33 | 1)
}

func owners(r *ring.Ring) []model.Incarnation {
	firsts := make([]model.Incarnation, model.ShardCount)
	for s := range firsts {
		firsts[s] = r.First(model.Shard(s))
	}
	return firsts
}

// TestBalance: no member has much more or less than its share of the shards.
func TestBalance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := incarnations(t, 1, 16)
		count := map[model.Incarnation]int{}
		for _, id := range owners(of(members(model.StateComplete, ids...))) {
			count[id]++
		}
		fair := float64(model.ShardCount) / float64(len(ids))
		for _, id := range ids {
			if got := float64(count[id]) / fair; got < 0.8 || got > 1.2 {
				t.Fatalf("%v of %d members has %.2f of a fair share", id, len(ids), got)
			}
		}
	})
}

// TestBalanceOfPublishers: the same for beats, whose keys are addresses that differ in little.
func TestBalanceOfPublishers(t *testing.T) {
	r := of(members(model.StateComplete, scramble(1), scramble(2), scramble(3), scramble(4), scramble(5)))
	count := map[model.Incarnation]int{}
	const publishers = 20_000
	for i := range publishers {
		id := fmt.Sprintf("10.0.%d.%d:8080", i/256, i%256)
		count[r.Responsible(model.Publisher{Kind: model.KindBeat, ID: id}, 0)]++
	}
	for _, id := range r.Members() {
		if got := float64(count[id]) * 5 / publishers; got < 0.9 || got > 1.1 {
			t.Errorf("%v has %.2f of a fair share", id, got)
		}
	}
}

// TestMoves: what moves when a member comes goes to it, and nothing else moves: 1/n of all (R2).
func TestMoves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := incarnations(t, 2, 12)
		newcomer, rest := ids[0], ids[1:]
		before, after := owners(of(members(model.StateComplete, rest...))), owners(of(members(model.StateComplete, ids...)))
		moved := 0
		for s := range before {
			if before[s] == after[s] {
				continue
			}
			if moved++; after[s] != newcomer {
				t.Fatalf("shard %d moved from %v to %v, which was there before", s, before[s], after[s])
			}
		}
		if part := float64(moved*len(ids)) / model.ShardCount; part < 0.8 || part > 1.2 {
			t.Fatalf("%.2f/%d of the shards moved", part, len(ids))
		}
	})
}

// TestOrder: members with the same view agree, whoever they are and in whatever order they heard of each other.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := incarnations(t, 1, 8)
		a := of(members(model.StateComplete, ids...))
		b := of(members(model.StateComplete, rapid.Permutation(ids).Draw(t, "order")...))
		if a.Hash() != b.Hash() {
			t.Fatalf("hashes %x and %x", a.Hash(), b.Hash())
		}
		if d := cmp.Diff(a.Members(), b.Members()); d != "" {
			t.Fatal(d)
		}
		if !slices.Equal(owners(a), owners(b)) {
			t.Fatal("the owners differ")
		}
		if len(ids) > 1 && a.Hash() == of(members(model.StateComplete, ids[1:]...)).Hash() {
			t.Fatal("a ring without one of the members has the same hash")
		}
	})
}

func TestWhoOwns(t *testing.T) {
	starting, complete, leaving := model.StateStarting, model.StateComplete, model.StateLeaving
	tests := map[string]struct {
		view [][]model.Member // the first is the view's owner
		want []model.Incarnation
	}{
		"complete members only":               {[][]model.Member{members(starting, 1), members(complete, 2, 3), members(leaving, 4)}, []model.Incarnation{2, 3}},
		"none complete: those that come":      {[][]model.Member{members(starting, 5, 1), members(leaving, 4)}, []model.Incarnation{1, 5}},
		"all leave: whoever asks, for itself": {[][]model.Member{members(leaving, 4, 2)}, []model.Incarnation{4}},
		"alone":                               {[][]model.Member{members(starting, 7)}, []model.Incarnation{7}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := of(test.view...)
			if d := cmp.Diff(test.want, r.Members()); d != "" {
				t.Fatal(d)
			}
			for s, id := range owners(r) {
				if !slices.Contains(test.want, id) {
					t.Fatalf("shard %d belongs to %v", s, id)
				}
			}
			if id := r.Responsible(model.Publisher{Kind: model.KindBeat, ID: "10.0.0.1:80"}, 0); !slices.Contains(test.want, id) {
				t.Fatalf("%v is responsible for a publisher", id)
			}
		})
	}
	t.Run("a copy is handed out", func(t *testing.T) {
		r := of(members(complete, 1, 2))
		r.Members()[0] = 9
		if d := cmp.Diff([]model.Incarnation{1, 2}, r.Members()); d != "" {
			t.Error(d)
		}
	})
}

// zoned is a view of complete members in zones, the first one its owner.
func zoned(ids []model.Incarnation, zones int) []model.Member {
	ms := members(model.StateComplete, ids...)
	for i := range ms {
		ms[i].Zone = fmt.Sprintf("zone-%d", i%zones)
	}
	return ms
}

// TestReplicas: as many different members as the factor says, in as many zones as there are, all of one mind.
func TestReplicas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := incarnations(t, 1, 9)
		factor, zones := rapid.IntRange(2, 4).Draw(t, "factor"), rapid.IntRange(1, 4).Draw(t, "zones")
		ms := zoned(ids, zones)
		r := ring.New(model.NewView(ids[0], ms, false), factor)
		one := rapid.SampledFrom(ids).Draw(t, "one")
		owned := r.Owned(one)
		p := model.Publisher{Kind: model.KindBeat, ID: "10.0.0.1:80"}
		for s := model.Shard(0); s < model.ShardCount; s += 37 {
			replicas := r.Replicas(s)
			in := map[string]bool{}
			for _, id := range replicas {
				in[ms[slices.Index(ids, id)].Zone] = true
			}
			distinct := slices.Compact(slices.Sorted(slices.Values(replicas)))
			if len(distinct) != min(factor, len(ids)) || len(distinct) != len(replicas) {
				t.Fatalf("replicas of %d: %v", s, replicas)
			}
			if want := min(factor, zones, len(ids)); len(in) != want {
				t.Fatalf("replicas of %d are in zones %v, want %d of them", s, in, want)
			}
			if replicas[0] != r.First(s) || !slices.Contains(replicas, r.Responsible(p, s)) {
				t.Fatalf("first %v, responsible %v, of %v", r.First(s), r.Responsible(p, s), replicas)
			}
			if owned.Has(s) != slices.Contains(replicas, one) {
				t.Fatalf("%v owns %d: %v, replicas %v", one, s, owned.Has(s), replicas)
			}
		}
	})
}

// TestReplicaMoves: a newcomer takes over factor/n of the copies, each from one of those that had it (R2).
func TestReplicaMoves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := incarnations(t, 4, 12)
		const factor = 3
		view := func(ids []model.Incarnation) *ring.Ring {
			return ring.New(model.NewView(ids[0], members(model.StateComplete, ids...), false), factor)
		}
		newcomer, rest := ids[0], ids[1:]
		before, after := view(rest), view(ids)
		moved, looked := 0, 0
		for s := model.Shard(0); s < model.ShardCount; s += 3 {
			looked++
			had, has := before.Replicas(s), after.Replicas(s)
			for _, id := range has {
				if slices.Contains(had, id) {
					continue
				}
				if moved++; id != newcomer {
					t.Fatalf("a copy of %d moved to %v, which was there before", s, id)
				}
			}
		}
		if part := float64(moved*len(ids)) / float64(looked*factor); part < 0.8 || part > 1.2 {
			t.Fatalf("%.2f/%d of the copies moved", part, len(ids))
		}
	})
}

// TestSharesOf200: with three copies of a shard, three of n shares fall to each of n members, within a quarter where chance
// is largest (200 members have 246 copies each): what a member holds and is sent falls as members are added.
func TestSharesOf200(t *testing.T) {
	for _, n := range []int{3, 10, 50, 200} {
		ids := make([]model.Incarnation, n)
		for i := range ids {
			ids[i] = scramble(uint64(i + 1))
		}
		ms := members(model.StateComplete, ids...)
		r := ring.New(model.NewView(ids[0], ms, false), 3)
		counts := map[model.Incarnation]int{}
		for s := range model.Shard(model.ShardCount) {
			for _, id := range r.Replicas(s) {
				counts[id]++
			}
		}
		fair := 3 * float64(model.ShardCount) / float64(n)
		for id, c := range counts {
			if part := float64(c) / fair; part < 0.75 || part > 1.25 {
				t.Errorf("%v of %d members holds %.2f of its share", id, n, part)
			}
		}
	}
}
