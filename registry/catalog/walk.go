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

// Next returns the next part, in a fixed order; nothing at the end.
func (w *Walk) Next() []*model.Record {
	for w.stripe < stripeCount {
		if rs := w.part(); len(rs) > 0 {
			slices.SortFunc(rs, byKey)
			return rs
		}
	}
	return nil
}

// rest returns all parts that are left as one, in order.
func (w *Walk) rest() []*model.Record {
	var rs []*model.Record
	for w.stripe < stripeCount {
		rs = append(rs, w.part()...)
	}
	slices.SortFunc(rs, byKey)
	return rs
}

// part returns what is asked for of the next stripe.
func (w *Walk) part() []*model.Record {
	var rs []*model.Record
	w.store.inStripe(w.stripe, w.set, func(_ *stripe, svc *service) {
		for _, r := range svc.records {
			if w.keep == nil || w.keep(r) {
				rs = append(rs, r)
			}
		}
	})
	w.stripe++
	return rs
}
