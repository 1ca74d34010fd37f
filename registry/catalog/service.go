package catalog

import (
	"slices"
	"time"

	"github.com/muster-registry/muster/registry/model"
)

// service is guarded by its stripe's lock.
type service struct {
	key model.ServiceKey
	// records are sorted by publisher: most services have few, and a map takes several times the memory.
	records []*model.Record
	// live counts the records that show instances; emptySince is when it became 0.
	live int32
	// listed: the service exists for clients, from its first instance until ServiceLinger after its last.
	listed     bool
	stale      bool // a change waits to be shown by a newer snapshot than last
	emptySince time.Duration
	alike      *lookalikes // nil until a large service is first asked

	// last is the newest snapshot. given is the highest revision that any client was told.
	last  *Snapshot
	given int64
}

// Names is what model.ByService finds it by.
func (svc *service) Names() model.ServiceKey { return svc.key }

func (svc *service) find(p model.Publisher) (int, bool) {
	return slices.BinarySearchFunc(svc.records, p, func(r *model.Record, p model.Publisher) int { return r.Key.Publisher.Compare(p) })
}

// record returns what a publisher says, its tombstone too; nil for nothing.
func (svc *service) record(p model.Publisher) *model.Record {
	if i, ok := svc.find(p); ok {
		return svc.records[i]
	}
	return nil
}

func (svc *service) put(r *model.Record) {
	i, ok := svc.find(r.Key.Publisher)
	switch {
	case ok:
		svc.alike.replace(svc.records[i], r)
		svc.records[i] = r
		return
	case len(svc.records) == 0:
		svc.records = []*model.Record{r} // one is enough for many
	default:
		svc.records = slices.Insert(svc.records, i, r)
	}
	svc.alike.replace(nil, r)
}

// forget drops a record, if it is still there, and reports whether it was.
func (svc *service) forget(r *model.Record) bool {
	i, ok := svc.find(r.Key.Publisher)
	if !ok || svc.records[i] != r {
		return false
	}
	svc.alike.replace(r, nil)
	svc.records = slices.Delete(svc.records, i, i+1)
	svc.fit()
	return true
}

// drop forgets all that are gone.
func (svc *service) drop(gone func(*model.Record) bool) {
	had := len(svc.records)
	svc.records = slices.DeleteFunc(svc.records, gone)
	if len(svc.records) < had {
		svc.alike = nil
	}
	svc.fit()
}

// dropOrphans forgets tombstones whose successor is not here; in the next round those before them in a row of moves.
func (svc *service) dropOrphans() {
	for {
		orphans := map[*model.Record]bool{}
		for _, r := range svc.records {
			if r.Deleted && r.Successor() != nil && svc.record(*r.Successor()) == nil {
				orphans[r] = true
			}
		}
		if len(orphans) == 0 {
			return
		}
		svc.drop(func(r *model.Record) bool { return orphans[r] })
	}
}

// fit gives back the room of a peak.
func (svc *service) fit() {
	if len(svc.records) < cap(svc.records)/4 {
		svc.records = slices.Clone(svc.records)
		svc.alike = nil
	}
}
