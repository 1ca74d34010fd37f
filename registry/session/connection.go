package session

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
)

// Connection is a gRPC client as it described itself.
type Connection struct {
	// ID is unique in this process.
	ID     string
	Client model.Client
	// Naming: it may publish and subscribe.
	Naming bool
}

// conn is a connection that this member holds.
type conn struct {
	Connection
	publisher model.Publisher
	by        *model.Client // what its records share
	// seen is when it last showed life; asked when it was asked for the sign that is awaited, 0 = none is.
	seen, asked time.Duration
	// next is when it is looked at again, 0 = not at all. Timers that were set for another time are void.
	next time.Duration
	// ours: we end it ourselves, so its loss says nothing of its publisher.
	ours bool
	// published is what it published last of each service, to be stamped again when somebody removed it.
	published holdings
	// elsewhere names the record of a publisher that registered again at another connection while this one was open; its
	// asker waits to hear whether this one lives.
	elsewhere map[model.ServiceKey]asker
}

type asker struct {
	from     model.Incarnation
	question replication.Question
}

// Open adds a connection.
func (t *Table) Open(now model.Time, c Connection) {
	by := c.Client
	t.mu.Lock()
	defer t.mu.Unlock()
	own := &conn{
		Connection: c, by: &by, publisher: model.Publisher{Kind: model.KindConnection, Member: t.incarnation(), ID: c.ID},
		seen: now.Mono, elsewhere: map[model.ServiceKey]asker{},
	}
	t.conns[c.ID] = own
	t.watchConn(own, own.seen+detectAfter)
}

// Touch notes a sign of life. Whoever asked for one is answered, and what waited for one is vouched for again.
func (t *Table) Touch(now model.Time, id string) {
	t.mu.Lock()
	c := t.conns[id]
	if c == nil {
		t.mu.Unlock()
		return
	}
	c.seen = now.Mono
	if c.asked == 0 {
		t.mu.Unlock()
		return
	}
	c.asked = 0
	var answers []asker
	for _, k := range slices.SortedFunc(maps.Keys(c.elsewhere), model.ServiceKey.Compare) {
		answers = append(answers, c.elsewhere[k])
	}
	clear(c.elsewhere)
	again := t.takeRestamps(c)
	t.mu.Unlock()
	for _, a := range answers {
		if a.from != t.incarnation() {
			t.opts.Engine.Send(a.from, replication.Message{Kind: replication.KindAlive, Questions: []replication.Question{a.question}})
		} else {
			t.Alive(a.question)
		}
	}
	for _, r := range again {
		t.restamp(now, r)
		if !t.keep(c, r.Key) {
			t.lose(now, r.Key, true)
		}
	}
}

// takeRestamps are the publications of a connection that wait for its sign of life. Called with the lock held.
func (t *Table) takeRestamps(c *conn) []*model.Record {
	if len(t.restamps) == 0 { // nearly always, and a connection may publish thousands
		return nil
	}
	var again []*model.Record
	for _, r := range c.published.sorted() {
		if t.restamps[r.Key] && inCatalog(r) {
			again = append(again, r)
			delete(t.restamps, r.Key)
		}
	}
	return again
}

// Publish replaces what a connection says of a service; the list is the table's from then on. An identical publication is no
// change. Errors: CodeUnregistered, CodeNoClient.
func (t *Table) Publish(now model.Time, id string, k model.ServiceKey, instances []model.Instance) ([]Signal, error) {
	c, err := t.reserve(id, k)
	if err != nil {
		return nil, err
	}
	for i := range instances {
		instances[i] = instances[i].Kept(k)
	}
	key := model.RecordKey{Publisher: c.publisher, Service: k}
	superseded, questions, answered := t.older(c, k, instances)
	t.update(now, key, func(cur *model.Record) *model.Record {
		var had []model.Superseded
		if cur != nil {
			if cur.Unclaimed == model.Vouched && cur.Version.Origin == t.incarnation() && cur.SameContent(instances) && len(superseded) == 0 {
				return nil
			}
			had = cur.Supersedes()
			answered = answered || cur.Answered
		}
		return &model.Record{
			Key: key, Version: t.said(now), Instances: instances, Client: c.by,
			Rare: model.NewSuccession(addSuperseded(had, superseded), nil), Answered: answered,
		}
	})
	if !t.keep(c, key) {
		t.lose(now, key, true)
	}
	return t.ask(now, questions), nil
}

// Withdraw removes it. Unknown is no error.
func (t *Table) Withdraw(now model.Time, id string, k model.ServiceKey) error {
	t.mu.Lock()
	c, err := t.namingConn(id)
	if err != nil {
		t.mu.Unlock()
		return err
	}
	c.published.Remove(k)
	key := model.RecordKey{Publisher: c.publisher, Service: k}
	delete(t.restamps, key)
	t.mu.Unlock()
	t.withdraw(now, key)
	t.keep(c, key)
	return nil
}

// withdraw is the order of a publisher: it kills everything that was said before it.
func (t *Table) withdraw(now model.Time, key model.RecordKey) {
	t.bury(now, key, func(*model.Record) model.Version { return t.said(now) })
}

// remove is the order of the origin: it kills what was said, until somebody vouches for that again.
func (t *Table) remove(now model.Time, key model.RecordKey) {
	t.bury(now, key, func(cur *model.Record) model.Version { return t.again(now, cur) })
}

func (t *Table) bury(now model.Time, key model.RecordKey, as func(cur *model.Record) model.Version) {
	t.update(now, key, func(cur *model.Record) *model.Record {
		if cur == nil || cur.Deleted {
			return nil
		}
		return cur.Tombstone(as(cur))
	})
}

