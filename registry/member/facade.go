package member

import (
	"slices"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/push"
	"github.com/muster-registry/muster/registry/replication"
	"github.com/muster-registry/muster/registry/session"
)

// Connection is a gRPC client as it described itself.
type Connection = session.Connection

// Connect adds a connection. One that comes while the member drains, because its client had looked before, is served and asked to
// move like the others: a client that is refused so late may never be heard of again (nacos-protocol §3.2).
func (m *Member) Connect(c Connection) *push.Conn {
	now := m.enter()
	out := m.hub.Open()
	m.mu.Lock()
	m.conns[c.ID] = out
	m.mu.Unlock()
	m.mover.opened(now, c.ID)
	m.session.Open(now, c)
	if m.Self().State == model.StateLeaving { // whom Drain does not find comes later than the state
		m.session.Abandon(c.ID)
		out.Do(push.ItemReset)
	}
	return out
}

// Disconnect ends a connection, whoever closed it.
func (m *Member) Disconnect(id string) {
	now := m.enter()
	m.mu.Lock()
	out := m.conns[id]
	delete(m.conns, id)
	m.mu.Unlock()
	m.mover.closed(id)
	if out != nil {
		m.hub.Close(out)
	}
	m.session.Close(now, id)
}

// Abandon notes that a connection is about to be ended by our doing, though its client may live.
func (m *Member) Abandon(id string) { m.session.Abandon(id) }

// Touch notes that the client has shown life.
func (m *Member) Touch(id string) { m.session.Touch(m.enter(), id) }

// Ack takes in the answer to a push.
func (m *Member) Ack(id string, request uint64, ok bool) {
	if c := m.conn(id); c != nil {
		c.Ack(request, ok)
	}
}

func (m *Member) conn(id string) *push.Conn {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.conns[id]
}

// Publish replaces what a connection says of a service. Errors: CodeUnregistered, CodeNoClient.
func (m *Member) Publish(id string, k model.ServiceKey, instances []model.Instance) error {
	now := m.enter()
	fresh := m.coldStart() && !m.session.Publishes(id, k)
	signals, err := m.session.Publish(now, id, k, instances)
	m.deliver(signals)
	if fresh && err == nil {
		m.registered(now)
	}
	return err
}

// coldStart reports whether it may matter that records come: reads are not open yet.
func (m *Member) coldStart() bool { return !m.answersLists.Load() }

// registered tells a cold start that new records keep coming. Changes of known ones do not count: they may never end.
func (m *Member) registered(now model.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life.noteRecord(now)
}

// Withdraw removes it. Unknown is no error. Errors: CodeUnregistered, CodeNoClient.
func (m *Member) Withdraw(id string, k model.ServiceKey) error {
	return m.session.Withdraw(m.enter(), id, k)
}

// Subscribe adds or replaces a subscription and returns the present answer: revision 0 and no hosts while reads are not
// open or the shard is not here, which clients that hold a list drop; a push follows then. Errors: CodeUnregistered, CodeNoClient.
func (m *Member) Subscribe(id string, k model.ServiceKey, clusters string) (*catalog.Snapshot, error) {
	snap, _, err := m.subscribe(id, k, clusters)
	return snap, err
}

// subscribe is Subscribe, and says besides whether the answer shows nothing because the shard is not here. To ask for that
// afterwards would be another question: the shard may have come in between.
func (m *Member) subscribe(id string, k model.ServiceKey, clusters string) (snap *catalog.Snapshot, elsewhere bool, err error) {
	c, err := m.subscriber(id)
	if err != nil {
		return nil, false, err
	}
	m.hub.Subscribe(c, k, clusters)
	m.interested(m.enter(), k.Shard())
	if !m.ReadsOpen() {
		return &catalog.Snapshot{Service: k}, false, nil
	}
	snap, whole := m.list(k, true)
	if !whole {
		return &catalog.Snapshot{Service: k}, true, nil
	}
	c.Told(k, snap.Content())
	return snap, false, nil
}

// list is the present answer; false: the service's shard is not here.
func (m *Member) list(k model.ServiceKey, keep bool) (snap *catalog.Snapshot, whole bool) {
	return fromCopy(m, k, func() *catalog.Snapshot { return m.store.Answer(m.enter(), k, keep) })
}

// Unsubscribe removes it, and returns the present answer all the same.
func (m *Member) Unsubscribe(id string, k model.ServiceKey) (*catalog.Snapshot, error) {
	c, err := m.subscriber(id)
	if err != nil {
		return nil, err
	}
	m.hub.Unsubscribe(c, k)
	if m.ReadsOpen() {
		if snap, whole := m.list(k, false); whole {
			return snap, nil
		}
	}
	return &catalog.Snapshot{Service: k}, nil
}

