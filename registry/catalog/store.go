package catalog

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-registry/muster/registry/model"
)

const (
	stripeCount     = 64
	shardsPerStripe = model.ShardCount / stripeCount
)

// Options are what a Store needs.
type Options struct {
	// Revise returns the member's clock in milliseconds since 1970, for the revisions that clients see.
	Revise func(now model.Time) int64
	// OnChange is told, with no lock held, that a service may show something else now.
	OnChange func(model.ServiceKey)
	// TombstoneLifetime is how long a removal is remembered.
	TombstoneLifetime time.Duration
	// PerOrigin keeps sums of each origin's records, for members that hold a part of the shards only.
	PerOrigin bool
}

// ServiceLinger is how long a service without instances is still listed (nacos-protocol §4.10).
const ServiceLinger = 60 * time.Second

// Store holds all records of a member.
type Store struct {
	opts    Options
	stripes [stripeCount]stripe

	// root is the sum over all shards.
	root      atomic.Uint64
	instances atomic.Int64
	listed    atomic.Int64
}

// stripe holds the services of every stripeCount-th shard.
type stripe struct {
	mu       sync.Mutex // guards everything below, and the services' fields
	services model.ByService[*service]
	filled   tally
	sums     [shardsPerStripe]uint64
	own      map[ownKey]uint64 // nil without PerOrigin
	// tombstones and emptied are in the order of time, so that a sweep looks at what is due only.
	tombstones model.Queue[tombstone]
	emptied    model.Queue[emptied]
}

// tombstone is one that waits to be forgotten, and since when.
type tombstone struct {
	record *model.Record
	at     time.Duration
}

// emptied is since when a service has had no instance.
type emptied struct {
	service *service
	at      time.Duration
}

// Change is what a write did to one record. Old and New are nil where there was or is none.
type Change struct {
	Key      model.RecordKey
	Old, New *model.Record
}

// New returns an empty store.
func New(o Options) *Store {
	s := &Store{opts: o}
	for i := range s.stripes {
		if o.PerOrigin {
			s.stripes[i].own = map[ownKey]uint64{}
		}
	}
	return s
}

func (s *Store) stripe(k model.ServiceKey) (*stripe, model.Shard) {
	shard := k.Shard()
	return &s.stripes[shard%stripeCount], shard
}

// Apply merges a record that came from elsewhere.
func (s *Store) Apply(now model.Time, r *model.Record) []Change { return s.AppendApply(nil, now, r) }

// AppendApply is Apply for many in a row: it adds what changed to changes.
func (s *Store) AppendApply(changes []Change, now model.Time, r *model.Record) []Change {
	return s.write(changes, now, r.Key, func(model.ServiceKey, *model.Record) *model.Record { return r })
}

// Update merges what decide makes of the present record (nil: none), nil for no change. decide is called under the lock, and
// must not call back. What it makes is new and the store's from then on: the records of one service share its names.
func (s *Store) Update(now model.Time, key model.RecordKey, decide func(cur *model.Record) *model.Record) []Change {
	return s.write(nil, now, key, func(names model.ServiceKey, cur *model.Record) *model.Record {
		r := decide(cur)
		if r != nil && r != cur {
			r.Key.Service = names
		}
		return r
	})
}

// write is the one way in. What the result supersedes is removed in the same step. It adds what it changed to changes.
func (s *Store) write(
	changes []Change, now model.Time, key model.RecordKey, decide func(names model.ServiceKey, cur *model.Record) *model.Record,
) []Change {
	before := len(changes)
	st, shard := s.stripe(key.Service)
	st.mu.Lock()
	var cur *model.Record
	names := key.Service
	svc := st.services.Get(key.Service)
	if svc != nil {
		cur, names = svc.record(key.Publisher), svc.key
	}
	r := decide(names, cur)
	if r == nil {
		st.mu.Unlock()
		return changes
	}
	if svc == nil {
		svc = st.service(key.Service)
	}
	changes = s.merge(st, shard, svc, now, r, changes)
	for _, sup := range r.Supersedes() {
		successor := key.Publisher
		k := model.RecordKey{Publisher: sup.Publisher, Service: svc.key}
		tomb := &model.Record{Key: k, Version: sup.Version, Deleted: true, Rare: model.NewSuccession(nil, &successor)}
		changes = s.merge(st, shard, svc, now, tomb, changes)
	}
	shown := slices.ContainsFunc(changes[before:], Change.shows)
	if shown {
		svc.stale = true
	}
	st.mu.Unlock()
	if shown && s.opts.OnChange != nil {
		s.opts.OnChange(key.Service)
	}
	return changes
}

// shows reports whether clients may see a difference. Knowledge beside the version is none.
func (c Change) shows() bool {
	oldLive, newLive := c.Old != nil && !c.Old.Deleted, c.New != nil && !c.New.Deleted
	return oldLive != newLive || newLive && c.Old.Version != c.New.Version
}

// service returns the entry, making it when it is missing. Called with the lock held.
func (st *stripe) service(k model.ServiceKey) *service {
	svc := st.services.Get(k)
	if svc == nil {
		svc = &service{key: k}
		st.services.Put(svc)
		st.filled.add(k.Shard())
	}
	return svc
}