// Close ends a connection. That says nothing yet: clients close before they redo, and a kill -9 closes too. What it
// published is unclaimed from now on.
func (t *Table) Close(now model.Time, id string) {
	t.mu.Lock()
	c := t.conns[id]
	delete(t.conns, id)
	if c == nil {
		t.mu.Unlock()
		return
	}
	records := c.published.sorted()
	suspended := t.suspended(now)
	for _, r := range records {
		delete(t.restamps, r.Key)
	}
	t.mu.Unlock()
	for _, r := range records {
		t.lose(now, r.Key, c.ours || suspended)
	}
}

// CloseOurselves notes that the connections of the member end by its own doing from now on.
func (t *Table) CloseOurselves() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.conns {
		c.ours = true
	}
	return slices.Sorted(maps.Keys(t.conns))
}

// Abandon notes that a connection ends by our own doing, though its client may live: one that shows life and does not
// read what it is sent, say. Its loss says nothing of its publisher.
func (t *Table) Abandon(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.conns[id]; c != nil {
		c.ours = true
	}
}

// lose marks a record of ours as unclaimed. The trouble is ours as well while some member cannot be reached: the
// publisher may be there already (P7, P9).
func (t *Table) lose(now model.Time, key model.RecordKey, ours bool) {
	cause := model.CausePublisher
	if ours || t.cut(now, now.Mono) {
		cause = model.CauseOurs
	}
	t.update(now, key, func(cur *model.Record) *model.Record {
		if cur == nil || cur.Deleted {
			return nil
		}
		return cur.WithUnclaimed(cause, now.Mono)
	})
}

// keep makes what is kept of a publication with its connection agree with the catalog, whatever else was said of it at the same
// time, and reports whether the connection is still open. If not, Close may have been before the record: then nobody would ever
// end it.
func (t *Table) keep(c *conn, key model.RecordKey) (open bool) {
	for {
		r := t.store.Record(key)
		t.mu.Lock()
		had := c.published.Get(key.Service)
		switch {
		case r == nil:
		case !r.Deleted && (had == nil || had.Version.Compare(r.Version) < 0):
			c.published.Put(r)
		case r.Deleted && had != nil && had.Version.Said < r.Version.Said: // its own order: what others remove is stamped again
			c.published.Remove(key.Service)
		}
		open = t.conns[c.ID] == c
		t.mu.Unlock()
		if t.store.Record(key) == r {
			return open
		}
	}
}

// reserve notes that the connection publishes the service, before it does.
func (t *Table) reserve(id string, k model.ServiceKey) (*conn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, err := t.namingConn(id)
	if err != nil {
		return nil, err
	}
	if c.published.Get(k) == nil {
		c.published.Put(&model.Record{Key: model.RecordKey{Publisher: c.publisher, Service: k}})
	}
	return c, nil
}

// namingConn is an open connection that may publish. Errors: CodeUnregistered, CodeNoClient. Called with the lock held.
func (t *Table) namingConn(id string) (*conn, error) {
	switch c := t.conns[id]; {
	case c == nil:
		return nil, model.Errorf(model.CodeUnregistered, "connection %s is unregistered", id)
	case !c.Naming:
		return nil, model.Errorf(model.CodeNoClient, "connection %s is not a naming client", id)
	default:
		return c, nil
	}
}

// checkConn asks a silent connection for a sign of life, and gives up one that gives none.
func (t *Table) checkConn(now model.Time, tm timer) []Signal {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.conns[tm.key.Publisher.ID]
	if c == nil || c.next != tm.at {
		return nil
	}
	c.next = 0
	switch {
	case c.asked == 0 && now.Mono-c.seen < detectAfter:
		t.watchConn(c, c.seen+detectAfter)
	case c.asked == 0:
		return t.detect(now, c)
	case now.Mono-c.asked < detectTimeout: // a sign of life would have ended the question
		t.watchConn(c, c.asked+detectTimeout)
	case t.removeFrom > now.Mono:
		t.watchConn(c, t.removeFrom)
	default:
		return []Signal{{Connection: c.ID, Kind: SignalClose}}
	}
	return nil
}

// detect asks for a sign of life. Whoever wants one while one is awaited waits for the same, and no longer: a connection that is asked
// again and again would never be found dead. Called with the lock held.
func (t *Table) detect(now model.Time, c *conn) []Signal {
	if c.asked > 0 {
		return nil
	}
	c.asked = now.Mono
	t.watchConn(c, c.asked+detectTimeout)
	return []Signal{{Connection: c.ID, Kind: SignalDetect}}
}

// watchConn has a connection looked at, at that time or before: each look says when the next one is due. Called with the lock held.
func (t *Table) watchConn(c *conn, at time.Duration) {
	if c.next > 0 && c.next <= at {
		return
	}
	c.next = at
	t.timers.connection(at, c.ID)
}

// python clients redo their registrations at most every 30 s.
func python(c model.Client) bool { return strings.Contains(c.Agent, "Python") }

func addSuperseded(had, more []model.Superseded) []model.Superseded {
	if len(more) == 0 {
		return had
	}
	out := slices.Clone(had)
	for _, m := range more {
		i := slices.IndexFunc(out, func(s model.Superseded) bool { return s.Publisher == m.Publisher })
		switch {
		case i < 0:
			out = append(out, m)
		case out[i].Version.Compare(m.Version) < 0:
			out[i] = m
		}
	}
	// a publisher that moves on and on needs the last few only: older tombstones have done their work
	return out[max(0, len(out)-8):]
}

// Publishes reports whether a connection publishes a service already.
func (t *Table) Publishes(id string, k model.ServiceKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.conns[id]
	return c != nil && inCatalog(c.published.Get(k))
}

// Naming reports whether a connection may publish and subscribe.
func (t *Table) Naming(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.conns[id]
	return c != nil && c.Naming
}
