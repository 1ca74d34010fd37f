package push

import (
	"slices"

	"github.com/muster-registry/muster/registry/model"
)

// Services are those that somebody subscribes to, in no order.
func (h *Hub) Services() []model.ServiceKey {
	var keys []model.ServiceKey
	for i := range h.stripes {
		st := &h.stripes[i]
		st.mu.Lock()
		for k := range st.topics {
			keys = append(keys, k)
		}
		st.mu.Unlock()
	}
	return keys
}

// Refresh notifies the services that which says yes to, as if each had changed: what is told of them was held back.
func (h *Hub) Refresh(which func(model.ServiceKey) bool) {
	keys := slices.DeleteFunc(h.Services(), func(k model.ServiceKey) bool { return !which(k) })
	slices.SortFunc(keys, model.ServiceKey.Compare)
	for _, k := range keys {
		h.Notify(k)
	}
}
