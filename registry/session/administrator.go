package session

import (
	"slices"

	"github.com/muster-registry/muster/registry/model"
)

// What an administrator says are records of their own, versioned and replicated like all others (docs/adr/0008).

// Override lays weight, enabled and metadata of in over whatever is published for its instance key.
func (t *Table) Override(now model.Time, k model.ServiceKey, in model.Instance) {
	key := model.RecordKey{Publisher: model.Publisher{Kind: model.KindOverride, ID: in.Key().String()}, Service: k}
	t.update(now, key, func(cur *model.Record) *model.Record {
		if cur != nil && cur.SameContent([]model.Instance{in}) {
			return nil
		}
		return &model.Record{Key: key, Version: t.said(now), Instances: []model.Instance{in}}
	})
}

// Configure replaces the settings of a service.
func (t *Table) Configure(now model.Time, k model.ServiceKey, s model.Settings) {
	key := model.RecordKey{Publisher: model.Publisher{Kind: model.KindSettings}, Service: k}
	t.update(now, key, func(cur *model.Record) *model.Record {
		if model.SameSettings(cur.Settings(), &s) {
			return nil
		}
		return &model.Record{Key: key, Version: t.said(now), Rare: &model.Rare{Settings: &s}}
	})
}

// checkAdministered ends what an administrator said a minute after the last instance that it is about (nacos-protocol §4.10).
func (t *Table) checkAdministered(now model.Time, key model.RecordKey) {
	r := t.store.Record(key)
	if r == nil || r.Deleted {
		return
	}
	used := slices.ContainsFunc(t.store.Service(key.Service), func(o *model.Record) bool {
		return !o.Deleted && !o.Key.Publisher.Kind.Administers() && (key.Publisher.Kind == model.KindSettings || o.Overlaps(r.Instances))
	})
	t.mu.Lock()
	since, known := t.administered[key]
	switch {
	case !known:
		t.mu.Unlock()
		return
	case used:
		t.administered[key] = 0
	case since == 0:
		t.administered[key] = now.Mono
	}
	over := !used && since != 0 && now.Mono-since >= administeredLinger
	mine := over && t.active && t.ring.First(key.Service.Shard()) == t.incarnation()
	t.timers.add(now.Mono+5*recheck, timerAdministered, key)
	t.mu.Unlock()
	if mine {
		t.update(now, key, func(cur *model.Record) *model.Record {
			if cur == nil || cur.Deleted || cur.Version != r.Version {
				return nil
			}
			return cur.Tombstone(cur.Version)
		})
	}
}
