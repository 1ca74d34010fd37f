package replication

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
)

// Options are what an Engine needs.
type Options struct {
	Store *catalog.Store
	HLC   *model.HLC
	// Sharded: members hold a part of the shards only (SetDuty, SetInterest).
	Sharded bool
}

// Engine holds what each peer has to hear.
type Engine struct {
	store  *catalog.Store
	hlc    *model.HLC
	self   atomic.Uint64
	shares *shares // nil: every member is a replica of everything
	// moving is until when changes that were made here or told by a peer are taken to be on their way.
	moving atomic.Int64

	mu     sync.Mutex // guards peers and status, not what is inside a peer
	peers  []*peer    // sorted by incarnation
	status Status
}

// Input is what a message means to the member beyond the catalog.
type Input struct {
	// Changes are the records that it changed here.
	Changes []catalog.Change
	// Status is set when the peer told its state.
	Status *Status
	// Merged: the answer to our offer is complete.
	Merged bool
	// Late: it came through a stream that stalled, so that it may be old.
	Late      bool
	Beats     []Beat
	Answers   []BeatAnswer
	Questions []Question
	Alive     []Question
	// Gone: we were gone from the peer's view.
	Gone bool
	// Left: the peer has stopped.
	Left bool
	// Held are shards whose copy is whole from now on.
	Held *model.ShardSet
	// Found answers the lookup of that id.
	Found   *Message
	Lookups []Lookup
	// Shown are older records of publishers of ours, Withdraw orders that were passed on.
	Shown    []*model.Record
	Withdraw []model.RecordKey
}

// New returns an engine without peers.
func New(o Options) *Engine {
	e := &Engine{store: o.Store, hlc: o.HLC, status: Status{Protocol: ProtocolVersion}}
	if o.Sharded {
		e.shares = newShares()
	}
	return e
}

// PeerUp opens an empty outbox for a stream that has just come up. What was queued for an older stream is dropped: the
// digests find it. The channel rings when there is something to pull.
func (e *Engine) PeerUp(now model.Time, id model.Incarnation) <-chan struct{} {
	p := newPeer(id, now)
	e.mu.Lock()
	status := e.status
	if i, ok := e.find(id); ok {
		e.peers[i] = p
	} else {
		e.peers = slices.Insert(e.peers, i, p)
	}
	e.mu.Unlock()
	p.push(item{message: Message{Kind: KindStatus, Status: status}})
	if e.shares != nil {
		e.shares.lost(id)
		p.push(item{message: Message{Kind: KindOwnership}})
	}
	if status.Complete { // else we shall offer: there is nothing to compare before that is answered
		p.push(item{message: Message{Kind: KindDigest}})
	}
	return p.wake
}

// PeerDown forgets the stream, and then what it was asked for: a Fetch that knew the stream has noted by then that it asked.
func (e *Engine) PeerDown(id model.Incarnation) {
	e.mu.Lock()
	if i, ok := e.find(id); ok {
		e.peers = slices.Delete(e.peers, i, i+1)
	}
	e.mu.Unlock()
	if e.shares != nil {
		e.shares.lost(id)
	}
}

// find is called with the lock held.
func (e *Engine) find(id model.Incarnation) (int, bool) {
	return slices.BinarySearchFunc(e.peers, id, func(p *peer, id model.Incarnation) int { return cmp.Compare(p.id, id) })
}

func (e *Engine) peer(id model.Incarnation) *peer {
	e.mu.Lock()
	defer e.mu.Unlock()
	if i, ok := e.find(id); ok {
		return e.peers[i]
	}
	return nil
}

func (e *Engine) all() []*peer {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.peers)
}

// Connected reports whether a stream with the member is open.
func (e *Engine) Connected(id model.Incarnation) bool { return e.peer(id) != nil }

// heardWithin is how long a stream may be silent until its peer counts as out of reach: a status comes every second, and
// the stream itself notices a cut only after its keepalive.
const heardWithin = 2500 * time.Millisecond

