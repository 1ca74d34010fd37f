package session

import (
	"slices"

	"github.com/muster-registry/muster/registry/model"
)

// holdings are what a connection has published last of each service: it may be thousands.
type holdings struct {
	model.ByService[*model.Record]
}

// inCatalog reports whether a publication is in the catalog already: before, its key alone is kept.
func inCatalog(r *model.Record) bool { return r != nil && r.Version != (model.Version{}) }

// sorted returns all, by service.
func (h *holdings) sorted() []*model.Record {
	return slices.SortedFunc(h.All(), func(a, b *model.Record) int { return a.Key.Service.Compare(b.Key.Service) })
}
