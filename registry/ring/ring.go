// Package ring says which members a shard or a publisher belongs to, by rendezvous hashing over a view: adding a member
// moves about 1/n of them, and members with the same view agree without a word. Immutable.
package ring

import (
	"slices"

	"github.com/muster-registry/muster/registry/model"
)

// Ring is derived from one view.
type Ring struct {
	members []model.Incarnation // eligible, sorted
	hash    uint64
}

// New takes the complete members of a view. Those that are leaving or starting own nothing; when no member is complete
// yet, all that are not leaving count, and at last the view's owner alone.
func New(v *model.View) *Ring {
	pick := func(ok func(model.Member) bool) []model.Incarnation {
		var ids []model.Incarnation
		for _, m := range v.Members {
			if ok(m) {
				ids = append(ids, m.Incarnation)
			}
		}
		return ids
	}
	ids := pick(func(m model.Member) bool { return m.State == model.StateComplete })
	if len(ids) == 0 {
		ids = pick(func(m model.Member) bool { return m.State != model.StateLeaving })
	}
	if len(ids) == 0 {
		ids = []model.Incarnation{v.Self}
	}
	r := &Ring{members: ids}
	for _, id := range ids {
		r.hash = mix(r.hash, uint64(id))
	}
	return r
}

// Members are those that own something, sorted.
func (r *Ring) Members() []model.Incarnation { return slices.Clone(r.members) }

// Hash is equal for rings over the same members.
func (r *Ring) Hash() uint64 { return r.hash }

// First is the first replica of a shard: it ends the records that nobody vouches for.
func (r *Ring) First(s model.Shard) model.Incarnation { return r.best(uint64(s) + 1) }

// Responsible is the member that vouches for a publisher's beats.
func (r *Ring) Responsible(p model.Publisher) model.Incarnation { return r.best(p.Hash()) }

// best is the member of the highest score: every member's score for a key is fixed, so that only the keys of a member
// that comes or goes move.
func (r *Ring) best(key uint64) model.Incarnation {
	var best model.Incarnation
	var top uint64
	for _, id := range r.members {
		if s := mix(key, uint64(id)); best == 0 || s > top {
			best, top = id, s
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
