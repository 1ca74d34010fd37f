package server

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	configv1alpha1 "github.com/muster-registry/muster/api/config/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/session"
)

// Options are what a Server needs.
type Options struct {
	Config configv1alpha1.ServerConfig
	// Pod is what differs from pod to pod; empty outside Kubernetes.
	Pod     Pod
	Version string
	Log     *slog.Logger
	// Metrics takes the metrics, and /metrics shows them.
	Metrics *prometheus.Registry
}

// Pod is what the environment tells a member of itself (downward API).
type Pod struct{ Name, UID, Namespace, IP, Zone string }

// PodFrom reads the environment.
func PodFrom(getenv func(string) string) Pod {
	return Pod{
		Name: getenv(wellknown.EnvPodName), UID: getenv(wellknown.EnvPodUID), Namespace: getenv(wellknown.EnvPodNamespace),
		IP: getenv(wellknown.EnvPodIP), Zone: getenv(wellknown.EnvZone),
	}
}

func (o Options) alone() bool { return o.Config.Membership.Source == configv1alpha1.SourceStandalone }

// inCluster: what is loopback there is a container of our own pod.
func (o Options) inCluster() bool {
	s := o.Config.Membership.Source
	return o.Pod.UID != "" || s == configv1alpha1.SourceLease || s == configv1alpha1.SourceEndpointSlice
}

// check is what the file format cannot know.
func (o Options) check() error {
	if err := o.Config.Validate(); err != nil {
		return err
	}
	if o.alone() {
		return nil
	}
	if o.Config.Listen.PeerPort == 0 {
		return errors.New("listen.peerPort: must be set, the other members dial it")
	}
	if _, err := o.advertised(); err != nil {
		return err
	}
	if s := o.Config.Membership.Source; s != configv1alpha1.SourceFile && (o.Pod.Name == "" || o.Pod.UID == "") {
		return fmt.Errorf("membership.source %s: %s and %s are not set; take them from the downward API, or use --membership file outside Kubernetes",
			s, wellknown.EnvPodName, wellknown.EnvPodUID)
	}
	return nil
}

// advertised is where peers reach this member.
func (o Options) advertised() (string, error) {
	if o.Config.Membership.Advertise != "" {
		return o.Config.Membership.Advertise, nil
	}
	if o.Pod.IP != "" && net.ParseIP(o.Pod.IP) == nil {
		return "", fmt.Errorf("%s: %q is no IP address; take it from the downward API, or set membership.advertise (--advertise)", wellknown.EnvPodIP, o.Pod.IP)
	}
	host := cmp.Or(o.Pod.IP, o.Config.Listen.Address)
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		return "", errors.New("membership.advertise: is required, under which host:port do the other members reach this one? " +
			"Set it (--advertise), or listen on one address (--address)")
	}
	return net.JoinHostPort(host, strconv.Itoa(o.Config.Listen.PeerPort)), nil
}

// self describes the member to others.
func (o Options) self(clientPort int) (model.Member, error) {
	m := model.Member{Name: o.Pod.Name, UID: o.Pod.UID, ClientPort: clientPort, Zone: o.Pod.Zone, Version: o.Version}
	if !o.alone() {
		address, err := o.advertised()
		if err != nil {
			return model.Member{}, err
		}
		m.Address, m.UID = address, cmp.Or(m.UID, address)
	}
	if m.Name = cmp.Or(m.Name, m.Address); m.Name == "" {
		m.Name, _ = os.Hostname() // for people only
	}
	return m, nil
}

func (o Options) timeouts() member.Timeouts {
	t := o.Config.Timeouts
	return member.Timeouts{
		Session: session.Timeouts{
			Connection: t.ConnectionGrace.Duration, SilentConnection: t.SilentConnectionGrace.Duration,
			MemberLoss: t.MemberLossGrace.Duration, Refuted: t.RefutedGrace.Duration,
			BeatUnhealthy: t.BeatUnhealthyAfter.Duration, BeatRemove: t.BeatRemoveAfter.Duration,
			// A source shows a new member within the time in which it would drop one.
			UnknownOriginGone: t.MemberGoneAfter.Duration,
			Brake:             o.brake(),
		},
		Bootstrap: t.BootstrapLimit.Duration, Tombstone: t.TombstoneLifetime.Duration, PushWindow: t.PushWindow.Duration,
		ColdStartQuiet: t.ColdStartQuiet.Duration, ColdStartLimit: t.ColdStartLimit.Duration,
		// Others count from the last renewal that they have seen, which may be two intervals old when the pause begins.
		Rejoin: t.MemberGoneAfter.Duration - 2*t.LeaseRenewInterval.Duration,
	}
}

func (o Options) brake() session.Brake {
	p := o.Config.Protection
	if !p.Enabled {
		return session.Brake{}
	}
	return session.Brake{
		ServicePercent: p.ServicePercent, RegistryPercent: p.RegistryPercent, MinInstances: p.MinInstances,
		Window: p.Window.Duration, PerSecond: p.PerSecond, MaxHold: p.MaxHold.Duration, KeepLast: p.KeepLast,
	}
}

func (o Options) movesPerSecond() int {
	if !o.Config.Rebalancing.Enabled {
		return 0
	}
	return o.Config.Rebalancing.PerSecond
}

func (o Options) probing() member.Probing {
	p := member.Probing{Enabled: o.Config.Probing.Enabled, PerSecond: o.Config.Probing.PerSecond, Loopback: !o.inCluster()}
	for _, d := range o.Config.Probing.Deny {
		if prefix, err := netip.ParsePrefix(d); err == nil { // Validate has read them all
			p.Deny = append(p.Deny, prefix.Masked())
		}
	}
	return p
}
