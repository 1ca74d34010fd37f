package member

import (
	"time"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
	"github.com/muster-registry/muster/registry/ring"
)

// With a replication factor a member holds the shards that it is a replica of, those that it has subscribers of, and the
// records of its own publishers. What it does not hold it never answers from: it asks a member that does.

// sharding is what a member knows of its shards beside the engine. Guarded by the member's lock.
type sharding struct {
	interest interest
	// owned is the duty that was computed last, dutyOf over which ring.
	owned  *model.ShardSet
	dutyOf uint64
	// bare is since when there is no copy in reach of some shard that is wanted; 0: there is.
	bare time.Duration
	// grown is closed when more shards are held, and made anew.
	grown chan struct{}
	// lookups wait for another member's answer.
	lookups map[uint64]*lookup
}

// lookup is a question that another member has been asked.
type lookup struct {
	answer chan<- found // size 1
	parts  found        // so far
	since  model.Time
}

// found is what a member that holds a shard answered.
type found struct {
	Known   bool
	Records []*model.Record
	Names   []string
}

func newSharding() sharding {
	return sharding{interest: interest{shards: &model.ShardSet{}, asked: &model.ShardSet{}}, grown: make(chan struct{}), lookups: map[uint64]*lookup{}}
}

// duty are the shards that the member is a replica of, or will be once it is complete: it holds them before it says so.
// Called with the lock held.
func (m *Member) duty(v *model.View) *model.ShardSet {
	if !m.tracker.Listed() {
		return &model.ShardSet{} // in a view of itself alone it would want everything, and fetch that
	}
	r := m.ring
	if m.self.State == model.StateStarting {
		r = ring.New(whenComplete(v), m.opts.ReplicationFactor)
	}
	if m.sharding.owned == nil || m.sharding.dutyOf != r.Hash() {
		m.sharding.owned, m.sharding.dutyOf = r.Owned(m.self.Incarnation), r.Hash()
	}
	return m.sharding.owned
}

// whenComplete is the view as it will be when its owner is complete, with those that are. Where nobody is yet all that
// start are counted.
func whenComplete(v *model.View) *model.View {
	complete := false
	for _, p := range v.Members {
		complete = complete || p.State == model.StateComplete
	}
	ms := make([]model.Member, len(v.Members))
	for i, p := range v.Members {
		if p.Incarnation == v.Self && complete {
			p.State = model.StateComplete
		}
		ms[i] = p
	}
	return model.NewView(v.Self, ms, v.Frozen)
}

// blind reports whether some member that may hold a copy of a shard cannot be asked: it is out of reach, or an old view does not
// know it, which shows by a complete member that sees others than we do. Called with the lock held.
func (m *Member) blind(now model.Time) bool {
	if !m.tracker.Listed() || m.unmet(now.Mono-m.life.joined >= m.opts.Timeouts.Bootstrap) != "" {
		return true
	}
	old := (m.tracker.View().Frozen || !m.life.listed) && !m.opts.Policy.Alone
	others := m.others()
	for _, p := range others {
		said := m.life.said[p.Incarnation]
		if !m.life.up[p.Incarnation] || old && said.Complete && said.ViewHash != m.ring.Hash() {
			return true
		}
	}
	for _, p := range m.tracker.Estranged() {
		if p.State != model.StateStarting {
			return true
		}
	}
	return len(others) == 0 && (old || m.tracker.MayMiss(now))
}

// fetch asks for what is wanted and not held.
func (m *Member) fetch(now model.Time) {
	if !m.engine.Sharded() {
		return
	}
	m.mu.Lock()
	blind := m.blind(now)
	// A shard that has lost all its copies starts cold by itself: what its clients still hold must not be wiped by a list
	// of those few that have registered again already.
	cautious := (m.life.readsOpen || len(m.others()) > 0) && (m.sharding.bare == 0 || now.Mono-m.sharding.bare < m.opts.Timeouts.ColdStartLimit)
	m.mu.Unlock()
	held, bare := m.engine.Fetch(replication.FetchRules{HoldersMayBeAway: blind, WaitForCopy: cautious})
	m.mu.Lock()
	switch {
	case !bare:
		m.sharding.bare = 0
	case m.sharding.bare == 0:
		m.sharding.bare = now.Mono
	}
	m.mu.Unlock()
	m.grew(held)
}

// others are the other members that are more than starting. Called with the lock held.
func (m *Member) others() []model.Member {
	var others []model.Member
	for _, p := range m.tracker.View().Members {
		if p.Incarnation != m.self.Incarnation && p.State != model.StateStarting {
			others = append(others, p)
		}
	}
	return others
}

// grew takes shards to their subscribers whose copy is whole from now on.
func (m *Member) grew(held *model.ShardSet) {
	if held == nil || held.Empty() {
		return
	}
	m.mu.Lock()
	close(m.sharding.grown)
	m.sharding.grown = make(chan struct{})
	m.mu.Unlock()
	m.hub.Refresh(func(k model.ServiceKey) bool { return held.Has(k.Shard()) })
}

// interested notes a subscription: the shard is fetched, and kept up to date.
func (m *Member) interested(now model.Time, sh model.Shard) {
	if !m.engine.Sharded() {
		return
	}
	m.mu.Lock()
	more := m.sharding.interest.add(sh)
	if more {
		m.engine.SetInterest(m.sharding.interest.shards) // with the lock held: no older one comes after it
	}
	m.mu.Unlock()
	if more {
		m.fetch(now)
	}
}

