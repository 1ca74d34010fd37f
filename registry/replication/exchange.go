package replication

import (
	"slices"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
)

// An exchange makes a member that joins, and one that it joins, hold what either held. One that may hold little offers all
// of it and is sent the whole; one that holds nearly everything compares sums, and only what differs goes either way.

// Offer starts an exchange with a peer: all that we hold goes there, and the merged whole comes back.
func (e *Engine) Offer(to model.Incarnation) {
	if p := e.peer(to); p != nil {
		p.begin(item{message: Message{Kind: KindOffer}, walk: e.store.Walk(nil, p.wantsShardOf()), bulk: true})
	}
}

// Compare starts one with a peer whose status says that it compares: the keys of the shards that differ come back, and
// then what they call for.
func (e *Engine) Compare(to model.Incarnation) {
	if p := e.peer(to); p != nil {
		p.begin(item{message: Message{Kind: KindCompare}})
	}
}

// begin takes the place of an older exchange that is not begun yet: only the answer to the newest counts.
func (p *peer) begin(it item) {
	p.mu.Lock()
	p.exchange++
	p.exchangeDone, p.exchangeGaps = false, p.gaps
	p.unqueue(KindOffer, KindCompare)
	it.message.Exchange = p.exchange
	p.queue = append(p.queue, it)
	p.mu.Unlock()
	p.ring()
}

// receiveCompare takes in what members that compare say beside keys and repairs.
func (e *Engine) receiveCompare(p *peer, m Message) {
	switch m.Kind {
	case KindCompare:
		if len(m.Sums) == CompareSums {
			p.answerCompare(m.Exchange, e.versions(e.unlike(p, m.Sums), 0))
		}
	case KindCompared: // the repairs that the keys called for wait ahead of this
		if p.open(m.Exchange) {
			p.push(item{message: Message{Kind: KindSettled, Exchange: m.Exchange}})
		}
	case KindSettled: // and those that the repairs called for ahead of that
		if p.settled(m.Exchange) {
			p.push(item{message: Message{Kind: KindMerged, Exchange: m.Exchange, Last: true}}, item{message: Message{Kind: KindDigest}})
		}
	}
}

// unlike are the shards whose records or tombstones differ.
func (e *Engine) unlike(p *peer, theirs []uint64) []model.Shard {
	var shards []model.Shard
	ours := e.allSums(p)
	for i := range model.ShardCount {
		if ours[i] != theirs[i] || ours[model.ShardCount+i] != theirs[model.ShardCount+i] {
			shards = append(shards, model.Shard(i))
		}
	}
	return shards
}

// allSums are those of the records of each shard, then those of the tombstones, which are not kept up: few ask for them.
func (e *Engine) allSums(p *peer) []uint64 {
	sums := append(e.sums(p, 0, model.ShardCount), make([]uint64, model.ShardCount)...)
	tombstones := sums[model.ShardCount:]
	walk := e.store.Walk(e.shared(p), func(r *model.Record) bool { return r.Deleted })
	for part := walk.Next(); len(part) > 0; part = walk.Next() {
		for _, r := range part {
			killed := model.Record{Key: r.Key, Version: r.Version} // a tombstone has no digest
			tombstones[r.Key.Service.Shard()] += killed.Digest()
		}
	}
	return sums
}

// answerOffer takes the place of an older answer: that is void.
func (p *peer) answerOffer(exchange uint64, records *catalog.Walk) {
	p.queueAnswer(
		item{message: Message{Kind: KindMerged, Exchange: exchange}, walk: records, bulk: true},
		item{message: Message{Kind: KindDigest}}, // of what both hold then
	)
}

// answerCompare likewise.
func (p *peer) answerCompare(exchange uint64, keys []Message) {
	var items []item
	for _, m := range keys {
		m.Exchange = exchange
		items = append(items, item{message: m})
	}
	p.mu.Lock()
	p.answeredCompare = exchange
	p.mu.Unlock()
	p.queueAnswer(append(items, item{message: Message{Kind: KindCompared, Exchange: exchange}})...)
}

func (p *peer) queueAnswer(items ...item) {
	p.mu.Lock()
	p.unqueue(KindMerged, KindCompared, KindDigest)
	p.queue = append(p.queue, items...)
	p.mu.Unlock()
	p.ring()
}

// unqueue drops what is void. Called with the lock held.
func (p *peer) unqueue(kinds ...Kind) {
	p.queue = slices.DeleteFunc(p.queue, func(it item) bool { return slices.Contains(kinds, it.message.Kind) })
}

// exchanging reports whether offers or answers are under way, or records that were fetched. Called with the lock held.
func (p *peer) exchanging() bool {
	return !p.exchangeDone || slices.ContainsFunc(p.queue, func(it item) bool { return it.walk != nil })
}

// joins: we, not being complete, have an exchange with the peer before us. All differs till then, and is no disagreement.
// Called with the lock held.
func (p *peer) joins() bool { return p.exchange == 0 || !p.exchangeDone }

// open reports whether this is the exchange that is under way.
func (p *peer) open(exchange uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return exchange == p.exchange && !p.exchangeDone
}

// settled reports, once, whether this is the exchange of the peer that was answered last.
func (p *peer) settled(exchange uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if exchange == 0 || exchange != p.answeredCompare {
		return false
	}
	p.answeredCompare = 0
	return true
}

// merged reports whether this ends the newest exchange; late: the peer fell silent meanwhile. A stream that stalls keeps what was
// sent, so that the answer may have been made before that, and what has changed since comes behind it.
func (p *peer) merged(exchange uint64) (done, late bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if exchange != p.exchange || p.exchangeDone {
		return false, false
	}
	p.exchangeDone = true
	return true, p.gaps != p.exchangeGaps
}

// complete reports whether we are, as peers are told.
func (e *Engine) complete() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.status.Complete
}
