package replication

import (
	"slices"

	"github.com/muster-registry/muster/registry/model"
)

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

// FetchRules say what Fetch does about a shard that nobody in reach holds.
type FetchRules struct {
	// HoldersMayBeAway: some member that may hold a copy cannot be reached, so that the shard is waited for; else there is no copy
	// of it, and it begins with what the others hold of their own publishers.
	HoldersMayBeAway bool
	// WaitForCopy: it is waited for in any case, unless this member held it before.
	WaitForCopy bool
}

// Fetch asks for the shards that are wanted and not held. It returns those that are held from now on, and whether it waits for
// some of which there is no copy in reach.
func (e *Engine) Fetch(rules FetchRules) (held *model.ShardSet, waits bool) {
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
	await := &model.ShardSet{}
	if rules.WaitForCopy {
		await = pending.Without(s.former)
	}
	s.mu.Unlock()
	from := e.sources(pending, duty, await, rules.HoldersMayBeAway)
	shards := &model.ShardSet{}
	for _, set := range from.asked {
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
		if set := from.asked[p.id]; set != nil {
			r.shards, r.open[p.id], r.gaps[p.id] = r.shards.With(set), set, p.silences()
			p.push(item{message: Message{Kind: KindOwnership}}, item{message: Message{Kind: KindFetch, Exchange: s.lastID + 1, Shards: set.Slice()}})
		}
	}
	if len(r.open) > 0 {
		s.lastID++
		s.rounds[s.lastID] = r
	}
	if from.nobody.Empty() {
		return nil, from.waits
	}
	held = from.nobody.And(s.wanted.Load())
	s.held.Store(s.held.Load().With(held))
	return held, from.waits
}

// sources are whom to ask for what.
type sources struct {
	asked map[model.Incarnation]*model.ShardSet
	// nobody is what nobody is there to be asked for; waits: there is a shard without a copy in reach, which is waited for.
	nobody *model.ShardSet
	waits  bool
}

func (s *sources) ask(id model.Incarnation, sh model.Shard) {
	if s.asked[id] == nil {
		s.asked[id] = &model.ShardSet{}
	}
	s.asked[id].Add(sh)
}

// sources asks all complete members that hold a shard of our duty, one that holds a shard of our interest; where nobody does,
// everybody, unless the shard is waited for: those of await, and all while somebody may be away that holds it.
func (e *Engine) sources(pending, duty, await *model.ShardSet, away bool) sources {
	held := map[model.Incarnation]*model.ShardSet{}
	var ids []model.Incarnation
	for _, p := range e.all() {
		p.mu.Lock()
		says, complete := p.held, p.status.Complete
		p.mu.Unlock()
		if says == nil {
			away = true // it has not said yet what it holds
			continue
		}
		ids = append(ids, p.id)
		if complete { // whoever joins itself may have missed what came after it had fetched
			held[p.id] = says
		}
	}
	s := sources{asked: map[model.Incarnation]*model.ShardSet{}, nobody: &model.ShardSet{}}
	var holders []model.Incarnation
	pending.Each(func(sh model.Shard) {
		holders = slices.DeleteFunc(append(holders[:0], ids...), func(id model.Incarnation) bool { return !held[id].Has(sh) })
		switch {
		case len(holders) > 0 && duty.Has(sh):
			for _, id := range holders {
				s.ask(id, sh)
			}
		case len(holders) > 0:
			s.ask(holders[int(sh)%len(holders)], sh)
		case away || await.Has(sh):
			s.waits = true
		case len(ids) == 0:
			s.nobody.Add(sh)
		default:
			for _, id := range ids {
				s.ask(id, sh)
			}
		}
	})
	return s
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
