package desired

import (
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
)

// podDisruptionBudget lets one member go at a time. It counts what may be missing, not what must be there, so that
// the drain of a node with the only member is an outage of seconds (clients live on the lists they hold, the new pod
// starts cold) and never a drain that does not end. A pod that is not ready may always go: it serves nobody.
func podDisruptionBudget(c *musterv1alpha1.RegistryCluster) *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{
		ObjectMeta: meta(c, c.Name),
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable:             new(intstr.FromInt32(1)),
			Selector:                   &metav1.LabelSelector{MatchLabels: SelectorLabels(c.Name)},
			UnhealthyPodEvictionPolicy: new(policyv1.AlwaysAllow),
		},
	}
}
