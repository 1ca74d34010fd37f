package replication

import (
	"cmp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
)

// Share is what a member says of one shard.
type Share struct {
	Shard model.Shard
	// Wanted: it shall hear every change of it. Held: its copy is whole.
	Wanted, Held bool
}

// freshFor is how long what others change is passed on to a member that has just begun to want the shard: their origins
// may not have heard that yet.
const freshFor = 10 * time.Second

// shares are the shards that this member holds copies of: by duty, as a replica; by interest, for its subscribers; and
// those that it keeps until all their replicas hold them. With them come the records of its own publishers, wherever
// their shards belong.
type shares struct {
	// wanted and held are never changed once they are stored; held is a part of wanted.
	wanted, held atomic.Pointer[model.ShardSet]

	mu       sync.Mutex // guards all below, and the stores of the pointers
	duty     *model.ShardSet
	interest *model.ShardSet
	// former are those that were held before the member had to doubt them.
	former *model.ShardSet
	rounds map[uint64]*round
	lastID uint64
}

func newShares() *shares {
	s := &shares{duty: &model.ShardSet{}, interest: &model.ShardSet{}, former: &model.ShardSet{}, rounds: map[uint64]*round{}}
	s.wanted.Store(&model.ShardSet{})
	s.held.Store(&model.ShardSet{})
	return s
}

// want adds to what is wanted, and reports whether that changed anything. Called with the lock held.
func (s *shares) want(more *model.ShardSet) bool {
	w := s.wanted.Load()
	if more.Without(w).Empty() {
		return false
	}
	s.wanted.Store(w.With(more))
	return true
}

// Sharded reports whether members hold a part of the shards only.
func (e *Engine) Sharded() bool { return e.shares != nil }

// Holds reports whether the copy of a shard is whole here.
func (e *Engine) Holds(s model.Shard) bool { return e.shares == nil || e.shares.held.Load().Has(s) }

// SetDuty says which shards the member is a replica of, under which incarnation.
func (e *Engine) SetDuty(self model.Incarnation, duty *model.ShardSet) {
	e.self.Store(uint64(self))
	if e.shares != nil {
		e.wish(&e.shares.duty, duty)
	}
}

// SetInterest says which shards the member has subscribers of.
func (e *Engine) SetInterest(interest *model.ShardSet) {
	if e.shares != nil {
		e.wish(&e.shares.interest, interest)
	}
}

// wish replaces one of the reasons for which shards are wanted, and tells the others what is new of it.
func (e *Engine) wish(reason **model.ShardSet, set *model.ShardSet) {
	e.shares.mu.Lock()
	*reason = set
	changed := e.shares.want(set)
	e.shares.mu.Unlock()
	if changed {
		e.announceShares()
	}
}

// Doubt forgets that any copy is whole: the member has stood still, or was gone.
func (e *Engine) Doubt() {
	if e.shares == nil {
		return
	}
	e.shares.mu.Lock()
	e.shares.doubt(e.shares.held.Load())
	clear(e.shares.rounds)
	e.shares.mu.Unlock()
	e.announceShares()
}

// DoubtBut forgets that the copies are whole of which none of those holds another: they may have changed since they were made.
func (e *Engine) DoubtBut(others []model.Incarnation) {
	if e.shares == nil {
		return
	}
	known := e.heldBy(others)
	e.shares.mu.Lock()
	lost := e.shares.held.Load().Without(known)
	e.shares.doubt(lost)
	e.shares.mu.Unlock()
	if !lost.Empty() {
		e.announceShares()
	}
}

// doubt: what the copies hold is kept. Called with the lock held.
func (s *shares) doubt(lost *model.ShardSet) {
	s.former = s.former.With(lost)
	s.held.Store(s.held.Load().Without(lost))
}

func (e *Engine) announceShares() {
	for _, p := range e.all() {
		p.announce()
	}
}

// announce queues the message whose content is what has changed by the time it is pulled.
func (p *peer) announce() {
	p.mu.Lock()
	p.repeat(Message{Kind: KindOwnership})
	p.mu.Unlock()
	p.ring()
}

// news is what the peer has not been told of our shares. Called while its message is pulled.
func (p *peer) news(s *shares) []Share {
	s.mu.Lock()
	wanted, held := s.wanted.Load(), s.held.Load()
	s.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	changed := wanted.Without(p.toldWanted).With(p.toldWanted.Without(wanted)).With(held.Without(p.toldHeld)).With(p.toldHeld.Without(held))
	p.toldWanted, p.toldHeld = wanted, held
	var out []Share
	changed.Each(func(sh model.Shard) { out = append(out, Share{Shard: sh, Wanted: wanted.Has(sh), Held: held.Has(sh)}) })
	return out
}

// setShares takes in what the peer says of its own.
func (p *peer) setShares(now model.Time, news []Share) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted, held := &model.ShardSet{}, &model.ShardSet{}
	if p.wanted != nil {
		wanted, held = p.wanted.Clone(), p.held.Clone()
	}
	fresh := &model.ShardSet{}
	if p.fresh != nil && now.Mono < p.freshUntil {
		fresh = p.fresh.Clone()
	}
	for _, s := range news {
		if s.Wanted && !wanted.Has(s.Shard) {
			fresh.Add(s.Shard)
			p.freshUntil = now.Mono + freshFor
		}
		set(wanted, s.Shard, s.Wanted)
		set(held, s.Shard, s.Wanted && s.Held)
	}
	p.wanted, p.held, p.fresh = wanted, held, fresh
}

