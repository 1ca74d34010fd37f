// Package push tells subscribers what changed: the first change of a service at once, more within the window merged
// into one. Each connection has one slot a service that holds only "newest": memory is bounded whatever a slow reader
// does. No goroutine: the adapter's connection writer pulls.
package push

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
)

const (
	// ackTimeout is how long a push waits to be acknowledged until it is sent again, retryDelay the same after a refusal
	// (nacos-protocol §3.5).
	ackTimeout = 5 * time.Second
	retryDelay = time.Second
	// stripeCount is how many locks the services share.
	stripeCount = 64
)

// Options are what a Hub needs.
type Options struct {
	// Snapshot returns the present answer for a service, Answer the same stamped now: for a client that was told nothing here yet,
	// and may hold a later list of another member (trap 5).
	Snapshot, Answer func(model.ServiceKey) *catalog.Snapshot
	Now              func() model.Time
	// Window merges the changes of a service after the first one has gone out.
	Window time.Duration
}

// Hub knows who subscribes to what.
type Hub struct {
	opts          Options
	open          atomic.Bool
	subscriptions atomic.Int64
	// begun rings when a window begins; size 1.
	begun   chan struct{}
	stripes [stripeCount]stripe
}

// stripe holds the services of every stripeCount-th shard.
type stripe struct {
	mu     sync.Mutex // guards all below and what its topics hold; never held with the lock of a Conn
	topics map[model.ServiceKey]*topic
	// active are the topics whose window has not ended.
	active []*topic
}

// topic is a service that somebody subscribes to.
type topic struct {
	key model.ServiceKey
	// slots are those of its subscribers, in no order; each knows its place.
	slots []*slot
	// No push before ends; pending when a change waits for that.
	ends    time.Duration
	pending bool
	active  bool
}

// New returns a hub that pushes nothing until it is opened.
func New(o Options) *Hub {
	h := &Hub{opts: o, begun: make(chan struct{}, 1)}
	for i := range h.stripes {
		h.stripes[i].topics = map[model.ServiceKey]*topic{}
	}
	return h
}

func (h *Hub) stripe(k model.ServiceKey) *stripe { return &h.stripes[k.Shard()%stripeCount] }

// SetOpen lets pushes through, or holds them: nothing incomplete is ever pushed. On opening, every subscriber is told
// what it has not seen.
func (h *Hub) SetOpen(open bool) {
	// A change that found the hub closed was in the catalog before the walk below begins, and a subscription that the
	// walk does not meet is answered after it began: nobody misses either.
	if was := h.open.Swap(open); was || !open {
		return
	}
	for i := range h.stripes {
		st := &h.stripes[i]
		st.mu.Lock()
		all := make([]*topic, 0, len(st.topics))
		for _, t := range st.topics {
			all = append(all, t)
		}
		st.mu.Unlock()
		slices.SortFunc(all, func(a, b *topic) int { return a.key.Compare(b.key) })
		for _, t := range all {
			h.flush(st, t)
		}
	}
}

// Notify says that a service may show something else now.
func (h *Hub) Notify(k model.ServiceKey) {
	if h.subscriptions.Load() == 0 || !h.open.Load() {
		return
	}
	now := h.opts.Now()
	st := h.stripe(k)
	st.mu.Lock()
	t := st.topics[k]
	if t == nil {
		st.mu.Unlock()
		return
	}
	if now.Mono < t.ends {
		t.pending = true
		st.mu.Unlock()
		return
	}
	st.begin(t, now.Mono+h.opts.Window)
	st.mu.Unlock()
	select {
	case h.begun <- struct{}{}:
	default:
	}
	h.flush(st, t)
}

// begin starts a window. Called with the lock held.
func (st *stripe) begin(t *topic, ends time.Duration) {
	t.ends, t.pending = ends, false
	if !t.active {
		t.active = true
		st.active = append(st.active, t)
	}
}

// Begun rings when a window begins: Tick is wanted again.
func (h *Hub) Begun() <-chan struct{} { return h.begun }

