package model_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/muster-registry/muster/registry/model"
)

// TestShardSet: the set behaves like a map of shards.
func TestShardSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) (*model.ShardSet, map[model.Shard]bool) {
			set, m := &model.ShardSet{}, map[model.Shard]bool{}
			for _, n := range rapid.SliceOf(rapid.Uint16Range(0, model.ShardCount-1)).Draw(t, label) {
				set.Add(model.Shard(n))
				m[model.Shard(n)] = true
			}
			return set, m
		}
		a, ma := draw("a")
		b, mb := draw("b")
		var both, either, only []model.Shard
		for sh := range model.Shard(model.ShardCount) {
			switch {
			case ma[sh] && mb[sh]:
				both, either = append(both, sh), append(either, sh)
			case ma[sh]:
				only, either = append(only, sh), append(either, sh)
			case mb[sh]:
				either = append(either, sh)
			}
			if a.Has(sh) != ma[sh] {
				t.Fatalf("has %d: %v", sh, a.Has(sh))
			}
		}
		for name, c := range map[string]struct {
			got  *model.ShardSet
			want []model.Shard
		}{"and": {a.And(b), both}, "with": {a.With(b), either}, "without": {a.Without(b), only}} {
			if !slices.Equal(c.got.Slice(), c.want) || c.got.Count() != len(c.want) || c.got.Empty() != (len(c.want) == 0) {
				t.Errorf("%s: %v, want %v", name, c.got.Slice(), c.want)
			}
		}
		if again := model.ShardsOf(a.Slice()...); *again != *a {
			t.Errorf("listed and back: %v", again.Slice())
		}
		c := a.Clone()
		for sh := range ma {
			c.Remove(sh)
		}
		if !c.Empty() || a.Count() != len(ma) {
			t.Error("removing from a copy")
		}
	})
	if n := model.AllShards().Count(); n != model.ShardCount {
		t.Errorf("all: %d", n)
	}
	beyond := model.ShardsOf(model.ShardCount, 1<<16-1)
	beyond.Remove(model.ShardCount)
	if !beyond.Empty() || beyond.Has(model.ShardCount) {
		t.Error("a set holds what is no shard")
	}
	if (*model.ShardSet)(nil).Has(1) {
		t.Error("nil has a shard")
	}
}