// merge puts one record in and keeps sums, counts and queues in step. Called with the lock held.
func (s *Store) merge(st *stripe, shard model.Shard, svc *service, now model.Time, r *model.Record, changes []Change) []Change {
	old := svc.record(r.Key.Publisher)
	w, changed := model.Merge(old, r)
	if !changed {
		return changes
	}
	svc.put(w)
	delta := w.Digest() - old.Digest()
	st.sums[shard/stripeCount] += delta
	s.root.Add(delta)
	st.sumOwn(shard, old, w)
	if w.Deleted {
		st.tombstones.Add(tombstone{record: w, at: now.Mono})
	}
	s.count(st, svc, now, old, w)
	return append(changes, Change{Key: r.Key, Old: old, New: w})
}

func (s *Store) count(st *stripe, svc *service, now model.Time, old, w *model.Record) {
	before, after := old.Shows(), w.Shows()
	s.instances.Add(int64(after - before))
	switch {
	case before == 0 && after > 0:
		svc.live++
		if !svc.listed {
			svc.listed = true
			s.listed.Add(1)
		}
	case before > 0 && after == 0:
		svc.live--
		if svc.live == 0 {
			svc.emptySince = now.Mono
			st.emptied.Add(emptied{service: svc, at: now.Mono})
		}
	}
}

// Record returns what the store holds for a key, tombstones too; nil for nothing.
func (s *Store) Record(k model.RecordKey) *model.Record {
	st, _ := s.stripe(k.Service)
	st.mu.Lock()
	defer st.mu.Unlock()
	if svc := st.services.Get(k.Service); svc != nil {
		return svc.record(k.Publisher)
	}
	return nil
}

// Lives reports whether there is a record for a key that is no tombstone.
func (s *Store) Lives(k model.RecordKey) bool {
	r := s.Record(k)
	return r != nil && !r.Deleted
}

// Service returns the records of one service, tombstones too, sorted by publisher.
func (s *Store) Service(k model.ServiceKey) []*model.Record {
	st, _ := s.stripe(k)
	st.mu.Lock()
	defer st.mu.Unlock()
	if svc := st.services.Get(k); svc != nil {
		return slices.Clone(svc.records)
	}
	return nil
}

// Collect returns all records, tombstones too, that keep says yes to (nil: all), in a fixed order.
func (s *Store) Collect(keep func(*model.Record) bool) []*model.Record {
	return s.Walk(nil, keep).rest()
}

// Sum is the sum over all shards: equal on members that hold the same live records.
func (s *Store) Sum() uint64 { return s.root.Load() }

// Sums returns the sums of n shards from the first. Every stripe is locked once.
func (s *Store) Sums(first model.Shard, n int) []uint64 {
	sums := make([]uint64, n)
	for i := range min(n, stripeCount) {
		st := &s.stripes[(int(first)+i)%stripeCount]
		st.mu.Lock()
		for k := i; k < n; k += stripeCount {
			sums[k] = st.sums[(int(first)+k)/stripeCount]
		}
		st.mu.Unlock()
	}
	return sums
}

// InShards returns the records of those shards, tombstones too, in a fixed order.
func (s *Store) InShards(shards []model.Shard) []*model.Record {
	return s.Walk(model.ShardsOf(shards...), nil).rest()
}

// Sweep forgets tombstones and services whose time is over.
func (s *Store) Sweep(now model.Time) {
	for i := range s.stripes {
		st := &s.stripes[i]
		st.mu.Lock()
		s.sweepEmptied(st, now)
		s.sweepTombstones(st, now)
		st.mu.Unlock()
	}
}

func (s *Store) sweepEmptied(st *stripe, now model.Time) {
	due := func(e emptied) bool { return now.Mono-e.at >= ServiceLinger }
	for e, ok := st.emptied.Take(due); ok; e, ok = st.emptied.Take(due) {
		svc := e.service
		if svc.live > 0 || svc.emptySince != e.at {
			continue
		}
		if svc.listed {
			svc.listed = false
			s.listed.Add(-1)
			svc.stale = true
		}
		st.dropIfForgotten(svc)
	}
}

func (s *Store) sweepTombstones(st *stripe, now model.Time) {
	due := func(t tombstone) bool { return now.Mono-t.at >= s.opts.TombstoneLifetime }
	for t, ok := st.tombstones.Take(due); ok; t, ok = st.tombstones.Take(due) {
		if svc := st.services.Get(t.record.Key.Service); svc != nil && svc.forget(t.record) {
			st.dropIfForgotten(svc)
		}
	}
}

func (st *stripe) dropIfForgotten(svc *service) {
	if len(svc.records) == 0 && !svc.listed && st.services.Get(svc.key) == svc { // else it was forgotten before
		st.services.Remove(svc.key)
		st.filled.remove(svc.key.Shard())
	}
}

// Instances is how many instances the records publish.
func (s *Store) Instances() int { return int(s.instances.Load()) }

// Services is how many services are listed.
func (s *Store) Services() int { return int(s.listed.Load()) }
