package catalog

import (
	"math/bits"
	"slices"

	"github.com/muster-registry/muster/registry/model"
)

// ownKey is where the sum of one origin's live records in one shard is kept.
type ownKey struct {
	origin model.Incarnation
	shard  model.Shard
}

// sumOwn keeps the sums of the origins in step with a change. Called with the lock held.
func (st *stripe) sumOwn(shard model.Shard, old, w *model.Record) {
	if st.own == nil {
		return
	}
	for _, c := range []struct {
		r    *model.Record
		sign uint64
	}{{old, ^uint64(0)}, {w, 1}} {
		d := c.r.Digest()
		if d == 0 {
			continue
		}
		k := ownKey{c.r.Version.Origin, shard}
		if sum := st.own[k] + c.sign*d; sum == 0 {
			delete(st.own, k)
		} else {
			st.own[k] = sum
		}
	}
}

// tally counts the services of each shard of a stripe and finds the shards that have any without a look at each. The n-th
// place of stripe i is that of the shard n*stripeCount+i.
type tally struct {
	services [shardsPerStripe]int32
	filled   [shardsPerStripe / 64]uint64
}

func (t *tally) add(sh model.Shard) {
	n := sh / stripeCount
	t.services[n]++
	t.filled[n/64] |= 1 << (n % 64)
}

func (t *tally) remove(sh model.Shard) {
	n := sh / stripeCount
	if t.services[n]--; t.services[n] == 0 {
		t.filled[n/64] &^= 1 << (n % 64)
	}
}

// each visits the places of the shards that have services.
func (t *tally) each(visit func(n int)) {
	for i, w := range t.filled {
		for ; w != 0; w &= w - 1 {
			visit(i*64 + bits.TrailingZeros64(w))
		}
	}
}

// Filled are the shards with a service, be it one of tombstones only.
func (s *Store) Filled() *model.ShardSet {
	var set model.ShardSet
	for i := range s.stripes {
		st := &s.stripes[i]
		st.mu.Lock()
		st.filled.each(func(n int) { set.Add(model.Shard(n*stripeCount + i)) })
		st.mu.Unlock()
	}
	return &set
}

// SumOf is the sum over the shards of a set.
func (s *Store) SumOf(set *model.ShardSet) uint64 {
	var sum uint64
	for i := range s.stripes {
		st := &s.stripes[i]
		st.mu.Lock()
		st.filled.each(func(n int) {
			if set.Has(model.Shard(n*stripeCount + i)) {
				sum += st.sums[n]
			}
		})
		st.mu.Unlock()
	}
	return sum
}

// ShardSum is the sum of one shard.
type ShardSum struct {
	Shard model.Shard
	Sum   uint64
}

// OwnSums are the sums of one origin's live records, of the shards in the set where there are any, in order. Where they are not
// kept (PerOrigin) they are added up.
func (s *Store) OwnSums(origin model.Incarnation, set *model.ShardSet) []ShardSum {
	var out []ShardSum
	add := func(sh model.Shard, sum uint64) {
		if sum != 0 {
			out = append(out, ShardSum{sh, sum})
		}
	}
	for i := range s.stripes {
		if s.opts.PerOrigin {
			s.keptSums(i, origin, set, add)
		} else {
			s.addedSums(i, origin, set, add)
		}
	}
	slices.SortFunc(out, func(a, b ShardSum) int { return int(a.Shard) - int(b.Shard) })
	return out
}

func (s *Store) keptSums(i int, origin model.Incarnation, set *model.ShardSet, add func(model.Shard, uint64)) {
	st := &s.stripes[i]
	st.mu.Lock()
	defer st.mu.Unlock()
	for k, sum := range st.own {
		if k.origin == origin && set.Has(k.shard) {
			add(k.shard, sum)
		}
	}
}

func (s *Store) addedSums(i int, origin model.Incarnation, set *model.ShardSet, add func(model.Shard, uint64)) {
	sums := map[model.Shard]uint64{}
	s.inStripe(i, set, func(_ *stripe, svc *service) {
		for _, r := range svc.records {
			if r.Version.Origin == origin {
				sums[svc.key.Shard()] += r.Digest()
			}
		}
	})
	for sh, sum := range sums {
		add(sh, sum)
	}
}

// inStripe visits the services of a stripe in the shards of the set (nil: all), with its lock held.
func (s *Store) inStripe(i int, set *model.ShardSet, visit func(st *stripe, svc *service)) {
	if !touches(set, i) {
		return
	}
	st := &s.stripes[i]
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, svc := range slices.Collect(st.services.All()) { // visiting may forget it
		if set == nil || set.Has(svc.key.Shard()) {
			visit(st, svc)
		}
	}
}

// touches reports whether a stripe has shards of the set (nil: all): looking through its services hashes their names.
func touches(set *model.ShardSet, stripe int) bool {
	if set == nil {
		return true
	}
	for sh := stripe; sh < model.ShardCount; sh += stripeCount {
		if set.Has(model.Shard(sh)) {
			return true
		}
	}
	return false
}

// Evict forgets the records of the set that drop says yes to: others hold them. That is no change of them. It returns
// what it forgot.
func (s *Store) Evict(now model.Time, set *model.ShardSet, drop func(*model.Record) bool) []*model.Record {
	var dropped []*model.Record
	evict := func(st *stripe, svc *service) {
		shard := svc.key.Shard()
		svc.drop(func(r *model.Record) bool {
			if !drop(r) {
				return false
			}
			dropped = append(dropped, r)
			d := r.Digest()
			st.sums[shard/stripeCount] -= d
			s.root.Add(-d)
			st.sumOwn(shard, r, nil)
			s.count(st, svc, now, r, nil)
			svc.stale = true
			return true
		})
		if len(svc.records) == 0 && svc.listed {
			svc.listed = false
			s.listed.Add(-1)
		}
		st.dropIfForgotten(svc)
	}
	for i := range s.stripes {
		s.inStripe(i, set, evict)
	}
	return dropped
}

// DropOrphans forgets the tombstones of the set whose successor is not here, and tells of no change: whoever has the successor
// has the tombstone too.
func (s *Store) DropOrphans(set *model.ShardSet) {
	for i := range s.stripes {
		s.inStripe(i, set, func(st *stripe, svc *service) {
			svc.dropOrphans()
			st.dropIfForgotten(svc)
		})
	}
}
