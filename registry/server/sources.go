package server

import (
	"fmt"

	configv1alpha1 "github.com/muster-registry/muster/api/config/v1alpha1"
	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/membership/file"
	"github.com/muster-registry/muster/registry/membership/standalone"
)

// source makes the source of membership, and the rules that go with it.
func (o Options) source() (membership.Source, membership.Policy, error) {
	switch m := o.Config.Membership; m.Source {
	case configv1alpha1.SourceStandalone:
		return standalone.Source{}, membership.PolicyStandalone(), nil
	case configv1alpha1.SourceFile:
		return file.New(file.Options{Path: m.File, Log: o.Log}), membership.PolicyFile(), nil
	default:
		return nil, membership.Policy{}, fmt.Errorf("membership.source: %q is not known", m.Source)
	}
}
