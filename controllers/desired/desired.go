// Package desired builds the children of a RegistryCluster: pure functions from the object and a decision to
// Kubernetes objects, one file a child. It reads nothing, writes nothing and knows no client; controllers/apply brings
// what it returns to the cluster.
package desired

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
)

// Decision is what the operator decided beyond the spec.
type Decision struct {
	// Image of the members.
	Image string
	// PeerKey is what the Secret shall hold.
	PeerKey PeerKey
}

// Object is any Kubernetes object.
type Object interface {
	metav1.Object
	runtime.Object
}

// Build returns the children in the order in which they are applied: what a pod needs to start comes before the
// Deployment.
func Build(c *musterv1alpha1.RegistryCluster, d Decision) ([]Object, error) {
	config, err := configMap(c)
	if err != nil {
		return nil, err
	}
	return []Object{
		serviceAccount(c),
		role(c),
		roleBinding(c),
		peerSecret(c, d.PeerKey),
		config,
		clientService(c),
		internalService(c),
		podDisruptionBudget(c),
		deployment(c, d, config.Name),
	}, nil
}

// InternalServiceName is the Service behind which the members see each other's addresses.
func InternalServiceName(cluster string) string { return cluster + "-internal" }

// SecretName is the Secret with the peer key.
func SecretName(cluster string) string { return cluster + "-peer" }

// SelectorLabels find the pods of a cluster. They never change: a Deployment's selector cannot.
func SelectorLabels(cluster string) map[string]string {
	return map[string]string{
		wellknown.LabelName:      wellknown.AppName,
		wellknown.LabelInstance:  cluster,
		wellknown.LabelComponent: wellknown.ComponentMember,
	}
}

// Selector is the same as a string, for the scale subresource.
func Selector(cluster string) string { return labels.Set(SelectorLabels(cluster)).String() }

// childLabels are on every child and on every pod.
func childLabels(c *musterv1alpha1.RegistryCluster) map[string]string {
	l := SelectorLabels(c.Name)
	l[wellknown.LabelManagedBy] = wellknown.ManagedBy
	l[wellknown.LabelCluster] = c.Name
	l[wellknown.LabelClusterUID] = string(c.UID)
	return l
}

// meta is the identity that every child has; the owner reference is added when it is applied.
func meta(c *musterv1alpha1.RegistryCluster, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: c.Namespace, Labels: childLabels(c)}
}
