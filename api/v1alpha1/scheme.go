package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/muster-registry/muster/api/wellknown"
)

// GroupVersion is the group and version of the kinds in this package.
var GroupVersion = schema.GroupVersion{Group: wellknown.Group, Version: "v1alpha1"}

// KindRegistryCluster is the kind as it stands in objects and owner references.
const KindRegistryCluster = "RegistryCluster"

// AddToScheme makes the kinds known to a scheme.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &RegistryCluster{}, &RegistryClusterList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
