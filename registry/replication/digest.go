package replication

import (
	"time"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
)

// What a pair compares: the shards that both hold, and the records of each one's own publishers in those that only the
// other one holds. Without a replication factor it is everything.

// compareDigests starts the walks down, one for what both hold, one for the other's own records.
func (e *Engine) compareDigests(now model.Time, p *peer, sums []uint64) {
	if len(sums) == 0 {
		return
	}
	shared := sums[0] != e.sharedSum(p)
	var theirs []catalog.ShardSum // what we have of their own
	own := false
	if len(sums) == 2 {
		theirs = e.store.OwnSums(p.id, e.HeldShards().Without(heldOrNone(p)))
		own = sums[1] != sumOf(theirs)
	}
	answers := 0
	if shared {
		answers++
	}
	if own {
		answers++
	}
	if !e.walks(now, p, answers) {
		return
	}
	if shared {
		p.push(item{message: Message{Kind: KindGroups, Sums: e.groupSums(p)}})
	}
	if own {
		m := Message{Kind: KindOrigins}
		for _, s := range theirs {
			m.Shards, m.Sums = append(m.Shards, s.Shard), append(m.Sums, s.Sum)
		}
		p.push(item{message: m})
	}
}

// movingFor is about how long a change is on its way to everybody: then sums differ, whatever is held.
const movingFor = 250 * time.Millisecond

// walks notes the outcome of a digest and reports whether to walk down now: one repair at a time a peer. While changes come without a
// pause all digests differ, and a walk costs more than a thousand of them: the first one leads to a walk, and every fourth after it.
func (e *Engine) walks(now model.Time, p *peer, answers int) bool {
	complete, moving := e.complete(), int64(now.Mono) < e.moving.Load()
	p.mu.Lock()
	defer p.mu.Unlock()
	if answers == 0 {
		p.agreement.equal()
		return false
	}
	p.agreement.unequal()
	// what is on its way in bulk would be sent once more
	if !complete && p.joins() || p.exchanging() || now.Mono-p.lastWalk < digestInterval/2 || moving && p.agreement.patient() {
		return false
	}
	p.lastWalk = now.Mono
	p.agreement.walk(answers)
	return true
}

// differ notes shards that the walk under way has shown to differ, and whether that was the whole answer.
func (p *peer) differ(shards []model.Shard, whole bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.agreement.differ(shards, whole)
}

// compareOwn answers with the versions of our own records in the shards where the peer's sums of them differ: also with none, for
// whoever walks wants to know.
func (e *Engine) compareOwn(p *peer, m Message) {
	if e.shares == nil || len(m.Shards) != len(m.Sums) {
		return
	}
	theirs := make(map[model.Shard]uint64, len(m.Shards))
	for i, sh := range m.Shards {
		theirs[sh] = m.Sums[i]
	}
	self := model.Incarnation(e.self.Load())
	var differ model.ShardSet
	for _, s := range e.store.OwnSums(self, e.onlyThey(p)) {
		if theirs[s.Shard] != s.Sum {
			differ.Add(s.Shard)
		}
		delete(theirs, s.Shard)
	}
	for sh := range theirs {
		differ.Add(sh)
	}
	parts := e.versions(differ.Slice(), self)
	if len(parts) == 0 {
		parts = []Message{{Kind: KindKeys, Owner: self}}
	}
	parts[len(parts)-1].Last = true
	for _, part := range parts {
		p.push(item{message: part})
	}
}

func sumOf(sums []catalog.ShardSum) uint64 {
	var sum uint64
	for _, s := range sums {
		sum += s.Sum
	}
	return sum
}

// digest is what a member says of all that it has in common with a peer.
func (e *Engine) digest(p *peer) []uint64 {
	if e.shares == nil {
		return []uint64{e.store.Sum()}
	}
	return []uint64{e.sharedSum(p), sumOf(e.store.OwnSums(model.Incarnation(e.self.Load()), e.onlyThey(p)))}
}

// shared are the shards that both hold; nil: all.
func (e *Engine) shared(p *peer) *model.ShardSet {
	theirs := p.heldShards()
	switch {
	case e.shares == nil:
		return theirs
	case theirs == nil:
		return e.shares.held.Load()
	}
	return theirs.And(e.shares.held.Load())
}

// onlyThey are the shards that the peer holds and we do not.
func (e *Engine) onlyThey(p *peer) *model.ShardSet {
	return heldOrNone(p).Without(e.shares.held.Load())
}

func heldOrNone(p *peer) *model.ShardSet {
	if held := p.heldShards(); held != nil {
		return held
	}
	return &model.ShardSet{}
}

func (e *Engine) sharedSum(p *peer) uint64 {
	if set := e.shared(p); set != nil {
		return e.store.SumOf(set)
	}
	return e.store.Sum()
}

// sums are those of n shards from the first, 0 where the pair does not compare.
func (e *Engine) sums(p *peer, first model.Shard, n int) []uint64 {
	sums := e.store.Sums(first, n)
	if set := e.shared(p); set != nil {
		for i := range sums {
			if !set.Has(first + model.Shard(i)) {
				sums[i] = 0
			}
		}
	}
	return sums
}
