package catalog_test

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
)

// TestWalk: its parts are what is collected at once, each in order, of the shards that are asked for.
func TestWalk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newStore()
		for _, r := range anyHistory(t) {
			s.Apply(at(0), r)
		}
		var set model.ShardSet
		for _, r := range s.Collect(nil) {
			if rapid.Bool().Draw(t, "asked") {
				set.Add(r.Key.Service.Shard())
			}
		}
		for name, c := range map[string]struct {
			walk *catalog.Walk
			keep func(*model.Record) bool
		}{
			"all":        {s.Walk(nil, nil), func(*model.Record) bool { return true }},
			"the living": {s.Walk(nil, func(r *model.Record) bool { return !r.Deleted }), func(r *model.Record) bool { return !r.Deleted }},
			"some":       {s.Walk(&set, nil), func(r *model.Record) bool { return set.Has(r.Key.Service.Shard()) }},
		} {
			order := func(a, b *model.Record) int { return a.Key.Compare(b.Key) }
			var got []*model.Record
			for part := c.walk.Next(); part != nil; part = c.walk.Next() {
				if !slices.IsSortedFunc(part, order) {
					t.Fatalf("%s: a part is not in order", name)
				}
				got = append(got, part...)
			}
			want := s.Collect(c.keep)
			if !slices.IsSortedFunc(want, order) {
				t.Fatalf("%s: what is collected is not in order", name)
			}
			slices.SortFunc(got, order)
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("%s (-want +got):\n%s", name, d)
			}
			if c.walk.Next() != nil {
				t.Fatalf("%s: there is something behind the end", name)
			}
		}
	})
}

// TestOwnSums: the sums of an origin's records are those of a store that holds nothing else, after any history, and after
// the rest was forgotten.
func TestOwnSums(t *testing.T) {
	newShared := func() *catalog.Store {
		return catalog.New(catalog.Options{
			Revise: func(now model.Time) int64 { return now.Wall }, TombstoneLifetime: 10 * time.Minute, PerOrigin: true,
		})
	}
	rapid.Check(t, func(t *rapid.T) {
		s := newShared()
		for _, r := range anyHistory(t) {
			s.Apply(at(0), r)
		}
		all := model.AllShards()
		for origin := model.Incarnation(1); origin <= 4; origin++ {
			own := newShared()
			for _, r := range s.Collect(func(r *model.Record) bool { return r.Version.Origin == origin }) {
				own.Apply(at(0), r)
			}
			if d := cmp.Diff(own.OwnSums(origin, all), s.OwnSums(origin, all)); d != "" {
				t.Fatalf("origin %v (-alone +among others):\n%s", origin, d)
			}
		}
		s.Evict(at(0), all, func(r *model.Record) bool { return r.Version.Origin != 1 })
		if sum := s.SumOf(all); sum != s.Sum() {
			t.Fatalf("the sum over all shards is %x, %x was kept", sum, s.Sum())
		}
		var left uint64
		for _, o := range s.OwnSums(1, all) {
			left += o.Sum
		}
		if left != s.Sum() {
			t.Fatalf("only the first origin is left, with %x of %x", left, s.Sum())
		}
		s.Evict(at(0), all, func(*model.Record) bool { return true })
		if s.Sum() != 0 || s.Instances() != 0 || s.Services() != 0 || len(s.OwnSums(1, all)) != 0 {
			t.Fatalf("after all was forgotten: sum %x, %d instances, %d services", s.Sum(), s.Instances(), s.Services())
		}
	})
}

// TestDropOrphans: a row of tombstones is forgotten when nothing is known of whom it leads to, and another is not.
func TestDropOrphans(t *testing.T) {
	s := newStore()
	led := func(id string, to string) {
		p := connection(to)
		tomb := record(id, 5).Tombstone(version(5))
		tomb.Rare = model.NewSuccession(nil, &p)
		s.Apply(at(0), tomb)
	}
	led("first", "second")
	led("second", "lost")
	led("older", "newer")
	s.Apply(at(0), record("newer", 6, instance(80)))
	s.Apply(at(0), record("ended", 5).Tombstone(version(5)))
	s.DropOrphans(model.AllShards())
	var left []string
	for _, r := range s.Service(orders) {
		left = append(left, r.Key.Publisher.ID)
	}
	if d := cmp.Diff([]string{"ended", "newer", "older"}, left); d != "" {
		t.Errorf("what is left (-want +got):\n%s", d)
	}
}

// BenchmarkSumOf is what a member adds up for each peer with which it shares a part of the shards.
func BenchmarkSumOf(b *testing.B) {
	s := newStore()
	var set model.ShardSet
	for sh := model.Shard(0); sh < model.ShardCount; sh += 3 {
		set.Add(sh)
	}
	for b.Loop() {
		s.SumOf(&set)
	}
}

// BenchmarkWalk is what a member goes through to send a new one everything: 100,000 services of ten records.
func BenchmarkWalk(b *testing.B) {
	const services, perService = 100_000, 10
	s := newStore()
	for i := range services * perService {
		r := record("client "+strconv.Itoa(i), 5, instance(80))
		r.Key.Service = model.ServiceKey{Namespace: "public", Group: model.DefaultGroup, Name: "service-" + strconv.Itoa(i%services)}
		s.Apply(at(0), r)
	}
	for b.Loop() {
		n := 0
		w := s.Walk(nil, nil)
		for part := w.Next(); part != nil; part = w.Next() {
			n += len(part)
		}
		if n != services*perService {
			b.Fatalf("%d records", n)
		}
	}
}
