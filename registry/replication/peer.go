package replication

import (
	"slices"
	"sync"
	"time"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
)

const (
	// statusInterval is how often a member tells its state when nothing changes.
	statusInterval = time.Second
	// digestInterval is the round of anti-entropy.
	digestInterval = 3 * time.Second
	// maxDeltas bounds the outbox: what overflows is left to anti-entropy.
	maxDeltas = 100_000
	// chunk is how many records or versions go into one message.
	chunk = 500
	// budget is how many bytes of them, as Record.Size counts; a larger record goes alone.
	budget = 1 << 20
	// pullBatch is how many messages one pull returns at most.
	pullBatch = 8
)

// peer is the outbox and the cursors of one stream.
type peer struct {
	id   model.Incarnation
	wake chan struct{} // size 1

	mu sync.Mutex // guards all below
	// deltas holds the newest state of each changed record, in the order of first change.
	deltas map[model.RecordKey]*model.Record
	order  []model.RecordKey
	queue  []item
	// beats wait to be relayed together.
	beats []Beat

	sent, acked uint64 // of ours
	seen, told  uint64 // of theirs: taken in, acknowledged

	status       Status
	heard        bool
	heardAt      time.Duration
	gaps         int // how often it fell silent for longer than heardWithin
	nextStatus   time.Duration
	nextDigest   time.Duration
	lastWalk     time.Duration
	agreement    agreement
	exchange     uint64
	exchangeDone bool
	exchangeGaps int // gaps when it began
	// answeredCompare is their exchange that the keys were sent of.
	answeredCompare uint64

	// wanted and held are what the peer says of its shards, fresh those that it has begun to want a moment ago: never changed once
	// stored. nil: it has said nothing.
	wanted, held, fresh *model.ShardSet
	freshUntil          time.Duration
	// toldWanted and toldHeld are what it was told of ours.
	toldWanted, toldHeld *model.ShardSet
	// offered are the keys of its offer that it does not want the whole shard of.
	offered map[model.RecordKey]bool
}

// item is a message to come, or records that are cut into messages when they are pulled: a slow peer holds pointers, not copies.
type item struct {
	message Message
	records []*model.Record
	bulk    bool
	// walk gives more records when these have been sent, nil at its end.
	walk *catalog.Walk
}

func newPeer(id model.Incarnation, now model.Time) *peer {
	return &peer{
		id: id, wake: make(chan struct{}, 1), deltas: map[model.RecordKey]*model.Record{},
		agreement:    newAgreement(),
		exchangeDone: true, // nothing is offered yet, so nothing can be merged
		toldWanted:   &model.ShardSet{}, toldHeld: &model.ShardSet{}, offered: map[model.RecordKey]bool{},
		heardAt: now.Mono, nextStatus: now.Mono + statusInterval, nextDigest: now.Mono + digestInterval, lastWalk: now.Mono - digestInterval,
	}
}

func (p *peer) ring() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *peer) push(items ...item) {
	p.mu.Lock()
	p.queue = append(p.queue, items...)
	p.mu.Unlock()
	p.ring()
}

// tell queues a status that has changed in the place of one that waits: where many members start at once it changes with
// each that is heard of.
func (p *peer) tell(s Status) {
	p.mu.Lock()
	p.unqueue(KindStatus)
	p.queue = append(p.queue, item{message: Message{Kind: KindStatus, Status: s}})
	p.mu.Unlock()
	p.ring()
}

func (p *peer) offerDelta(r *model.Record) {
	p.mu.Lock()
	if _, queued := p.deltas[r.Key]; !queued {
		if len(p.order) >= maxDeltas {
			p.deltas, p.order = map[model.RecordKey]*model.Record{}, nil
			p.agreement.broken()
		}
		p.order = append(p.order, r.Key)
	}
	// two writers may arrive here in the other order than at the store
	p.deltas[r.Key], _ = model.Merge(p.deltas[r.Key], r)
	p.mu.Unlock()
	p.ring()
}

// maxBeats bounds what waits to be relayed: a beat that is dropped is followed by the next one in seconds.
const maxBeats = 100_000

func (p *peer) addBeat(b Beat) {
	p.mu.Lock()
	if len(p.beats) < maxBeats {
		p.beats = append(p.beats, b)
	}
	p.mu.Unlock()
	p.ring()
}

// setStatus: one that is a replica of everything does not speak of shards.
func (p *peer) setStatus(s Status, sharded bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status, p.heard = s, true
	if !sharded || !s.Everywhere {
		return
	}
	p.wanted, p.held = model.AllShards(), &model.ShardSet{}
	if s.Complete {
		p.held = model.AllShards()
	}
}

// taken notes what the message says of both cursors.
func (p *peer) taken(now model.Time, m Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Mono-p.heardAt > heardWithin {
		p.gaps++
	}
	p.heardAt = now.Mono
	p.seen = max(p.seen, m.Seq)
	p.acked = max(p.acked, m.Ack)
}

// silences is how often the peer fell silent so far.
func (p *peer) silences() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gaps
}

