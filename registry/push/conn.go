package push

import (
	"cmp"
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

// Conn is what waits for one connection. Its one writer calls Next until there is nothing, then waits to be woken.
type Conn struct {
	hub *Hub

	mu      sync.Mutex // guards all below
	onWake  func()
	rung    bool // before anybody could hear it
	slots   map[model.ServiceKey]*slot
	marked  []*slot
	control []ItemKind
	closed  bool // ItemClose is taken: nothing else comes
	left    bool // forgotten by the hub: it subscribes to nothing any more
	lastID  uint64
	waiting map[uint64]*slot // by the id of the push that waits for its acknowledgement: one a slot
}

// slot is one subscription. It holds no list: the newest is read when it is sent.
type slot struct {
	conn *Conn
	key  model.ServiceKey

	// Guarded by the connection's lock. told is the content revision that the client was told last; pending is the id that
	// waits for its acknowledgement, until a time.
	clusters string
	told     int64
	pending  uint64
	until    time.Duration
	marked   bool
	dropped  bool

	// Guarded by the stripe's lock: where the hub has it.
	topic *topic
	place int
}

// placeGone is the place of a slot that was removed.
const placeGone = -1

// Open returns the outbox of a new connection.
func (h *Hub) Open() *Conn {
	return &Conn{hub: h}
}

// OnWake has wake called, with no lock held, when there is something to pull: also now, if there is. It must not block.
// An idle connection needs no goroutine that waits.
func (c *Conn) OnWake(wake func()) {
	c.mu.Lock()
	c.onWake = wake
	rung := c.rung
	c.rung = false
	c.mu.Unlock()
	if rung {
		wake()
	}
}

// ring is called without the lock.
func (c *Conn) ring() {
	c.mu.Lock()
	wake := c.onWake
	if wake == nil {
		c.rung = true
	}
	c.mu.Unlock()
	if wake != nil {
		wake()
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

// Closing reports whether the connection is to end, or is ending: whoever waits for its client to read need not any more.
func (c *Conn) Closing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed || slices.Contains(c.control, ItemClose)
}

// Next returns what to write now.
func (c *Conn) Next() (Item, bool) {
	for {
		s, item, more := c.take()
		if !more {
			return Item{}, false
		}
		if s == nil {
			return item, true
		}
		read := c.hub.opts.Snapshot
		if c.toldNothing(s) {
			read = c.hub.opts.Answer
		}
		if item, ok := c.fill(s, read(s.key)); ok {
			return item, true
		}
	}
}

// take returns the next marked service, or a control item.
func (c *Conn) take() (*slot, Item, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, Item{}, false
	}
	if slices.Contains(c.control, ItemClose) {
		c.closed = true
		return nil, Item{Kind: ItemClose}, true
	}
	if len(c.control) > 0 {
		k := c.control[0]
		c.control = c.control[1:]
		c.lastID++
		return nil, Item{Kind: k, ID: c.lastID}, true
	}
	if len(c.marked) == 0 || !c.hub.open.Load() {
		return nil, Item{}, false
	}
	s := c.marked[0]
	if c.marked = c.marked[1:]; len(c.marked) == 0 {
		c.marked = nil
	}
	s.marked = false
	return s, Item{}, true
}

func (c *Conn) toldNothing(s *slot) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return s.told == 0
}

// fill turns a snapshot into a push, unless the client was told it already, or the hub was closed while it was read:
// opening marks the service again.
func (c *Conn) fill(s *slot, snap *catalog.Snapshot) (Item, bool) {
	now := c.hub.opts.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.dropped || snap.Content() <= s.told || !c.hub.open.Load() {
		return Item{}, false
	}
	c.lastID++
	s.told = snap.Content()
	c.await(s, c.lastID, now.Mono+ackTimeout)
	return Item{Kind: ItemNotify, ID: c.lastID, Clusters: s.clusters, Snapshot: snap}, true
}

// await lets a slot wait for the acknowledgement of one push, 0 = none. An older push of it needs none any more. Called
// with the lock held.
func (c *Conn) await(s *slot, id uint64, until time.Duration) {
	if s.pending != 0 {
		delete(c.waiting, s.pending)
	}
	s.pending, s.until = id, until
	if id == 0 {
		return
	}
	if c.waiting == nil {
		c.waiting = map[uint64]*slot{}
	}
	c.waiting[id] = s
}

// Ack takes in the answer to a push.
func (c *Conn) Ack(id uint64, ok bool) {
	now := c.hub.opts.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.waiting[id]
	switch {
	case s == nil:
	case ok:
		c.await(s, 0, 0)
	default:
		s.until = now.Mono + retryDelay
	}
}

// Retry sends again what was not acknowledged in time.
func (c *Conn) Retry() {
	c.mu.Lock()
	var late []*slot
	if len(c.waiting) > 0 {
		late = c.late(c.hub.opts.Now().Mono)
	}
	for _, s := range late {
		c.await(s, 0, 0)
		s.told = 0
		c.markLocked(s)
	}
	c.mu.Unlock()
	if len(late) > 0 {
		c.ring()
	}
}

// late are the slots whose time to be acknowledged is over, in the order of their pushes. Called with the lock held.
func (c *Conn) late(now time.Duration) []*slot {
	var late []*slot
	for _, s := range c.waiting {
		if now >= s.until {
			late = append(late, s)
		}
	}
	slices.SortFunc(late, func(a, b *slot) int { return cmp.Compare(a.pending, b.pending) })
	return late
}

// Told notes what the answer to a subscription showed; content 0 = nothing, reads are not open. A push of the same that
// was not acknowledged is not sent again: its revision is older than the answer's.
func (c *Conn) Told(k model.ServiceKey, content int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.slots[k]; s != nil && content >= s.told {
		s.told = content
		c.await(s, 0, 0)
	}
}

func (c *Conn) mark(s *slot) {
	c.mu.Lock()
	c.markLocked(s)
	c.mu.Unlock()
	c.ring()
}

func (c *Conn) markLocked(s *slot) {
	if !s.marked && !s.dropped {
		s.marked = true
		c.marked = append(c.marked, s)
	}
}

// addSlot returns the slot of the subscription, and whether it is new.
func (c *Conn) addSlot(k model.ServiceKey, clusters string) (*slot, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left {
		return nil, false
	}
	if s := c.slots[k]; s != nil {
		s.clusters = clusters
		return s, false
	}
	s := &slot{conn: c, key: k, clusters: clusters}
	if c.slots == nil {
		c.slots = map[model.ServiceKey]*slot{}
	}
	c.slots[k] = s
	return s, true
}

// dropSlot returns the slot that is no more, nil when there was none.
func (c *Conn) dropSlot(k model.ServiceKey) *slot {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.slots[k]
	if s == nil {
		return nil
	}
	if s.marked { // whoever subscribes and unsubscribes all day leaves nothing behind
		c.marked = slices.DeleteFunc(c.marked, func(m *slot) bool { return m == s })
	}
	c.await(s, 0, 0)
	s.dropped = true
	delete(c.slots, k)
	return s
}

func (c *Conn) dropSlots() []*slot {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]*slot, 0, len(c.slots))
	for _, s := range c.slots {
		s.dropped = true
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *slot) int { return a.key.Compare(b.key) })
	c.slots, c.marked, c.waiting, c.left = nil, nil, nil, true
	return all
}
