package server

import (
	"cmp"
	"fmt"
	"time"

	configv1alpha1 "github.com/muster-registry/muster/api/config/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/membership/endpointslice"
	"github.com/muster-registry/muster/registry/membership/file"
	"github.com/muster-registry/muster/registry/membership/lease"
	"github.com/muster-registry/muster/registry/membership/standalone"
	"github.com/muster-registry/muster/registry/session"
)

// source makes the source of membership, and the rules that go with it.
func (o Options) source(protection func() session.BrakeState) (membership.Source, membership.Policy, error) {
	switch m := o.Config.Membership; m.Source {
	case configv1alpha1.SourceStandalone:
		return standalone.Source{}, membership.PolicyStandalone(), nil
	case configv1alpha1.SourceFile:
		s := file.New(file.Options{Path: m.File, Log: o.Log})
		return s, membership.PolicyFile(), s.Check()
	case configv1alpha1.SourceLease:
		s, err := o.leases(protection)
		return s, membership.PolicyLease(), err
	case configv1alpha1.SourceEndpointSlice:
		s, err := o.endpointSlices()
		return s, membership.PolicyEndpointSlice(), err
	default:
		return nil, membership.Policy{}, fmt.Errorf("membership.source: %q is not known", m.Source)
	}
}

func (o Options) namespace() string { return cmp.Or(o.Config.Membership.Namespace, o.Pod.Namespace) }

func (o Options) leases(protection func() session.BrakeState) (membership.Source, error) {
	api, namespace, err := lease.InCluster(o.namespace())
	if err != nil {
		return nil, err
	}
	c := o.Config
	return lease.New(lease.Options{
		API: api, Namespace: namespace, Cluster: c.ClusterName, ClusterUID: c.ClusterUID, PodName: o.Pod.Name, PodUID: o.Pod.UID,
		KeyDir: c.Membership.TLSDir, StateDir: c.Membership.StateDir,
		RenewInterval: c.Timeouts.LeaseRenewInterval.Duration, GoneAfter: c.Timeouts.MemberGoneAfter.Duration,
		Protection: func() (string, time.Duration) { return protectionOf(protection()) }, Log: o.Log,
	}), nil
}

// protectionOf is what a Lease says of the brake.
func protectionOf(p session.BrakeState) (scope string, release time.Duration) {
	switch {
	case p.Registry:
		return wellknown.ProtectionRegistry, p.Release
	case p.Active:
		return wellknown.ProtectionServices, p.Release
	}
	return "", 0
}

func (o Options) endpointSlices() (membership.Source, error) {
	api, namespace, err := endpointslice.InCluster(o.namespace())
	if err != nil {
		return nil, err
	}
	c := o.Config
	return endpointslice.New(endpointslice.Options{
		API: api, Namespace: namespace, Service: c.Membership.Service, ClusterUID: c.ClusterUID, StateDir: c.Membership.StateDir, Log: o.Log,
	}), nil
}
