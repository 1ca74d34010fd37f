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
)

// Options are what a Hub needs.
type Options struct {
	// Snapshot returns the present answer for a service.
	Snapshot func(model.ServiceKey) *catalog.Snapshot
	Now      func() model.Time
	// Window merges the changes of a service after the first one has gone out.
	Window time.Duration
}

// Hub knows who subscribes to what.
type Hub struct {
	opts Options
	open atomic.Bool // written with mu held

	mu            sync.Mutex // guards all below; a Conn has a lock of its own, never held with this one
	subscribers   map[model.ServiceKey][]*Conn
	windows       map[model.ServiceKey]window
	subscriptions int
}

// window: no push of the service before ends; pending when a change waits for that.
type window struct {
	ends    time.Duration
	pending bool
}

// New returns a hub that pushes nothing until it is opened.
func New(o Options) *Hub {
	return &Hub{opts: o, subscribers: map[model.ServiceKey][]*Conn{}, windows: map[model.ServiceKey]window{}}
}

// SetOpen lets pushes through, or holds them: nothing incomplete is ever pushed. On opening, every subscriber is told
// what it has not seen.
func (h *Hub) SetOpen(open bool) {
	h.mu.Lock()
	was := h.open.Swap(open)
	var keys []model.ServiceKey
	if open && !was {
		for k := range h.subscribers {
			keys = append(keys, k)
		}
	}
	h.mu.Unlock()
	slices.SortFunc(keys, model.ServiceKey.Compare)
	for _, k := range keys {
		h.flush(k)
	}
}

// Notify says that a service may show something else now.
func (h *Hub) Notify(k model.ServiceKey) {
	now := h.opts.Now()
	h.mu.Lock()
	if len(h.subscribers[k]) == 0 || !h.open.Load() {
		h.mu.Unlock()
		return
	}
	w := h.windows[k]
	if now.Mono < w.ends {
		h.windows[k] = window{ends: w.ends, pending: true}
		h.mu.Unlock()
		return
	}
	h.windows[k] = window{ends: now.Mono + h.opts.Window}
	h.mu.Unlock()
	h.flush(k)
}

// Tick sends what waited for the end of its window. It returns when it wants to be called next, at the latest.
func (h *Hub) Tick() (next time.Duration) {
	now := h.opts.Now()
	next = now.Mono + time.Second
	h.mu.Lock()
	var due []model.ServiceKey
	for k, w := range h.windows {
		switch {
		case now.Mono < w.ends:
			next = min(next, w.ends)
		case w.pending:
			h.windows[k] = window{ends: now.Mono + h.opts.Window}
			due = append(due, k)
		default:
			delete(h.windows, k)
		}
	}
	h.mu.Unlock()
	slices.SortFunc(due, model.ServiceKey.Compare)
	for _, k := range due {
		h.flush(k)
	}
	return next
}

// flush puts the service in the slot of each of its subscribers.
func (h *Hub) flush(k model.ServiceKey) {
	h.mu.Lock()
	conns := h.subscribers[k]
	h.mu.Unlock()
	if !h.open.Load() {
		return
	}
	for _, c := range conns {
		c.mark(k)
	}
}

// Subscribe adds or replaces the subscription of a connection. Told must follow once the answer is known.
func (h *Hub) Subscribe(c *Conn, k model.ServiceKey, clusters string) {
	if !c.addSlot(k, clusters) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	// copied: flush walks the old list without the lock
	h.subscribers[k] = append(slices.Clone(h.subscribers[k]), c)
	h.subscriptions++
}

// Unsubscribe removes it, whatever its clusters.
func (h *Hub) Unsubscribe(c *Conn, k model.ServiceKey) {
	if c.dropSlot(k) {
		h.remove(c, k)
	}
}

// Close forgets all subscriptions of a connection.
func (h *Hub) Close(c *Conn) {
	for _, k := range c.dropSlots() {
		h.remove(c, k)
	}
}

func (h *Hub) remove(c *Conn, k model.ServiceKey) {
	h.mu.Lock()
	defer h.mu.Unlock()
	left := slices.DeleteFunc(slices.Clone(h.subscribers[k]), func(o *Conn) bool { return o == c })
	h.subscriptions -= len(h.subscribers[k]) - len(left)
	if len(left) == 0 {
		delete(h.subscribers, k)
		delete(h.windows, k)
		return
	}
	h.subscribers[k] = left
}

// Subscriptions is how many there are.
func (h *Hub) Subscriptions() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.subscriptions
}