// InReach reports whether the member was heard a moment ago.
func (e *Engine) InReach(now model.Time, id model.Incarnation) bool {
	return e.HeardSince(id, now.Mono-heardWithin)
}

// HeardSince reports whether the member was heard at that time or later. What it said before has come too: a stream is in order.
func (e *Engine) HeardSince(id model.Incarnation, at time.Duration) bool {
	p := e.peer(id)
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heardAt >= at
}

// PeerStatus is what the member said last of itself. ok is false before that, and without a stream.
func (e *Engine) PeerStatus(id model.Incarnation) (s Status, ok bool) {
	p := e.peer(id)
	if p == nil {
		return Status{}, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status, p.heard
}

// Agreed reports whether a digest of this stream was equal, or no shard differed in two walks in a row; whether no two digests have
// differed since without a walk to explain them, and nothing was dropped.
func (e *Engine) Agreed(id model.Incarnation) bool {
	p := e.peer(id)
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.agreement.agreed
}

// SetStatus changes what peers are told, at once. Connections come and go all the time: their number waits for its turn.
func (e *Engine) SetStatus(s Status) {
	s.Protocol = ProtocolVersion
	e.mu.Lock()
	was := e.status
	was.Connections = s.Connections
	same := was == s
	e.status = s
	e.mu.Unlock()
	if same {
		return
	}
	for _, p := range e.all() {
		p.tell(s)
	}
}

// Update writes a record here and queues the result for every peer that takes it. decide is catalog.Store.Update's.
func (e *Engine) Update(now model.Time, key model.RecordKey, decide func(cur *model.Record) *model.Record) []catalog.Change {
	changes := e.store.Update(now, key, decide)
	if len(changes) > 0 {
		e.moving.Store(int64(now.Mono + movingFor))
	}
	for _, c := range changes {
		for _, p := range e.all() {
			// what it supersedes goes with it, where the whole shard goes
			if c.Key == key && p.takes(c) || c.Key != key && e.shares != nil && stands(p.id, c.Old) {
				p.offerDelta(c.New)
			}
		}
	}
	return changes
}

// Send queues a message for a peer; false = no stream.
func (e *Engine) Send(to model.Incarnation, m Message) bool {
	p := e.peer(to)
	if p == nil {
		return false
	}
	p.push(item{message: m})
	return true
}

// Relay queues a beat for the member that is responsible for it; those that wait together travel together.
func (e *Engine) Relay(to model.Incarnation, b Beat) bool {
	p := e.peer(to)
	if p == nil {
		return false
	}
	p.addBeat(b)
	return true
}

// Tick sends what is due: a status once a second, acknowledgements sooner, a digest every few seconds.
func (e *Engine) Tick(now model.Time) {
	e.mu.Lock()
	status := e.status
	e.mu.Unlock()
	for _, p := range e.all() {
		p.tick(now, status)
	}
}

// Drained reports whether every peer has taken in all that was queued for it.
func (e *Engine) Drained() bool {
	for _, p := range e.all() {
		if !p.drained() {
			return false
		}
	}
	return true
}

// Pull returns the next messages for a peer, in order; nil when there is nothing.
func (e *Engine) Pull(now model.Time, id model.Incarnation) []Message {
	p := e.peer(id)
	if p == nil {
		return nil
	}
	ms := p.pull(e, now)
	for i := range ms {
		switch ms[i].Kind {
		case KindDigest:
			ms[i].Sums = e.digest(p)
		case KindCompare:
			ms[i].Sums = e.allSums(p)
		case KindOwnership:
			ms[i].Shares = p.news(e.shares)
		}
		ms[i].Stamp = e.hlc.Read(now)
	}
	return ms
}

// Receive takes in one message of a peer.
func (e *Engine) Receive(now model.Time, from model.Incarnation, m Message) Input {
	e.hlc.Observe(now, m.Stamp)
	p := e.peer(from)
	if p == nil {
		return Input{}
	}
	p.taken(now, m)
	var in Input
	switch m.Kind {
	case KindStatus:
		p.setStatus(m.Status, e.shares != nil)
		in.Status = &m.Status
	case KindDelta:
		e.moving.Store(int64(now.Mono + movingFor))
		in.Changes = e.apply(now, m.Entries)
	case KindOffer:
		p.noteOffered(m.Entries)
		in.Changes = e.apply(now, m.Entries)
		if m.Last {
			p.answerOffer(m.Exchange, e.mergedFor(p))
		}
	case KindCompare, KindCompared, KindSettled:
		e.receiveCompare(p, m)
	case KindMerged:
		in.Changes = e.apply(now, m.Entries)
		if m.Last {
			done, late := p.merged(m.Exchange)
			in.Merged, in.Late = done && !late, done && late
		}
		if in.Merged {
			p.push(item{message: Message{Kind: KindDigest}})
		}
	case KindDigest, KindGroups, KindShards, KindKeys, KindRepair, KindOrigins:
		in.Changes = e.stepWalk(now, p, m)
	case KindOwnership:
		p.setShares(now, m.Shares)
	case KindFetch:
		p.push(item{message: Message{Kind: KindFetched, Exchange: m.Exchange}, walk: e.store.Walk(model.ShardsOf(m.Shards...), nil), bulk: true})
	case KindFetched:
		in.Changes = e.apply(now, m.Entries)
		if m.Last && e.shares != nil {
			if in.Held = e.shares.answered(m.Exchange, p); in.Held != nil {
				e.announceShares()
			}
		}
	case KindLookups:
		in.Lookups = m.Lookups
	case KindFound:
		in.Found = &m
	case KindShown:
		for _, en := range m.Entries {
			if en.Record != nil {
				in.Shown = append(in.Shown, en.received(now))
			}
		}
	case KindWithdraw:
		in.Withdraw = m.Want
	case KindBeats:
		in.Beats = m.Beats
	case KindBeatAnswers:
		in.Answers = m.Answers
	case KindAsk:
		in.Questions = m.Questions
	case KindAlive:
		in.Alive = m.Questions
	case KindGone:
		in.Gone = true
	case KindLeave:
		in.Left = true
	}
	e.forward(now, from, in.Changes, m.Kind == KindDelta)
	return in
}

// apply merges what came in.
func (e *Engine) apply(now model.Time, entries []Entry) []catalog.Change {
	changes := make([]catalog.Change, 0, len(entries))
	for _, en := range entries {
		if en.Record != nil && e.accepts(en.Record) {
			changes = e.store.AppendApply(changes, now, en.received(now))
		}
	}
	return changes
}

// withSuccessors adds a record to what travels, and ahead of it the successors that it must not overtake.
func (e *Engine) withSuccessors(now model.Time, entries []Entry, r *model.Record) []Entry {
	chain := []*model.Record{r}
	for last := r; last.Deleted && last.Successor() != nil && len(chain) <= maxSuccession; {
		next := e.store.Record(model.RecordKey{Publisher: *last.Successor(), Service: last.Key.Service})
		if next == nil && !e.Holds(r.Key.Service.Shard()) {
			return entries // who holds the successor tells of both
		}
		if next == nil {
			break
		}
		if slices.ContainsFunc(entries, func(e Entry) bool { return e.Record == next }) {
			break // it is ahead, with those that it must not overtake
		}
		chain = append(chain, next)
		last = next
	}
	for i := len(chain) - 1; i >= 0; i-- {
		entries = append(entries, entry(now, chain[i]))
	}
	return entries
}

// maxSuccession bounds how far the moves of one publisher are followed.
const maxSuccession = 16

// received is the record as it is kept here: its age becomes a time of our own clock.
func (en Entry) received(now model.Time) *model.Record {
	if en.Record.Unclaimed == model.Vouched {
		return en.Record
	}
	return en.Record.WithUnclaimed(en.Record.Unclaimed, now.Mono-max(en.Age, 0))
}

// entry makes a record ready to travel.
func entry(now model.Time, r *model.Record) Entry {
	if r.Unclaimed == model.Vouched {
		return Entry{Record: r}
	}
	return Entry{Record: r, Age: max(now.Mono-r.Since, time.Duration(0))}
}
