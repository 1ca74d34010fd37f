package member

import "github.com/muster-registry/muster/registry/model"

// interest are the shards that this member has subscribers of. The hub knows whom it has, but not at once: while it is asked
// subscriptions come and go.
type interest struct {
	shards *model.ShardSet // never changed once stored
	// asked are the shards of subscriptions since the hub was asked last: its answer may be without them.
	asked *model.ShardSet
}

// add notes a subscription that the hub has. It reports whether the shard is new.
func (i *interest) add(sh model.Shard) bool {
	i.asked.Add(sh)
	if i.shards.Has(sh) {
		return false
	}
	i.shards = i.shards.Clone()
	i.shards.Add(sh)
	return true
}

// ask comes before the hub is asked, answered with what it said.
func (i *interest) ask() { i.asked = &model.ShardSet{} }

func (i *interest) answered(subscribed *model.ShardSet) { i.shards = subscribed.With(i.asked) }
