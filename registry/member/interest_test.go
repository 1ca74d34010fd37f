package member

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-registry/muster/registry/model"
)

// TestInterest: what the hub answers is old by the time that it is taken in. A subscription in between is not lost.
func TestInterest(t *testing.T) {
	for name, tc := range map[string]struct {
		script func(i *interest)
		want   []model.Shard
	}{
		"a subscription":                    {func(i *interest) { i.add(1) }, []model.Shard{1}},
		"the hub knows it":                  {func(i *interest) { i.add(1); i.ask(); i.answered(model.ShardsOf(1)) }, []model.Shard{1}},
		"it has ended":                      {func(i *interest) { i.add(1); i.ask(); i.answered(model.ShardsOf()) }, []model.Shard{}},
		"another one while the hub answers": {func(i *interest) { i.add(1); i.ask(); i.add(2); i.answered(model.ShardsOf(1)) }, []model.Shard{1, 2}},
		"it came back while the hub answers": {
			func(i *interest) { i.add(1); i.ask(); i.add(1); i.answered(model.ShardsOf()) }, []model.Shard{1},
		},
		"it came back, and ended": {
			func(i *interest) {
				i.add(1)
				i.ask()
				i.add(1)
				i.answered(model.ShardsOf())
				i.ask()
				i.answered(model.ShardsOf())
			}, []model.Shard{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			i := interest{shards: &model.ShardSet{}, asked: &model.ShardSet{}}
			tc.script(&i)
			if diff := cmp.Diff(tc.want, i.shards.Slice()); diff != "" {
				t.Errorf("interest (-want +got):\n%s", diff)
			}
		})
	}
}

// TestInterestIsNotChanged: the engine keeps the set that it was given.
func TestInterestIsNotChanged(t *testing.T) {
	i := interest{shards: &model.ShardSet{}, asked: &model.ShardSet{}}
	i.add(1)
	before := i.shards
	if i.add(1) {
		t.Error("a shard is new twice")
	}
	if !i.add(2) || before.Has(2) {
		t.Error("the set that is in use has changed")
	}
}
