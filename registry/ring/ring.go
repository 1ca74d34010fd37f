// Package ring says which members a shard or a publisher belongs to, by rendezvous hashing over a view: adding a member
// moves about 1/n of them, and members with the same view agree without a word. Immutable.
package ring

import (
	"cmp"
	"slices"

	"github.com/muster-registry/muster/registry/model"
)

// Ring is derived from one view.
type Ring struct {
	members []owner // eligible, sorted by incarnation
	factor  int     // copies of a shard; 0 = one at every member
	zones   int     // different zones among them
	hash    uint64
}

type owner struct {
	id   model.Incarnation
	zone string
}

// New takes the complete members of a view. Those that are leaving or starting own nothing; when no member is complete
// yet, all that are not leaving count, and at last the view's owner alone. factor is the number of copies of a shard, 0
// for one at every member.
func New(v *model.View, factor int) *Ring {
	pick := func(ok func(model.Member) bool) []owner {
		var out []owner
		for _, m := range v.Members {
			if ok(m) {
				out = append(out, owner{m.Incarnation, m.Zone})
			}
		}
		return out
	}
	members := pick(func(m model.Member) bool { return m.State == model.StateComplete })
	if len(members) == 0 {
		members = pick(func(m model.Member) bool { return m.State != model.StateLeaving })
	}
	if len(members) == 0 {
		members = []owner{{id: v.Self}}
	}
	r := &Ring{members: members, factor: factor}
	zones := map[string]bool{}
	for _, o := range members {
		r.hash = mix(r.hash, uint64(o.id))
		zones[o.zone] = true
	}
	r.zones = len(zones)
	return r
}

// Members are those that own something, sorted.
func (r *Ring) Members() []model.Incarnation {
	ids := make([]model.Incarnation, len(r.members))
	for i, o := range r.members {
		ids[i] = o.id
	}
	return ids
}

// Hash is equal for rings over the same members.
func (r *Ring) Hash() uint64 { return r.hash }

// Everywhere reports whether every member holds every shard.
func (r *Ring) Everywhere() bool { return r.factor == 0 || r.factor >= len(r.members) }

// First is the first replica of a shard: it ends the records that nobody vouches for.
func (r *Ring) First(s model.Shard) model.Incarnation { return r.best(shardKey(s), nil) }

func shardKey(s model.Shard) uint64 { return uint64(s) + 1 }

// Replicas are the members that hold a shard, the first one first. They are in as many zones as there are: the best
// member of each zone that has none yet, then the best of all that are left.
func (r *Ring) Replicas(s model.Shard) []model.Incarnation {
	if r.Everywhere() {
		first := r.First(s)
		ids := make([]model.Incarnation, 0, len(r.members))
		ids = append(ids, first)
		for _, o := range r.members {
			if o.id != first {
				ids = append(ids, o.id)
			}
		}
		return ids
	}
	chosen := make([]int, 0, r.factor)
	for len(chosen) < r.factor {
		chosen = append(chosen, r.next(shardKey(s), chosen))
	}
	ids := make([]model.Incarnation, len(chosen))
	for i, c := range chosen {
		ids[i] = r.members[c].id
	}
	return ids
}

// next is the member of the highest score outside chosen; one in a new zone goes before all others.
func (r *Ring) next(key uint64, chosen []int) int {
	spread := len(chosen) < r.zones
	best, top, fresh := -1, uint64(0), false
	for i, o := range r.members {
		if slices.Contains(chosen, i) {
			continue
		}
		f := spread && !slices.ContainsFunc(chosen, func(c int) bool { return r.members[c].zone == o.zone })
		if s := mix(key, uint64(o.id)); best < 0 || f && !fresh || f == fresh && s > top {
			best, top, fresh = i, s, f
		}
	}
	return best
}

// Owned are the shards that a member holds a copy of.
func (r *Ring) Owned(id model.Incarnation) *model.ShardSet {
	if r.Everywhere() {
		if slices.ContainsFunc(r.members, func(o owner) bool { return o.id == id }) {
			return model.AllShards()
		}
		return &model.ShardSet{}
	}
	owns := func(s model.Shard) bool { return slices.Contains(r.Replicas(s), id) }
	if r.zones == 1 {
		owns = func(s model.Shard) bool { return r.amongBest(shardKey(s), id) }
	}
	set := &model.ShardSet{}
	for s := range model.Shard(model.ShardCount) {
		if owns(s) {
			set.Add(s)
		}
	}
	return set
}

// amongBest reports whether a member is a replica where zones do not count: fewer than factor others are before it. Nearly
// always that many are met early, so that a view of 200 members takes a millisecond and not fifty.
func (r *Ring) amongBest(key uint64, id model.Incarnation) bool {
	at, found := slices.BinarySearchFunc(r.members, id, func(o owner, id model.Incarnation) int { return cmp.Compare(o.id, id) })
	mine := mix(key, uint64(id))
	ahead := 0
	for i, o := range r.members {
		if s := mix(key, uint64(o.id)); s > mine || s == mine && i < at {
			if ahead++; ahead == r.factor {
				return false
			}
		}
	}
	return found
}

// Responsible is the member that vouches for a publisher's beats in a service of the shard: one of its replicas, so that
// it knows the record.
func (r *Ring) Responsible(p model.Publisher, s model.Shard) model.Incarnation {
	if r.Everywhere() {
		return r.best(p.Hash(), nil)
	}
	return r.best(p.Hash(), r.Replicas(s))
}

// best is the member of the highest score, among the given ones if there are any: every member's score for a key is
// fixed, so that only the keys of a member that comes or goes move.
func (r *Ring) best(key uint64, among []model.Incarnation) model.Incarnation {
	var best model.Incarnation
	var top uint64
	for _, o := range r.members {
		if among != nil && !slices.Contains(among, o.id) {
			continue
		}
		if s := mix(key, uint64(o.id)); best == 0 || s > top {
			best, top = o.id, s
		}
	}
	return best
}

// mix is the finaliser of splitmix64 over both values.
func mix(a, b uint64) uint64 {
	x := a ^ (b * 0x9e3779b97f4a7c15)
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
