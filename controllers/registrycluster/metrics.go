package registrycluster

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
)

// metrics shows the conditions to those who alert on them.
type metrics struct {
	conditions *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) (metrics, error) {
	m := metrics{conditions: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "muster_registrycluster_condition_status",
		Help: "Condition of a RegistryCluster: 1 True, 0 False, -1 Unknown.",
	}, []string{"namespace", "name", "condition"})}
	if err := reg.Register(m.conditions); err != nil {
		return metrics{}, fmt.Errorf("register muster_registrycluster_condition_status: %w", err)
	}
	return m, nil
}

func (m metrics) report(c *musterv1alpha1.RegistryCluster) {
	for _, condition := range c.Status.Conditions {
		value := -1.0
		switch condition.Status {
		case metav1.ConditionTrue:
			value = 1
		case metav1.ConditionFalse:
			value = 0
		}
		m.conditions.WithLabelValues(c.Namespace, c.Name, condition.Type).Set(value)
	}
}

func (m metrics) drop(cluster types.NamespacedName) {
	m.conditions.DeletePartialMatch(prometheus.Labels{"namespace": cluster.Namespace, "name": cluster.Name})
}
