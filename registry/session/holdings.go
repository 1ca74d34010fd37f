package session

import (
	"slices"

	"github.com/muster-registry/muster/registry/model"
)

// holdings are what a connection has published last of each service: it may be thousands, and a map by their names takes
// four times as much as one by their hashes.
type holdings struct {
	byHash map[uint64]*model.Record
	most   int // entries (model.Fit)
	// twins are those whose hash was taken by another one.
	twins map[model.ServiceKey]*model.Record
}

// published reports whether a publication is in the catalog already: before, its key alone is held.
func published(r *model.Record) bool { return r != nil && r.Version != (model.Version{}) }

// get returns what is held of a service, nil for nothing.
func (h *holdings) get(k model.ServiceKey) *model.Record {
	if r := h.byHash[k.Hash()]; r != nil && r.Key.Service == k {
		return r
	}
	return h.twins[k]
}

func (h *holdings) put(r *model.Record) {
	k := r.Key.Service
	hash := k.Hash()
	first := h.byHash[hash]
	_, twin := h.twins[k]
	switch {
	case twin, first != nil && first.Key.Service != k:
		if h.twins == nil {
			h.twins = map[model.ServiceKey]*model.Record{}
		}
		h.twins[k] = r
	default:
		if h.byHash == nil {
			h.byHash = map[uint64]*model.Record{}
		}
		h.byHash[hash] = r
	}
}

func (h *holdings) remove(k model.ServiceKey) {
	hash := k.Hash()
	if r := h.byHash[hash]; r != nil && r.Key.Service == k {
		delete(h.byHash, hash)
		h.byHash = model.Fit(h.byHash, &h.most)
		return
	}
	delete(h.twins, k)
}

// sorted returns all, by service.
func (h *holdings) sorted() []*model.Record {
	all := make([]*model.Record, 0, len(h.byHash)+len(h.twins))
	for _, r := range h.byHash {
		all = append(all, r)
	}
	for _, r := range h.twins {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *model.Record) int { return a.Key.Service.Compare(b.Key.Service) })
	return all
}