func (m *Member) subscriber(id string) (*push.Conn, error) {
	c := m.conn(id)
	if c == nil {
		return nil, model.Errorf(model.CodeUnregistered, "connection %s is unregistered", id)
	}
	if !m.session.Naming(id) {
		return nil, model.Errorf(model.CodeNoClient, "connection %s is not a naming client", id)
	}
	return c, nil
}

// Query returns the present answer. Error: CodeNotReady while reads are not open.
func (m *Member) Query(k model.ServiceKey) (*catalog.Snapshot, error) {
	if err := m.readable(); err != nil {
		return nil, err
	}
	snap, whole := m.list(k, false)
	if !whole {
		return nil, errElsewhere
	}
	return snap, nil
}

var errElsewhere = model.Errorf(model.CodeNotReady, "no copy of the service can be reached, please try later")

// ServiceNames lists the services of a group, plain and sorted. Error: CodeNotReady.
func (m *Member) ServiceNames(namespace, group string) ([]string, error) {
	if err := m.readable(); err != nil {
		return nil, err
	}
	return m.store.Names(namespace, group), nil
}

// HasService reports whether a service exists.
func (m *Member) HasService(k model.ServiceKey) bool { return m.store.Known(k) }

// Instance returns one instance, also a disabled one. Errors: CodeNotReady, CodeNotFound.
func (m *Member) Instance(k model.ServiceKey, ik model.InstanceKey) (model.Instance, error) {
	if err := m.readable(); err != nil {
		return model.Instance{}, err
	}
	snap, whole := fromCopy(m, k, func() *catalog.Snapshot { return m.store.Snapshot(m.enter(), k) })
	if !whole {
		return model.Instance{}, errElsewhere
	}
	return instanceOf(snap, ik)
}

func instanceOf(snap *catalog.Snapshot, ik model.InstanceKey) (model.Instance, error) {
	if i := slices.IndexFunc(snap.Hosts, func(h model.Instance) bool { return h.Key() == ik }); i >= 0 {
		return snap.Hosts[i], nil
	}
	return model.Instance{}, model.Errorf(model.CodeNotFound, "no matched ip found!")
}

func (m *Member) readable() error {
	if m.ReadsOpen() {
		return nil
	}
	return model.Errorf(model.CodeNotReady, "server is starting, please try later")
}

// ReadsOpen reports whether lists are answered.
func (m *Member) ReadsOpen() bool {
	m.enter()
	return m.answersLists.Load()
}

// RegisterInstance takes an HTTP registration.
func (m *Member) RegisterInstance(k model.ServiceKey, in model.Instance, client model.Client) {
	now := m.enter()
	p := session.BeatPublisher(in.IP, int(in.Port))
	key := model.RecordKey{Publisher: p, Service: k}
	fresh := m.coldStart() && !m.store.Lives(key)
	m.session.Register(now, k, in, client)
	if fresh {
		m.registered(now)
	}
	if to, reachable := m.session.Responsible(key); reachable && to != m.Self().Incarnation {
		m.engine.Relay(to, replication.Beat{Publisher: p, Service: k})
	}
}

// DeregisterInstance is idempotent. Error: CodeNotReady, no member that holds the service was told.
func (m *Member) DeregisterInstance(k model.ServiceKey, ik model.InstanceKey) error {
	now := m.enter()
	m.session.Deregister(now, k, ik)
	if m.Holds(k) {
		return nil
	}
	passed := false
	key := model.RecordKey{Publisher: session.BeatPublisher(ik.IP, ik.Port), Service: k}
	for _, id := range m.engine.Holders(now, k.Shard()) {
		if m.engine.Send(id, replication.Message{Kind: replication.KindWithdraw, Want: []model.RecordKey{key}}) {
			passed = true
		}
	}
	if !passed {
		return errElsewhere
	}
	return nil
}

// OverrideInstance lays weight, enabled and metadata over what is published. Error: CodeNotFound, no such service.
func (m *Member) OverrideInstance(k model.ServiceKey, in model.Instance) error {
	if !m.store.Known(k) {
		return unknownService(k)
	}
	m.session.Override(m.enter(), k, in)
	return nil
}

// ConfigureService replaces the settings of a service. Error: CodeNotFound, no such service.
func (m *Member) ConfigureService(k model.ServiceKey, s model.Settings) error {
	if !m.store.Known(k) {
		return unknownService(k)
	}
	m.session.Configure(m.enter(), k, s)
	return nil
}

func unknownService(k model.ServiceKey) error {
	return model.Errorf(model.CodeNotFound, "service not found, namespace: %s, serviceName: %s", k.Namespace, k.Grouped())
}