func (p *peer) tick(now model.Time, s Status) {
	p.mu.Lock()
	rung := false
	if now.Mono >= p.nextStatus || p.seen > p.told && len(p.queue) == 0 && len(p.order) == 0 {
		p.nextStatus = now.Mono + statusInterval
		// only acknowledging a status would go on for ever
		p.told = p.seen
		p.repeat(Message{Kind: KindStatus, Status: s})
		rung = true
	}
	if now.Mono >= p.nextDigest {
		p.nextDigest = now.Mono + digestInterval
		if s.Complete || !p.joins() {
			p.repeat(Message{Kind: KindDigest})
			rung = true
		}
	}
	p.mu.Unlock()
	if rung {
		p.ring()
	}
}

// repeat queues what is said again and again, unless it waits already: a stalled peer holds one. Called with the lock held.
func (p *peer) repeat(m Message) {
	if !slices.ContainsFunc(p.queue, func(it item) bool { return it.message.Kind == m.Kind }) {
		p.queue = append(p.queue, item{message: m})
	}
}

func (p *peer) drained() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	queued := slices.ContainsFunc(p.queue, func(it item) bool { return it.message.Kind.counted() })
	return len(p.order) == 0 && len(p.beats) == 0 && !queued && p.acked >= p.sent
}

// counted: it carries data, which is acknowledged.
func (k Kind) counted() bool { return k != KindStatus && k != KindDigest && k != KindOwnership }

// pull returns the next messages: deltas first, so that a beat or a question never overtakes the record that it is about.
func (p *peer) pull(e *Engine, now model.Time) []Message {
	p.refill()
	cut := p.cutMessages()
	if len(cut) == 0 {
		return nil // whoever pulls goes on until there is nothing
	}
	ms := make([]Message, 0, len(cut))
	for _, c := range cut {
		ms = e.fill(ms, now, c)
	}
	return ms
}

// fill gives a message its records, with the successors that they must not overtake. Those did not count when the messages were
// cut: where they come to a megabyte it goes out in parts, of which the last one is counted.
func (e *Engine) fill(ms []Message, now model.Time, it item) []Message {
	m, more := it.message, 0
	for _, r := range it.records {
		had := len(m.Entries)
		m.Entries = e.withSuccessors(now, m.Entries, r)
		added := 0
		for i := had; i < len(m.Entries)-1; i++ {
			added += m.Entries[i].Record.Size()
		}
		if more += added; more > budget && had > 0 {
			part := m
			part.Entries, part.Last, part.Seq = m.Entries[:had:had], false, m.Seq-1
			ms = append(ms, part)
			m.Entries, m.Want, more = m.Entries[had:], nil, added
		}
	}
	return append(ms, m)
}

// refill gives the first message more of its records, enough for one pull. The store is read without the lock: the message
// may be void by then.
func (p *peer) refill() {
	for {
		p.mu.Lock()
		var walk *catalog.Walk
		if len(p.queue) > 0 && len(p.queue[0].records) < pullBatch*chunk {
			walk = p.queue[0].walk
		}
		p.mu.Unlock()
		if walk == nil {
			return
		}
		more := walk.Next()
		p.mu.Lock()
		if len(p.queue) > 0 && p.queue[0].walk == walk {
			head := &p.queue[0]
			head.records = append(head.records, more...)
			if len(more) == 0 {
				head.walk = nil
			}
		}
		p.mu.Unlock()
	}
}

// cutMessages takes records and messages out of the outbox, without looking anything up: the store has locks of its own.
func (p *peer) cutMessages() []item {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ms []item
	for len(p.order) > 0 && len(ms) < pullBatch {
		it := item{message: p.stamp(Message{Kind: KindDelta})}
		n := fitting(len(p.order), func(i int) *model.Record { return p.deltas[p.order[i]] })
		for _, k := range p.order[:n] {
			it.records = append(it.records, p.deltas[k])
			delete(p.deltas, k)
		}
		p.order = p.order[n:]
		ms = append(ms, it)
	}
	if len(p.beats) > 0 && len(ms) < pullBatch {
		n := min(len(p.beats), 10*chunk)
		ms = append(ms, item{message: p.stamp(Message{Kind: KindBeats, Beats: p.beats[:n:n]})})
		p.beats = p.beats[n:]
	}
	for len(p.queue) > 0 && len(ms) < pullBatch {
		head := &p.queue[0]
		if head.walk != nil && len(head.records) == 0 {
			break // the next pull has more
		}
		out := item{message: head.message, records: head.records}
		if head.bulk {
			n := fitting(len(head.records), func(i int) *model.Record { return head.records[i] })
			out.records, head.records = head.records[:n], head.records[n:]
			out.message.Last = len(head.records) == 0 && head.walk == nil
			head.message.Want = nil // asked for once
		}
		if !head.bulk || out.message.Last {
			p.queue = p.queue[1:]
		}
		out.message = p.stamp(out.message)
		ms = append(ms, out)
	}
	if len(p.queue) == 0 {
		p.queue = nil // it was long for a moment, and there is one for each peer
	}
	return ms
}

// fitting is how many of the next n records go into one message: no more than a chunk, and within the budget.
func fitting(n int, next func(i int) *model.Record) int {
	size := 0
	for i := range min(n, chunk) {
		if size += next(i).Size(); size > budget && i > 0 {
			return i
		}
	}
	return min(n, chunk)
}

// stamp counts messages that carry data, and acknowledges on all.
func (p *peer) stamp(m Message) Message {
	if m.Kind.counted() {
		p.sent++
		m.Seq = p.sent
	}
	m.Ack = p.seen
	p.told = p.seen
	return m
}
