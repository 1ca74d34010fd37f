package desired

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"

	configv1alpha1 "github.com/muster-registry/muster/api/config/v1alpha1"
	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
)

// configMap is named by the hash of what it holds: a change of configuration is a rollout, and a pod never reads a
// file newer than itself, whose fields it might not know.
func configMap(c *musterv1alpha1.RegistryCluster) (*corev1.ConfigMap, error) {
	file, err := configv1alpha1.Render(ServerConfig(c))
	if err != nil {
		return nil, fmt.Errorf("render server configuration: %w", err)
	}
	sum := sha256.Sum256(file)
	return &corev1.ConfigMap{
		ObjectMeta: meta(c, c.Name+"-config-"+hex.EncodeToString(sum[:])[:10]),
		Immutable:  new(true),
		Data:       map[string]string{filepath.Base(wellknown.ConfigFile): string(file)},
	}, nil
}

// ServerConfig is the file that the members of a cluster read.
func ServerConfig(c *musterv1alpha1.RegistryCluster) configv1alpha1.ServerConfig {
	s := configv1alpha1.Default()
	s.ClusterName, s.ClusterUID = c.Name, string(c.UID)
	s.Membership = configv1alpha1.Membership{
		Source:   configv1alpha1.SourceLease,
		TLSDir:   wellknown.PeerTLSDir,
		StateDir: wellknown.StateDir,
	}
	if c.Spec.Membership.Source == musterv1alpha1.MembershipEndpointSlice {
		s.Membership.Source = configv1alpha1.SourceEndpointSlice
		s.Membership.Service = InternalServiceName(c.Name)
	}
	s.ReplicationFactor = int(c.Spec.ReplicationFactor)
	s.Timeouts = Timeouts(c)
	if p := c.Spec.Probing; p.Enabled != nil {
		s.Probing.Enabled = *p.Enabled
	}
	if n := c.Spec.Probing.PerSecond; n != 0 {
		s.Probing.PerSecond = int(n)
	}
	s.Probing.Deny = c.Spec.Probing.Deny
	s.Protection = protection(c.Spec.Protection)
	if r := c.Spec.Rebalancing; r.Enabled != nil {
		s.Rebalancing.Enabled = *r.Enabled
	}
	if n := c.Spec.Rebalancing.PerSecond; n != 0 {
		s.Rebalancing.PerSecond = int(n)
	}
	if c.Spec.LogLevel != "" {
		s.LogLevel = c.Spec.LogLevel
	}
	return s
}

// protection of a cluster. Admission fills in the whole group, so one without a window has not been through it.
func protection(p musterv1alpha1.Protection) configv1alpha1.Protection {
	s := configv1alpha1.DefaultProtection()
	if p.Window.Duration == 0 {
		return s
	}
	if p.Enabled != nil {
		s.Enabled = *p.Enabled
	}
	s.ServicePercent, s.RegistryPercent, s.MinInstances = int(p.ServicePercent), int(p.RegistryPercent), int(p.MinInstances)
	s.Window, s.PerSecond, s.MaxHold, s.KeepLast = p.Window, int(p.PerSecond), p.MaxHold, p.KeepLast
	return s
}

// Timeouts of a cluster. Admission fills in the whole group, so an empty one has not been through it.
func Timeouts(c *musterv1alpha1.RegistryCluster) configv1alpha1.Timeouts {
	if c.Spec.Timeouts == (configv1alpha1.Timeouts{}) {
		return configv1alpha1.DefaultTimeouts()
	}
	return c.Spec.Timeouts
}
