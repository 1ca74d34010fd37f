package grpc

import (
	"slices"
	"sync"
	"time"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/push"
)

// fakeMember is a Core of one member without peers and without patience: a real catalog and a real hub, and what a
// connection published goes when it ends. It writes down what it is told.
type fakeMember struct {
	store *catalog.Store
	hub   *push.Hub
	hlc   model.HLC

	mu      sync.Mutex // guards all below
	conns   map[string]*fakeConn
	err     error // of everything that can fail
	state   model.MemberState
	changed chan struct{} // closed when something was written down
	log     []string
	touched map[string]int
}

type fakeConn struct {
	member.Connection
	out       *push.Conn
	published map[model.ServiceKey]bool
}

func newFakeMember() *fakeMember {
	m := &fakeMember{conns: map[string]*fakeConn{}, touched: map[string]int{}, changed: make(chan struct{})}
	m.store = catalog.New(catalog.Options{
		OnChange:          func(k model.ServiceKey) { m.hub.Notify(k) },
		Revise:            func(now model.Time) int64 { return m.hlc.Next(now).Millis() },
		TombstoneLifetime: time.Minute,
	})
	m.hub = push.New(push.Options{
		Snapshot: func(k model.ServiceKey) *catalog.Snapshot { return m.store.Snapshot(now(), k) },
		Now:      now,
	})
	m.hub.SetOpen(true)
	return m
}

// started is before all clocks of bubbles, which begin in 2000.
var started = time.Unix(0, 0)

func now() model.Time { return model.Time{Mono: time.Since(started), Wall: time.Now().UnixMilli()} }

// note writes an event down for those who wait for it.
func (m *fakeMember) note(event string) {
	m.log = append(m.log, event)
	close(m.changed)
	m.changed = make(chan struct{})
}

// fail makes everything that can fail answer with this error.
func (m *fakeMember) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

func (m *fakeMember) conn(id string) (*fakeConn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.conns[id]
	switch {
	case m.err != nil:
		return nil, m.err
	case c == nil:
		return nil, model.ErrUnregistered
	case !c.Naming:
		return nil, model.ErrNoClient
	}
	return c, nil
}

// Self implements Core.
func (m *fakeMember) Self() model.Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	return model.Member{Incarnation: 1, State: m.state}
}

// Connect implements Core.
func (m *fakeMember) Connect(c member.Connection) *push.Conn {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.hub.Open()
	m.conns[c.ID] = &fakeConn{Connection: c, out: out, published: map[model.ServiceKey]bool{}}
	m.note("connect")
	return out
}

// Disconnect implements Core.
func (m *fakeMember) Disconnect(id string) {
	m.mu.Lock()
	c := m.conns[id]
	delete(m.conns, id)
	m.note("disconnect")
	m.mu.Unlock()
	if c == nil {
		return
	}
	m.hub.Close(c.out)
	for key := range c.published {
		m.apply(id, key, nil)
	}
}

// Abandon implements Core.
func (m *fakeMember) Abandon(string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.note("abandon")
}

// Touch implements Core.
func (m *fakeMember) Touch(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.touched[id]++
}

// Ack implements Core.
func (m *fakeMember) Ack(id string, request uint64, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.conns[id]; c != nil {
		c.out.Ack(request, ok)
	}
	if ok {
		m.note("ack")
	} else {
		m.note("nack")
	}
}

// Publish implements Core.
func (m *fakeMember) Publish(id string, key model.ServiceKey, instances []model.Instance) error {
	c, err := m.conn(id)
	if err != nil {
		return err
	}
	m.mu.Lock()
	c.published[key] = true
	m.mu.Unlock()
	m.apply(id, key, instances)
	return nil
}

// Withdraw implements Core.
func (m *fakeMember) Withdraw(id string, key model.ServiceKey) error {
	if _, err := m.conn(id); err != nil {
		return err
	}
	m.apply(id, key, nil)
	return nil
}

func (m *fakeMember) apply(id string, key model.ServiceKey, instances []model.Instance) {
	at := now()
	r := &model.Record{
		Key:       model.RecordKey{Publisher: model.Publisher{Member: 1, ID: id}, Service: key},
		Version:   model.Version{Stamp: m.hlc.Next(at), Origin: 1},
		Deleted:   instances == nil,
		Instances: slices.Clone(instances),
	}
	m.store.Apply(at, r)
}

// Subscribe implements Core.
func (m *fakeMember) Subscribe(id string, key model.ServiceKey, clusters string) (*catalog.Snapshot, error) {
	c, err := m.conn(id)
	if err != nil {
		return nil, err
	}
	m.hub.Subscribe(c.out, key, clusters)
	snap := m.store.Answer(now(), key, true)
	c.out.Told(key, snap.Content())
	return snap, nil
}

// Unsubscribe implements Core.
func (m *fakeMember) Unsubscribe(id string, key model.ServiceKey) (*catalog.Snapshot, error) {
	c, err := m.conn(id)
	if err != nil {
		return nil, err
	}
	m.hub.Unsubscribe(c.out, key)
	return m.store.Answer(now(), key, false), nil
}

// Query implements Core.
func (m *fakeMember) Query(key model.ServiceKey) (*catalog.Snapshot, error) {
	m.mu.Lock()
	err := m.err
	m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return m.store.Answer(now(), key, false), nil
}

// ServiceNames implements Core.
func (m *fakeMember) ServiceNames(namespace, group string) ([]string, error) {
	return m.store.Names(namespace, group), nil
}