func set(s *model.ShardSet, sh model.Shard, in bool) {
	if in {
		s.Add(sh)
	} else {
		s.Remove(sh)
	}
}

// takes reports whether a change is the peer's business: it wants the shard, or stands behind the record. One that has
// not said what it wants is told everything.
func (p *peer) takes(c catalog.Change) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wanted == nil || p.wanted.Has(c.Key.Service.Shard()) || stands(p.id, c.Old) || stands(p.id, c.New)
}

func stands(id model.Incarnation, r *model.Record) bool {
	return r != nil && (r.Version.Origin == id || r.Key.Publisher.Member == id)
}

// forward passes on what somebody else changed to those that cannot know it yet: where a member has not joined yet, or has just
// begun to want the shard, it may not reach whoever changed that, and our answer was of before. One that joins is told what any
// message brought; one that wants more only what a delta did: it fetches the rest.
func (e *Engine) forward(now model.Time, from model.Incarnation, changes []catalog.Change, delta bool) {
	if len(changes) == 0 {
		return
	}
	complete := e.complete()
	for _, p := range e.all() {
		if p.id == from {
			continue
		}
		lacks := p.lacks(now, complete, e.shares != nil && delta)
		if lacks == nil {
			continue
		}
		for _, c := range changes {
			if lacks.Has(c.Key.Service.Shard()) && !onlyLater(c) {
				p.offerDelta(c.New)
			}
		}
	}
}

// lacks are the shards of which the peer is passed on what others change; nil: of none.
func (p *peer) lacks(now model.Time, ifJoining, ifFresh bool) *model.ShardSet {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case ifJoining && p.heard && !p.status.Complete:
		return cmp.Or(p.wanted, everything)
	case ifFresh && now.Mono < p.freshUntil:
		return p.fresh
	}
	return nil
}

// everything is never changed.
var everything = model.AllShards()

// onlyLater reports whether nothing changed but since when nobody vouches. That travels as an age, and grows younger by the
// time of each hop: passed on and on it would never end.
func onlyLater(c catalog.Change) bool {
	o, n := c.Old, c.New
	return o != nil && o.Version == n.Version && o.Deleted == n.Deleted && o.Unclaimed == n.Unclaimed && o.Answered == n.Answered
}

// accepts reports whether a record that comes in is kept: of a shard that is wanted, of ours, or already here.
func (e *Engine) accepts(r *model.Record) bool {
	return e.shares == nil || e.shares.wanted.Load().Has(r.Key.Service.Shard()) ||
		stands(model.Incarnation(e.self.Load()), r) || e.store.Record(r.Key) != nil
}

// wantsShardOf is what a peer is offered: all that it takes.
func (p *peer) wantsShardOf() func(*model.Record) bool {
	p.mu.Lock()
	wanted := p.wanted
	p.mu.Unlock()
	if wanted == nil {
		return nil
	}
	return func(r *model.Record) bool { return wanted.Has(r.Key.Service.Shard()) || stands(p.id, r) }
}

// partial reports whether the peer has said that it holds a part of the shards only. Called with the lock held.
func (p *peer) partial() bool { return p.wanted != nil && !p.status.Everywhere }

// heldShards are those whose copy the peer says is whole; nil: it has said nothing.
func (p *peer) heldShards() *model.ShardSet {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held
}

// noteOffered remembers what of an offer is answered beside the shards that the peer fetches.
func (p *peer) noteOffered(entries []Entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.partial() {
		return
	}
	for _, en := range entries {
		if en.Record != nil {
			p.offered[en.Record.Key] = true
		}
	}
}

// mergedFor is the merged whole of what was offered: a peer that holds everything gets everything, another one what it
// offered, what it stands behind, and all of the shards that both hold: it may have missed some of that while it was away.
// The shards that it wants beside those it fetches.
func (e *Engine) mergedFor(p *peer) *catalog.Walk {
	p.mu.Lock()
	partial, offered := p.partial(), p.offered
	p.offered = map[model.RecordKey]bool{}
	p.mu.Unlock()
	if !partial {
		return e.store.Walk(nil, nil)
	}
	both := e.shared(p)
	return e.store.Walk(nil, func(r *model.Record) bool {
		return offered[r.Key] || stands(p.id, r) || both.Has(r.Key.Service.Shard())
	})
}

// Show sends a record to a member that does not want its shard.
func (e *Engine) Show(now model.Time, to model.Incarnation, r *model.Record) {
	if p := e.peer(to); p != nil && !p.wants(r.Key.Service.Shard()) {
		p.push(item{message: Message{Kind: KindShown, Entries: []Entry{entry(now, r)}}})
	}
}

func (p *peer) wants(sh model.Shard) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wanted == nil || p.wanted.Has(sh)
}

// SendRecords queues an answer whose records are cut into messages; the last one has Last.
func (e *Engine) SendRecords(to model.Incarnation, m Message, records []*model.Record) {
	if p := e.peer(to); p != nil {
		p.push(item{message: m, records: records, bulk: true})
	}
}