// Tick sends what waited for the end of its window. It returns how long until the next one ends; idle: there is none,
// until Begun rings.
func (h *Hub) Tick() (next time.Duration, idle bool) {
	now := h.opts.Now()
	next = -1
	var due []*topic
	for i := range h.stripes {
		st := &h.stripes[i]
		st.mu.Lock()
		due = st.due(due[:0], now.Mono, now.Mono+h.opts.Window)
		for _, t := range st.active {
			if left := t.ends - now.Mono; next < 0 || left < next {
				next = left
			}
		}
		st.mu.Unlock()
		for _, t := range due {
			h.flush(st, t)
		}
	}
	return max(next, 0), next < 0
}

// due takes out the topics whose window has ended; those that a change waits for are returned, and begin another.
// Called with the lock held.
func (st *stripe) due(due []*topic, now, ends time.Duration) []*topic {
	st.active = slices.DeleteFunc(st.active, func(t *topic) bool {
		switch {
		case now < t.ends:
			return false
		case t.pending:
			t.ends, t.pending = ends, false
			due = append(due, t)
			return false
		}
		t.active = false
		return true
	})
	if len(st.active) == 0 {
		st.active = nil // a peak is given back
	}
	return due
}

// flush marks the service at each of its subscribers. The walk is from the last to the first, so that a subscriber that
// takes the place of another, who left meanwhile, is one that was marked already, or is still to come.
func (h *Hub) flush(st *stripe, t *topic) {
	var batch [64]*slot
	for rest := -1; rest != 0 && h.open.Load(); {
		st.mu.Lock()
		if rest < 0 || rest > len(t.slots) {
			rest = len(t.slots)
		}
		from := max(rest-len(batch), 0)
		n := copy(batch[:], t.slots[from:rest])
		st.mu.Unlock()
		for i := n - 1; i >= 0; i-- {
			batch[i].conn.mark(batch[i])
		}
		rest = from
	}
}

// Subscribe adds or replaces the subscription of a connection. Told must follow once the answer is known.
func (h *Hub) Subscribe(c *Conn, k model.ServiceKey, clusters string) {
	s, added := c.addSlot(k, clusters)
	if !added {
		return
	}
	st := h.stripe(k)
	st.mu.Lock()
	defer st.mu.Unlock()
	if s.place == placeGone { // unsubscribed meanwhile
		return
	}
	t := st.topics[k]
	if t == nil {
		t = &topic{key: k}
		st.topics[k] = t
	}
	s.topic, s.place = t, len(t.slots)
	t.slots = append(t.slots, s)
	h.subscriptions.Add(1)
}

// Unsubscribe removes it, whatever its clusters.
func (h *Hub) Unsubscribe(c *Conn, k model.ServiceKey) {
	if s := c.dropSlot(k); s != nil {
		h.remove(s)
	}
}

// Close forgets all subscriptions of a connection.
func (h *Hub) Close(c *Conn) {
	for _, s := range c.dropSlots() {
		h.remove(s)
	}
}

// remove takes a slot out of its topic. The last one takes its place.
func (h *Hub) remove(s *slot) {
	st := h.stripe(s.key)
	st.mu.Lock()
	defer st.mu.Unlock()
	t := s.topic
	if t == nil { // Subscribe has not come so far yet, and will see that
		s.place = placeGone
		return
	}
	last := len(t.slots) - 1
	t.slots[s.place] = t.slots[last]
	t.slots[s.place].place = s.place
	t.slots[last] = nil
	t.slots = t.slots[:last]
	h.subscriptions.Add(-1)
	switch {
	case last == 0:
		delete(st.topics, t.key)
		t.ends, t.pending = 0, false // its window ends with the next tick
	case cap(t.slots) > 64 && last < cap(t.slots)/4:
		t.slots = slices.Clone(t.slots) // a peak is given back
	}
}

// Subscriptions is how many there are.
func (h *Hub) Subscriptions() int { return int(h.subscriptions.Load()) }
