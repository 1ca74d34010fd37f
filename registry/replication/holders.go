package replication

import (
	"slices"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/ring"
)

// Release gives up the shards that are neither duty nor interest, once every replica holds and agrees. Records of the
// member's own publishers stay. It returns what it forgot.
func (e *Engine) Release(now model.Time, r *ring.Ring) []*model.Record {
	if e.shares == nil {
		return nil
	}
	s := e.shares
	s.mu.Lock()
	extra := s.wanted.Load().Without(s.duty).Without(s.interest)
	s.mu.Unlock()
	rest := e.store.Filled().Without(s.wanted.Load())
	agreed := map[model.Incarnation]*model.ShardSet{}
	for _, p := range e.all() {
		p.mu.Lock()
		if p.agreement.agreed && p.held != nil && now.Mono-p.heardAt <= heardWithin {
			agreed[p.id] = p.held.Without(p.agreement.last)
		}
		p.mu.Unlock()
	}
	safe := &model.ShardSet{}
	extra.With(rest).Each(func(sh model.Shard) {
		for _, id := range r.Replicas(sh) {
			if !agreed[id].Has(sh) {
				return
			}
		}
		safe.Add(sh)
	})
	if safe.Empty() {
		return nil
	}
	s.mu.Lock()
	drop := safe.And(extra).Without(s.duty).Without(s.interest)
	s.wanted.Store(s.wanted.Load().Without(drop))
	s.former = s.former.Without(drop)
	s.held.Store(s.held.Load().Without(drop)) // before the records go: HeldShards
	s.mu.Unlock()
	if !drop.Empty() {
		e.announceShares()
	}
	self := model.Incarnation(e.self.Load())
	return e.store.Evict(now, safe.Without(s.wanted.Load()), func(r *model.Record) bool {
		return !stands(self, r) && !s.wanted.Load().Has(r.Key.Service.Shard()) // it may be wanted again by now
	})
}

// HeldElsewhere reports whether every replica of every shard that the member holds has said that it holds it too.
func (e *Engine) HeldElsewhere(r *ring.Ring) bool {
	if e.shares == nil {
		return true
	}
	held := map[model.Incarnation]*model.ShardSet{}
	for _, p := range e.all() {
		held[p.id] = p.heldShards()
	}
	self := model.Incarnation(e.self.Load())
	all := true
	e.shares.held.Load().Each(func(sh model.Shard) {
		all = all && !slices.ContainsFunc(r.Replicas(sh), func(id model.Incarnation) bool { return id != self && !held[id].Has(sh) })
	})
	return all
}

// Covered reports whether this member and those hold every shard between them.
func (e *Engine) Covered(by []model.Incarnation) bool {
	if e.shares == nil {
		return true
	}
	return e.shares.held.Load().With(e.heldBy(by)).Count() == model.ShardCount
}

// heldBy is what the peers say that they hold between them.
func (e *Engine) heldBy(ids []model.Incarnation) *model.ShardSet {
	held := &model.ShardSet{}
	for _, id := range ids {
		if p := e.peer(id); p != nil {
			held = held.With(heldOrNone(p))
		}
	}
	return held
}

// Lacks reports whether a peer has said that it holds no whole copy of a shard.
func (e *Engine) Lacks(id model.Incarnation, sh model.Shard) bool {
	if e.shares == nil {
		return false
	}
	p := e.peer(id)
	if p == nil {
		return false
	}
	held := p.heldShards()
	return held != nil && !held.Has(sh)
}

// Holders are the members in reach that say that their copy of a shard is whole.
func (e *Engine) Holders(now model.Time, sh model.Shard) []model.Incarnation {
	var ids []model.Incarnation
	for _, p := range e.all() {
		p.mu.Lock()
		if p.held.Has(sh) && now.Mono-p.heardAt <= heardWithin {
			ids = append(ids, p.id)
		}
		p.mu.Unlock()
	}
	return ids
}

// HeldShards are those whose copy is whole here, not to be changed. As long as they are the same set, each copy was whole all the
// while: one that is given up is taken out before a record of it goes.
func (e *Engine) HeldShards() *model.ShardSet {
	if e.shares == nil {
		return everything
	}
	return e.shares.held.Load()
}

// ShardCounts is how many shards are wanted, and how many of them held.
func (e *Engine) ShardCounts() (wanted, held int) {
	if e.shares == nil {
		return model.ShardCount, model.ShardCount
	}
	return e.shares.wanted.Load().Count(), e.shares.held.Load().Count()
}
