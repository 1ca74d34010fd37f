package push

import (
	"slices"
	"sync"
	"time"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
)

// ItemKind says what the connection's writer shall do.
type ItemKind uint8

// Kinds of item.
const (
	// ItemNotify: send the snapshot, and expect an acknowledgement.
	ItemNotify ItemKind = iota
	// ItemDetect: ask the client for a sign of life.
	ItemDetect
	// ItemReset: ask the client to connect elsewhere.
	ItemReset
	// ItemClose: end the stream and the transport.
	ItemClose
)

// Item is one thing to write.
type Item struct {
	Kind ItemKind
	// ID is the request id that the acknowledgement carries.
	ID uint64
	// Clusters is what the subscription asked for.
	Clusters string
	Snapshot *catalog.Snapshot
}

// Conn is what waits for one connection. Its one writer calls Next until there is nothing, then waits for Wake.
type Conn struct {
	hub  *Hub
	wake chan struct{} // size 1

	mu      sync.Mutex // guards all below
	slots   map[model.ServiceKey]*slot
	marked  []model.ServiceKey
	control []ItemKind
	closed  bool // ItemClose is taken: nothing else comes
	left    bool // forgotten by the hub: it subscribes to nothing any more
	lastID  uint64
	waiting []waiting // in the order of time
}

// slot holds no list: the newest is read when it is sent.
type slot struct {
	clusters string
	// told is the content revision that the client was told last; pending is the id that waits for its acknowledgement.
	told    int64
	pending uint64
	marked  bool
}

type waiting struct {
	id    uint64
	key   model.ServiceKey
	until time.Duration
}

// Open returns the outbox of a new connection.
func (h *Hub) Open() *Conn {
	return &Conn{hub: h, wake: make(chan struct{}, 1), slots: map[model.ServiceKey]*slot{}}
}

// Wake rings when there is something to pull.
func (c *Conn) Wake() <-chan struct{} { return c.wake }

func (c *Conn) ring() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Do queues a control item; after ItemClose nothing else comes.
func (c *Conn) Do(k ItemKind) {
	c.mu.Lock()
	if !slices.Contains(c.control, k) {
		c.control = append(c.control, k)
	}
	c.mu.Unlock()
	c.ring()
}

// Next returns what to write now.
func (c *Conn) Next() (Item, bool) {
	for {
		key, item, more := c.take()
		if !more {
			return Item{}, false
		}
		if item.Kind != ItemNotify {
			return item, true
		}
		if item, ok := c.fill(key, c.hub.opts.Snapshot(key)); ok {
			return item, true
		}
	}
}

// take returns a control item, or the next marked service.
func (c *Conn) take() (model.ServiceKey, Item, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return model.ServiceKey{}, Item{}, false
	}
	if i := slices.Index(c.control, ItemClose); i >= 0 {
		c.closed = true
		return model.ServiceKey{}, Item{Kind: ItemClose}, true
	}
	if len(c.control) > 0 {
		k := c.control[0]
		c.control = c.control[1:]
		c.lastID++
		return model.ServiceKey{}, Item{Kind: k, ID: c.lastID}, true
	}
	if len(c.marked) == 0 || !c.hub.open.Load() {
		return model.ServiceKey{}, Item{}, false
	}
	k := c.marked[0]
	c.marked = c.marked[1:]
	if s := c.slots[k]; s != nil {
		s.marked = false
	}
	return k, Item{}, true
}

// fill turns a snapshot into a push, unless the client was told it already, or the hub was closed while it was read:
// opening marks the service again.
func (c *Conn) fill(k model.ServiceKey, snap *catalog.Snapshot) (Item, bool) {
	now := c.hub.opts.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.slots[k]
	if s == nil || snap.Content() <= s.told || !c.hub.open.Load() {
		return Item{}, false
	}
	c.lastID++
	s.told, s.pending = snap.Content(), c.lastID
	c.waiting = append(c.waiting, waiting{id: c.lastID, key: k, until: now.Mono + ackTimeout})
	return Item{Kind: ItemNotify, ID: c.lastID, Clusters: s.clusters, Snapshot: snap}, true
}

// Ack takes in the answer to a push.
func (c *Conn) Ack(id uint64, ok bool) {
	now := c.hub.opts.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, w := range c.waiting {
		if w.id != id {
			continue
		}
		c.waiting = slices.Delete(c.waiting, i, i+1)
		s := c.slots[w.key]
		if s == nil || s.pending != id {
			return
		}
		if ok {
			s.pending = 0
			return
		}
		c.waiting = append(c.waiting, waiting{id: id, key: w.key, until: now.Mono + retryDelay})
		return
	}
}

// Retry sends again what was not acknowledged in time.
func (c *Conn) Retry() {
	now := c.hub.opts.Now()
	c.mu.Lock()
	rung := false
	c.waiting = slices.DeleteFunc(c.waiting, func(w waiting) bool {
		if now.Mono < w.until {
			return false
		}
		if s := c.slots[w.key]; s != nil && s.pending == w.id {
			s.told, s.pending = 0, 0
			c.markLocked(w.key, s)
			rung = true
		}
		return true
	})
	c.mu.Unlock()
	if rung {
		c.ring()
	}
}

// Told notes what the answer to a subscription showed; content 0 = nothing, reads are not open. A push of the same that
// was not acknowledged is not sent again: its revision is older than the answer's.
func (c *Conn) Told(k model.ServiceKey, content int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.slots[k]; s != nil && content >= s.told {
		s.told, s.pending = content, 0
	}
}

func (c *Conn) mark(k model.ServiceKey) {
	c.mu.Lock()
	if s := c.slots[k]; s != nil {
		c.markLocked(k, s)
	}
	c.mu.Unlock()
	c.ring()
}

func (c *Conn) markLocked(k model.ServiceKey, s *slot) {
	if !s.marked {
		s.marked = true
		c.marked = append(c.marked, k)
	}
}

// addSlot reports whether the subscription is new.
func (c *Conn) addSlot(k model.ServiceKey, clusters string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left {
		return false
	}
	if s := c.slots[k]; s != nil {
		s.clusters = clusters
		return false
	}
	c.slots[k] = &slot{clusters: clusters}
	return true
}

func (c *Conn) dropSlot(k model.ServiceKey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.slots[k]
	if s == nil {
		return false
	}
	if s.marked { // whoever subscribes and unsubscribes all day leaves nothing behind
		c.marked = slices.DeleteFunc(c.marked, func(m model.ServiceKey) bool { return m == k })
	}
	delete(c.slots, k)
	return true
}

func (c *Conn) dropSlots() []model.ServiceKey {
	c.mu.Lock()
	defer c.mu.Unlock()
	keys := make([]model.ServiceKey, 0, len(c.slots))
	for k := range c.slots {
		keys = append(keys, k)
	}
	c.slots, c.marked, c.waiting, c.left = map[model.ServiceKey]*slot{}, nil, nil, true
	return keys
}
