package catalog

import (
	"slices"

	"github.com/muster-registry/muster/registry/model"
)

// Walk goes through the records in parts: a million of them at once would take seconds and their memory twice.
type Walk struct {
	store  *Store
	set    *model.ShardSet
	keep   func(*model.Record) bool
	stripe int
}

// Walk begins one, over the shards of the set (nil: all) and the records that keep says yes to (nil: all), tombstones too.
// What changes meanwhile is met as it was or as it is.
func (s *Store) Walk(set *model.ShardSet, keep func(*model.Record) bool) *Walk {
	return &Walk{store: s, set: set, keep: keep}
}

// Next returns the next part, in the order of the keys; nil at the end.
func (w *Walk) Next() []*model.Record {
	var f found
	for w.stripe < stripeCount && len(f.records) == 0 {
		w.part(&f)
	}
	return f.sorted()
}

// rest returns all parts that are left as one, in order.
func (w *Walk) rest() []*model.Record {
	var f found
	for w.stripe < stripeCount {
		w.part(&f)
	}
	return f.sorted()
}

// part adds what is asked for of the next stripe.
func (w *Walk) part(f *found) {
	w.store.inStripe(w.stripe, w.set, func(_ *stripe, svc *service) {
		first := len(f.records)
		for _, r := range svc.records {
			if w.keep == nil || w.keep(r) {
				f.records = append(f.records, r)
			}
		}
		if end := len(f.records); end > first {
			f.runs = append(f.runs, run{service: svc.key, first: first, end: end})
		}
	})
	w.stripe++
}

// found are records, those of a service in a row and in order.
type found struct {
	records []*model.Record
	runs    []run
}

// run is where the records of a service are.
type run struct {
	service    model.ServiceKey
	first, end int
}

// sorted returns all in the order of their keys. Services are sorted and not records, which would cost as much as all that it
// takes to send them.
func (f *found) sorted() []*model.Record {
	slices.SortFunc(f.runs, func(a, b run) int { return a.service.Compare(b.service) })
	rs := slices.Grow([]*model.Record(nil), len(f.records))
	for _, r := range f.runs {
		rs = append(rs, f.records[r.first:r.end]...)
	}
	return rs
}
