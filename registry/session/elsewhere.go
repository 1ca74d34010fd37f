package session

import (
	"maps"
	"slices"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
)

// ask is a question to the origin of an older record of a publisher that registered again here.
type ask struct {
	newer  model.RecordKey
	origin model.Incarnation
}

// older finds what the publisher of a new registration left behind: records of other connections with the same client
// description and an instance in common. Those that nobody vouches for, or whose origin cannot be asked, are superseded
// at once; the origin of the others is asked, since two live connections of one process do not cancel each other.
// answered: one of them has answered, and its ports are among the new ones: what is known of a port outlives a connection.
func (t *Table) older(c *conn, k model.ServiceKey, instances []model.Instance) (superseded []model.Superseded, questions []pendingAsk, answered bool) {
	for _, r := range t.store.Lookalikes(k, c.Client, instances) {
		p := r.Key.Publisher
		if p == c.publisher {
			continue
		}
		answered = answered || r.Answered && within(r.Instances, instances)
		if r.Unclaimed != model.Vouched || !t.canAsk(r.Version.Origin) {
			superseded = append(superseded, model.Superseded{Publisher: p, Version: r.Version})
			continue
		}
		newer := model.RecordKey{Publisher: c.publisher, Service: k}
		questions = append(questions, pendingAsk{older: r.Key, ask: ask{newer: newer, origin: r.Version.Origin}})
	}
	return superseded, questions, answered
}

// within reports whether every instance key of the one list is in the other. Both may be batches of ten thousands.
func within(some, all []model.Instance) bool {
	keys := make(map[model.InstanceKey]struct{}, len(all))
	for i := range all {
		keys[all[i].Key()] = struct{}{}
	}
	return !slices.ContainsFunc(some, func(in model.Instance) bool {
		_, ok := keys[in.Key()]
		return !ok
	})
}

type pendingAsk struct {
	older model.RecordKey
	ask   ask
}

// canAsk: it is us, or a member with a live stream.
func (t *Table) canAsk(origin model.Incarnation) bool {
	return origin == t.incarnation() || t.inView(origin) && t.opts.Engine.Connected(origin)
}

// ask puts the questions, and notes whom they were put to: who goes without an answer is superseded after all (checkAsks).
func (t *Table) ask(now model.Time, questions []pendingAsk) []Signal {
	var signals []Signal
	for _, q := range questions {
		t.mu.Lock()
		t.asks[q.older] = q.ask
		t.mu.Unlock()
		signals = append(signals, t.put(now, q.ask.origin, replication.Question{Older: q.older, Newer: q.ask.newer})...)
	}
	return signals
}

// put asks the origin of an older record whether its connection lives: another member, or ourselves.
func (t *Table) put(now model.Time, origin model.Incarnation, q replication.Question) []Signal {
	if origin == t.incarnation() {
		return t.Asked(now, origin, q)
	}
	t.opts.Engine.Send(origin, replication.Message{Kind: replication.KindAsk, Questions: []replication.Question{q}})
	return nil
}

// Asked takes in a question: the connection is asked for a sign of life. If it gives none, its record is unclaimed, and
// superseded by the asker.
func (t *Table) Asked(now model.Time, from model.Incarnation, q replication.Question) []Signal {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.conns[q.Older.Publisher.ID]
	if c == nil || c.publisher != q.Older.Publisher {
		return nil // lost already: the asker sees that nobody vouches for it
	}
	c.elsewhere[q.Older.Service] = asker{from: from, question: q}
	return t.detect(now, c)
}

// Alive takes in the answer: both records stay.
func (t *Table) Alive(q replication.Question) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.asks, q.Older)
}

// checkAsks supersedes what cannot be asked about any more.
func (t *Table) checkAsks(now model.Time) {
	t.mu.Lock()
	open := make(map[model.RecordKey]ask, len(t.asks))
	for k, a := range t.asks {
		open[k] = a
	}
	t.mu.Unlock()
	for _, older := range slices.SortedFunc(maps.Keys(open), model.RecordKey.Compare) {
		a := open[older]
		r := t.store.Record(older)
		switch {
		case r == nil || r.Deleted:
		case r.Unclaimed != model.Vouched || !t.canAsk(a.origin):
			t.supersede(now, a.newer, model.Superseded{Publisher: older.Publisher, Version: r.Version})
		default:
			continue
		}
		t.mu.Lock()
		delete(t.asks, older)
		t.mu.Unlock()
	}
}

// supersede adds to a record of ours, or to its tombstone, what its publisher left behind. A tombstone still has the successor that it
// must not overtake: the older one may be all that others list.
func (t *Table) supersede(now model.Time, newer model.RecordKey, older model.Superseded) {
	t.update(now, newer, func(cur *model.Record) *model.Record {
		if cur == nil || cur.Version.Origin != t.incarnation() {
			return nil
		}
		var next *model.Record
		if cur.Deleted {
			next = cur.Tombstone(t.again(now, cur))
		} else {
			next = t.restamped(now, cur)
			next.Unclaimed, next.Since = cur.Unclaimed, cur.Since
		}
		next.Rare = model.NewSuccession(addSuperseded(cur.Supersedes(), []model.Superseded{older}), cur.Successor())
		return next
	})
}

// newer finds the record of ours in which the publisher of an unclaimed record shows up. Only its origin ends the older
// one, and in one step with the newer: a tombstone that travelled alone could arrive first, and leave a gap.
func (t *Table) newer(r *model.Record) (model.RecordKey, bool) {
	if r.Key.Publisher.Kind != model.KindConnection {
		return model.RecordKey{}, false
	}
	for _, o := range t.store.Lookalikes(r.Key.Service, r.By(), r.Instances) {
		if o.Unclaimed == model.Vouched && o.Version.Origin == t.incarnation() && o.Key != r.Key {
			return o.Key, true
		}
	}
	return model.RecordKey{}, false
}

// successor is the publisher of the newest record in which that of an older one shows up, whoever vouches for it; nil: there is
// none.
func (t *Table) successor(older *model.Record) *model.Publisher {
	if older.Key.Publisher.Kind != model.KindConnection {
		return nil
	}
	newest := older
	for _, o := range t.store.Lookalikes(older.Key.Service, older.By(), older.Instances) {
		if o.Version.Said > newest.Version.Said {
			newest = o
		}
	}
	if newest == older {
		return nil
	}
	return &newest.Key.Publisher
}