// tidyShards forgets the interest of those that have gone, and shards that others hold.
func (m *Member) tidyShards(now model.Time) {
	if !m.engine.Sharded() {
		return
	}
	m.mu.Lock()
	m.sharding.interest.ask()
	m.mu.Unlock()
	subscribed := &model.ShardSet{}
	for _, k := range m.hub.Services() {
		subscribed.Add(k.Shard())
	}
	m.mu.Lock()
	m.sharding.interest.answered(subscribed)
	m.engine.SetInterest(m.sharding.interest.shards)
	complete, r := m.life.complete && m.self.State == model.StateComplete, m.ring
	for id, l := range m.sharding.lookups {
		if now.Sub(l.since) > lookupMemory {
			delete(m.sharding.lookups, id)
		}
	}
	m.mu.Unlock()
	if complete {
		m.session.Forget(m.engine.Release(now, r))
	}
}

// Holds reports whether the member answers for a service from its own copy.
func (m *Member) Holds(k model.ServiceKey) bool { return m.engine.Holds(k.Shard()) }

// fromCopy returns what read makes of the member's copy of a service; false: it has no whole one. A shard that is given up
// while it is read looks like services without instances, so that what is held is looked at again afterwards. Release takes a
// shard out of it before it evicts the records: while the set is the same, so are the copies.
func fromCopy[T any](m *Member, k model.ServiceKey, read func() T) (got T, whole bool) {
	for {
		held := m.engine.HeldShards()
		if !held.Has(k.Shard()) {
			return got, false
		}
		if got := read(); m.engine.HeldShards() == held {
			return got, true
		}
	}
}

// HeldShards are those whose copy is whole here.
func (m *Member) HeldShards() *model.ShardSet { return m.engine.HeldShards() }

// mayDisown reports whether who is not in the copy of a service is told so, and then registers again. Where there is no copy
// it must be told too: a shard that starts cold would open without those that only beat.
func (m *Member) mayDisown(now model.Time, k model.ServiceKey) bool {
	if m.Holds(k) {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sharding.bare != 0 && now.Mono-m.sharding.bare >= m.opts.Timeouts.ColdStartQuiet
}

// grown is closed when the member holds more shards than now.
func (m *Member) grown() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sharding.grown
}

// holders are the members in reach that hold a service, by incarnation.
func (m *Member) holders(k model.ServiceKey) []model.Incarnation {
	return m.engine.Holders(m.enter(), k.Shard())
}

// ask puts a question to another member: for a service, or with an empty name for the names of a group. The answer comes on
// the channel, if it comes.
func (m *Member) ask(to model.Incarnation, k model.ServiceKey) <-chan found {
	now := m.enter()
	answer := make(chan found, 1)
	m.mu.Lock()
	m.lastID++
	id := m.lastID
	m.sharding.lookups[id] = &lookup{answer: answer, since: now}
	m.mu.Unlock()
	m.engine.Send(to, replication.Message{Kind: replication.KindLookups, Lookups: []replication.Lookup{{ID: id, Service: k}}})
	return answer
}

// compose makes an answer of what another member holds, and of what our own publishers say, which may be newer.
func (m *Member) compose(k model.ServiceKey, f found) *catalog.Snapshot {
	now := m.enter()
	return catalog.Compose(k, f.Known || m.store.Known(k), append(f.Records, m.store.Service(k)...), m.hlc.Read(now).Millis())
}

// takeLookups answers others from what this member holds.
func (m *Member) takeLookups(from model.Incarnation, lookups []replication.Lookup) {
	for _, l := range lookups {
		switch {
		case !m.ReadsOpen():
		case l.Service.Name == "":
			m.sendNames(from, l.ID, m.store.Names(l.Service.Namespace, l.Service.Group))
		default:
			f, whole := fromCopy(m, l.Service, func() found {
				return found{Known: m.store.Known(l.Service), Records: m.store.Service(l.Service)}
			})
			if whole {
				m.engine.SendRecords(from, replication.Message{Kind: replication.KindFound, Exchange: l.ID, Known: f.Known}, f.Records)
			}
		}
	}
}

func (m *Member) takeFound(f *replication.Message) {
	if f == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.sharding.lookups[f.Exchange]
	if l == nil {
		return
	}
	for _, en := range f.Entries {
		l.parts.Records = append(l.parts.Records, en.Record)
	}
	l.parts.Names = append(l.parts.Names, f.Names...)
	if f.Last {
		delete(m.sharding.lookups, f.Exchange)
		l.parts.Known = f.Known
		l.answer <- l.parts
	}
}

// maxNames is how many bytes of names go into one message.
const maxNames = 1 << 20

// sendNames answers a lookup, in parts: a group may have more names than a frame holds.
func (m *Member) sendNames(to model.Incarnation, lookup uint64, names []string) {
	for last := false; !last; {
		n, size := 0, 0
		for ; n < len(names) && size < maxNames; n++ {
			size += len(names[n])
		}
		last = n == len(names)
		m.engine.Send(to, replication.Message{Kind: replication.KindFound, Exchange: lookup, Last: last, Known: true, Names: names[:n:n]})
		names = names[n:]
	}
}
