package registrycluster

import (
	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/controllers/apply"
	"github.com/muster-registry/muster/controllers/desired"
)

// check says what admission could not: rules that need what the operator knows, and those of objects that were
// admitted under older rules.
func check(c *musterv1alpha1.RegistryCluster, image string) error {
	if image == "" {
		return apply.Stalled{
			Reason:  musterv1alpha1.ReasonInvalidSpec,
			Message: "spec.image is empty and the operator was started without --registry-image: set one of them",
		}
	}
	if err := desired.ServerConfig(c).Validate(); err != nil {
		return apply.Stalled{Reason: musterv1alpha1.ReasonInvalidSpec, Message: "spec: " + err.Error()}
	}
	return nil
}
