package session

import (
	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
)

// The origin of a record need not hold the shard. What the rules of an origin ask of the whole service (did my publisher
// leave an older record behind?) is then answered by the first replica, which shows it what it cannot see.

// show looks for what the publishers of new records left behind, and shows it to their origins.
func (t *Table) show(now model.Time, changes []catalog.Change) {
	if !t.opts.Engine.Sharded() {
		return
	}
	for _, c := range changes {
		fresh := c.New != nil && !c.New.Deleted && (c.Old == nil || c.Old.Deleted)
		if !fresh || c.Key.Publisher.Kind != model.KindConnection || !t.shows(c.New) {
			continue
		}
		for _, r := range t.store.Lookalikes(c.Key.Service, c.New.By(), c.New.Instances) {
			if r.Key != c.Key && r.Version.Compare(c.New.Version) < 0 {
				t.opts.Engine.Show(now, c.New.Version.Origin, r)
			}
		}
	}
}

// showClaim shows an unclaimed record to the origin of a newer one of its publisher.
func (t *Table) showClaim(now model.Time, r *model.Record) {
	if !t.opts.Engine.Sharded() || r.Key.Publisher.Kind != model.KindConnection {
		return
	}
	for _, o := range t.store.Lookalikes(r.Key.Service, r.By(), r.Instances) {
		if o.Unclaimed == model.Vouched && o.Key != r.Key && t.shows(o) {
			t.opts.Engine.Show(now, o.Version.Origin, r)
		}
	}
}

// shows reports whether it is on us to show the record's origin what it cannot see.
func (t *Table) shows(r *model.Record) bool {
	t.mu.Lock()
	first := t.ring != nil && t.ring.First(r.Key.Service.Shard()) == t.incarnation()
	t.mu.Unlock()
	return first && r.Version.Origin != t.incarnation()
}

// Shown takes in an older record of a publisher of ours.
func (t *Table) Shown(now model.Time, older *model.Record) []Signal {
	var signals []Signal
	for _, o := range t.store.Lookalikes(older.Key.Service, older.By(), older.Instances) {
		if o.Unclaimed != model.Vouched || o.Version.Origin != t.incarnation() || o.Key == older.Key || older.Deleted {
			continue
		}
		if older.Unclaimed != model.Vouched || !t.canAsk(older.Version.Origin) {
			t.supersede(now, o.Key, model.Superseded{Publisher: older.Key.Publisher, Version: older.Version})
			continue
		}
		// not noted in asks: our catalog may never hear what becomes of the older one. The first replica shows it again when nobody
		// vouches for it (showClaim)
		signals = append(signals, t.put(now, older.Version.Origin, replication.Question{Older: older.Key, Newer: o.Key})...)
	}
	return signals
}
