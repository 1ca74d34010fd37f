package apply

import (
	"fmt"
	"reflect"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Writes counts the writes to the API server, so that "a steady state writes nothing" can be seen from outside.
type Writes struct {
	total *prometheus.CounterVec
}

// NewWrites registers muster_apply_writes_total.
func NewWrites(reg prometheus.Registerer) (Writes, error) {
	w := Writes{total: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "muster_apply_writes_total",
		Help: "Writes of the operator to the API server, by verb (apply, delete, status) and kind.",
	}, []string{"verb", "kind"})}
	if err := reg.Register(w.total); err != nil {
		return Writes{}, fmt.Errorf("register muster_apply_writes_total: %w", err)
	}
	return w, nil
}

func (w Writes) count(verb string, obj client.Object) {
	w.total.WithLabelValues(verb, kindOf(obj)).Inc()
}

// kindOf works on typed objects too, which carry no kind when they come from a cache.
func kindOf(obj client.Object) string {
	if kind := obj.GetObjectKind().GroupVersionKind().Kind; kind != "" {
		return kind
	}
	return reflect.TypeOf(obj).Elem().Name()
}
