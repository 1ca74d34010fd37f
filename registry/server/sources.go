package server

import (
	"fmt"

	configv1alpha1 "github.com/muster-registry/muster/api/config/v1alpha1"
	"github.com/muster-registry/muster/registry/membership"
)

// source makes the source of membership, and the rules that go with it. A member alone has none.
func (o Options) source() (membership.Source, membership.Policy, error) {
	switch m := o.Config.Membership; m.Source {
	case configv1alpha1.SourceStandalone:
		return nil, membership.PolicyStandalone(), nil
	default:
		return nil, membership.Policy{}, fmt.Errorf("membership.source: %q is not known", m.Source)
	}
}
