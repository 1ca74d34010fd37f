package replication

import "github.com/muster-registry/muster/registry/model"

// round is a set of shards that is asked for.
type round struct {
	shards *model.ShardSet
	// open are the members that have not answered yet, and for what.
	open map[model.Incarnation]*model.ShardSet
	// gaps is how often each had fallen silent when it was asked.
	gaps map[model.Incarnation]int
}

// pending is what is wanted, not held, and not asked for. Called with the lock held.
func (s *shares) pending() *model.ShardSet {
	p := s.wanted.Load().Without(s.held.Load())
	for _, r := range s.rounds {
		p = p.Without(r.shards)
	}
	return p
}

// answered ends a peer's part of a round; what nobody else is asked for is held now. Of one that has fallen silent meanwhile
// it is asked for again: the answer may be old (peer.merged).
func (s *shares) answered(id uint64, p *peer) (fresh *model.ShardSet) {
	gaps := p.silences()
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rounds[id]
	if r == nil || r.open[p.id] == nil {
		return nil
	}
	if r.gaps[p.id] != gaps {
		s.again(id, p.id)
		return nil
	}
	done := r.open[p.id]
	delete(r.open, p.id)
	for _, rest := range r.open {
		done = done.Without(rest)
	}
	r.shards = r.shards.Without(done)
	if len(r.open) == 0 {
		delete(s.rounds, id)
	}
	done = done.And(s.wanted.Load())
	s.held.Store(s.held.Load().With(done))
	return done
}

// lost takes a member out of all rounds: what it was asked for is asked for again.
func (s *shares) lost(id model.Incarnation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range s.rounds {
		s.again(n, id)
	}
}

// again takes a member out of a round: what it was asked for is asked for again. Called with the lock held.
func (s *shares) again(n uint64, id model.Incarnation) {
	r := s.rounds[n]
	again := r.open[id]
	if again == nil {
		return
	}
	delete(r.open, id)
	r.shards = r.shards.Without(again)
	for o, rest := range r.open {
		if left := rest.Without(again); left.Empty() {
			delete(r.open, o)
		} else {
			r.open[o] = left
		}
	}
	if len(r.open) == 0 {
		delete(s.rounds, n)
	}
}

// Fetch asks for the shards that are wanted and not held. blind: some member that may hold a copy cannot be reached, so
// that a shard that nobody in reach holds is waited for; else there is no copy of it, and it begins with what the others
// hold of their own publishers. cautious: it is waited for in any case, unless the member held it before. It returns the
// shards that are held from now on; bare: of some shard there is no copy in reach.
func (e *Engine) Fetch(blind, cautious bool) (held *model.ShardSet, bare bool) {
	if e.shares == nil {
		return nil, false
	}
	s := e.shares
	s.mu.Lock()
	pending := s.pending()
	if pending.Empty() {
		s.mu.Unlock()
		return nil, false
	}
	duty := s.duty
	wait := &model.ShardSet{}
	if cautious {
		wait = pending.Without(s.former)
	}
	s.mu.Unlock()
	asked, cold, bare := e.sources(pending, duty, wait, blind)
	shards := &model.ShardSet{}
	for _, set := range asked {
		shards = shards.With(set)
	}
	if !shards.Empty() {
		// An origin that holds no copy was told that its record is superseded, and not what by: if that died unheard, those
		// who hold a copy still show the older one.
		e.store.DropOrphans(shards)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &round{shards: &model.ShardSet{}, open: map[model.Incarnation]*model.ShardSet{}, gaps: map[model.Incarnation]int{}}
	for _, p := range e.all() { // whose stream ended meanwhile is not waited for
		if set := asked[p.id]; set != nil {
			r.shards, r.open[p.id], r.gaps[p.id] = r.shards.With(set), set, p.silences()
			p.push(item{message: Message{Kind: KindOwnership}}, item{message: Message{Kind: KindFetch, Exchange: s.lastID + 1, Shards: set.Slice()}})
		}
	}
	if len(r.open) > 0 {
		s.lastID++
		s.rounds[s.lastID] = r
	}
	if cold.Empty() {
		return nil, bare
	}
	cold = cold.And(s.wanted.Load())
	s.held.Store(s.held.Load().With(cold))
	return cold, bare
}

// sources says whom to ask for what: all complete members that hold a shard of our duty, one that holds a shard of our
// interest; where nobody does, everybody. cold is what nobody is there to be asked for.
func (e *Engine) sources(pending, duty, wait *model.ShardSet, blind bool) (asked map[model.Incarnation]*model.ShardSet, cold *model.ShardSet, bare bool) {
	asked, cold = map[model.Incarnation]*model.ShardSet{}, &model.ShardSet{}
	type source struct {
		id   model.Incarnation
		held *model.ShardSet
	}
	var peers []source
	for _, p := range e.all() {
		p.mu.Lock()
		held, complete := p.held, p.status.Complete
		p.mu.Unlock()
		switch {
		case held == nil:
			blind = true // it has not said yet what it holds
			continue
		case !complete:
			held = nil // whoever joins itself may have missed what came after it had fetched
		}
		peers = append(peers, source{p.id, held})
	}
	ask := func(id model.Incarnation, sh model.Shard) {
		if asked[id] == nil {
			asked[id] = &model.ShardSet{}
		}
		asked[id].Add(sh)
	}
	pending.Each(func(sh model.Shard) {
		var holders []model.Incarnation
		for _, p := range peers {
			if p.held.Has(sh) {
				holders = append(holders, p.id)
			}
		}
		switch {
		case len(holders) > 0 && duty.Has(sh):
			for _, id := range holders {
				ask(id, sh)
			}
		case len(holders) > 0:
			ask(holders[int(sh)%len(holders)], sh)
		case blind || wait.Has(sh):
			bare = true
		case len(peers) == 0:
			cold.Add(sh)
		default:
			for _, p := range peers {
				ask(p.id, sh)
			}
		}
	})
	return asked, cold, bare
}

// Missing is how many shards of its duty the member does not hold yet.
func (e *Engine) Missing() int {
	if e.shares == nil {
		return 0
	}
	e.shares.mu.Lock()
	defer e.shares.mu.Unlock()
	return e.shares.duty.Without(e.shares.held.Load()).Count()
}
