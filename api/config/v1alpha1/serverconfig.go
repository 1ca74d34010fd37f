// Package v1alpha1 is the file that the operator writes and a registry member reads: one typed struct, strict, with
// defaults in one function and every error naming its field. It is a contract between two programs, so it holds no
// behaviour beyond Default, Validate, Parse and Render.
package v1alpha1

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strconv"
	"strings"
	"time"

	goyaml "go.yaml.in/yaml/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// APIVersion and Kind stand at the top of the file.
const (
	APIVersion = "config.registry.muster.dev/v1alpha1"
	Kind       = "ServerConfig"
)

// Source names a way in which members find each other.
type Source string

// Sources of membership. Standalone has no peers; the default outside a cluster.
const (
	SourceStandalone    Source = "standalone"
	SourceFile          Source = "file"
	SourceLease         Source = "lease"
	SourceEndpointSlice Source = "endpointslice"
)

// ServerConfig is everything a member is told. What differs from pod to pod (name, UID, IP, zone) comes from the
// environment, so that one file serves all.
type ServerConfig struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// ClusterName and ClusterUID are the RegistryCluster's. Empty when standalone.
	ClusterName string     `json:"clusterName,omitempty"`
	ClusterUID  string     `json:"clusterUID,omitempty"`
	Listen      Listen     `json:"listen"`
	Membership  Membership `json:"membership"`
	// ReplicationFactor is how many members hold a copy of a record; 0 = every member, else at least 2.
	ReplicationFactor int        `json:"replicationFactor"`
	Timeouts          Timeouts   `json:"timeouts"`
	Probing           Probing    `json:"probing"`
	Protection        Protection `json:"protection"`
	// Rebalancing evens out the client connections over the members.
	Rebalancing Rebalancing `json:"rebalancing"`
	LogLevel    string      `json:"logLevel"`
}

// Listen says where a member serves. The gRPC port is always the HTTP port + 1000, because clients compute it.
type Listen struct {
	// Address is an IP for all ports; "" = all addresses.
	Address   string `json:"address"`
	HTTPPort  int    `json:"httpPort"`
	GRPCPort  int    `json:"grpcPort"`
	PeerPort  int    `json:"peerPort"`
	AdminPort int    `json:"adminPort"`
}

// Membership says how a member finds the others.
type Membership struct {
	Source Source `json:"source"`
	// File lists one host:port (the peer port) a line, for source file. Watched.
	File string `json:"file,omitempty"`
	// Namespace of the Leases or EndpointSlices; "" = the pod's own.
	Namespace string `json:"namespace,omitempty"`
	// Service is the internal Service, for source endpointslice.
	Service string `json:"service,omitempty"`
	// TLSDir holds tls.crt, tls.key and trusted.pem; required unless standalone.
	TLSDir string `json:"tlsDir,omitempty"`
	// Advertise is the host:port under which peers reach this member; "" = pod IP or listen address, and peer port.
	Advertise string `json:"advertise,omitempty"`
	// StateDir keeps the last view over a restart; "" = kept nowhere.
	StateDir string `json:"stateDir,omitempty"`
}

// Probing is how the registry asks the ports of instances whether anybody is there: a bare TCP connect. It asks those that
// nobody stands for or that are silent, and new ones once.
type Probing struct {
	Enabled bool `json:"enabled"`
	// PerSecond bounds the connects a member makes.
	PerSecond int `json:"perSecond"`
	// Deny lists CIDRs that are never probed. Link-local always is, loopback in a cluster too.
	Deny []string `json:"deny,omitempty"`
}

// Protection says how much may expire at once. When more would, it is held back: that is more likely a trouble of the
// registry's or of the network's than the end of so many clients.
type Protection struct {
	Enabled bool `json:"enabled"`
	// ServicePercent of a service's instances, or RegistryPercent of all, may be lost within a window. Fewer than
	// MinInstances are not judged.
	ServicePercent  int             `json:"servicePercent"`
	RegistryPercent int             `json:"registryPercent"`
	MinInstances    int             `json:"minInstances"`
	Window          metav1.Duration `json:"window"`
	// PerSecond bounds what one member ends meanwhile: what probing confirms, and what was held for MaxHold.
	PerSecond int             `json:"perSecond"`
	MaxHold   metav1.Duration `json:"maxHold"`
	// KeepLast holds as long what would leave a service without any instance, however few it has.
	KeepLast bool `json:"keepLast"`
}

// DefaultProtection returns the values of the design. They are the defaults of the schema too (a test compares them).
func DefaultProtection() Protection {
	return Protection{
		Enabled: true, ServicePercent: 30, RegistryPercent: 20, MinInstances: 10,
		Window: metav1.Duration{Duration: time.Minute}, PerSecond: 50, MaxHold: metav1.Duration{Duration: 5 * time.Minute},
	}
}

// Rebalancing asks clients of a member that holds more than its share to connect elsewhere, after a scale-out mostly. A
// client is never asked twice within a minute.
type Rebalancing struct {
	Enabled bool `json:"enabled"`
	// PerSecond bounds the clients that a member asks.
	PerSecond int `json:"perSecond"`
}

// Default returns the configuration of a standalone member on the usual ports.
func Default() ServerConfig {
	return ServerConfig{
		APIVersion:  APIVersion,
		Kind:        Kind,
		Listen:      Listen{HTTPPort: 8848, GRPCPort: 9848, PeerPort: 9849, AdminPort: 8849},
		Membership:  Membership{Source: SourceStandalone},
		Timeouts:    DefaultTimeouts(),
		Probing:     Probing{Enabled: true, PerSecond: 100},
		Protection:  DefaultProtection(),
		Rebalancing: Rebalancing{Enabled: true, PerSecond: 20},
		LogLevel:    "info",
	}
}

// Parse reads a file over the defaults. Unknown and repeated fields are errors, and so is a second document.
func Parse(data []byte) (ServerConfig, error) {
	if err := one(data); err != nil {
		return ServerConfig{}, err
	}
	c := Default()
	if err := yaml.UnmarshalStrict(data, &c); err != nil {
		if named := badDurations(data); named != nil {
			err = named
		}
		return ServerConfig{}, err
	}
	return c, nil
}

// one refuses what stands behind the first document: it would be left out without a word.
func one(data []byte) error {
	documents := goyaml.NewDecoder(bytes.NewReader(data))
	for n := 0; ; n++ {
		var content any
		switch err := documents.Decode(&content); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case n > 0 && content != nil:
			return errors.New("there is a second YAML document: a file holds one configuration")
		}
	}
}

// badDurations names the fields that hold no duration: the decoder's own error does not say where it is.
func badDurations(data []byte) error {
	text, _ := yaml.YAMLToJSON(data) // what is no YAML has no fields, and the decoder has said so
	return errors.Join(durationsIn(reflect.TypeFor[ServerConfig](), text, "")...)
}

func durationsIn(t reflect.Type, text []byte, field string) []error {
	if t == reflect.TypeFor[metav1.Duration]() {
		var d metav1.Duration
		if d.UnmarshalJSON(text) != nil {
			return []error{fmt.Errorf("%s: %s is no duration, which is written like 500ms, 30s or 5m", field, text)}
		}
		return nil
	}
	var values map[string]json.RawMessage
	if t.Kind() != reflect.Struct || json.Unmarshal(text, &values) != nil {
		return nil
	}
	var errs []error
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if value, ok := values[name]; ok {
			errs = append(errs, durationsIn(t.Field(i).Type, value, strings.TrimPrefix(field+"."+name, "."))...)
		}
	}
	return errs
}

// Render writes the file, byte for byte the same for the same value.
func Render(c ServerConfig) ([]byte, error) { return yaml.Marshal(c) }

// Validate returns every violated rule, each naming its field.
func (c ServerConfig) Validate() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", field, fmt.Sprintf(format, args...)))
	}
	if c.APIVersion != APIVersion || c.Kind != Kind {
		bad("apiVersion", "must be %s, kind %s", APIVersion, Kind)
	}
	if c.Listen.Address != "" && net.ParseIP(c.Listen.Address) == nil {
		bad("listen.address", "%q is no IP address", c.Listen.Address)
	}
	c.Listen.validate(bad)
	c.Membership.validate(bad)
	if c.Membership.Source == SourceLease || c.Membership.Source == SourceEndpointSlice {
		if c.ClusterName == "" || c.ClusterUID == "" {
			bad("clusterUID", "clusterName and clusterUID are required for membership.source %s", c.Membership.Source)
		}
	}
	if c.ReplicationFactor < 0 || c.ReplicationFactor == 1 {
		bad("replicationFactor", "%d is neither 0, a copy on every member, nor at least 2: a single copy dies with its member", c.ReplicationFactor)
	}
	c.Timeouts.validate(bad)
	c.Probing.validate(bad)
	if c.Rebalancing.PerSecond < 1 {
		bad("rebalancing.perSecond", "must be at least 1; set rebalancing.enabled to false to leave clients where they are")
	}
	c.Protection.validate(bad)
	switch c.LogLevel {
	case "debug", "info", "warn", "error":
	default:
		bad("logLevel", "%q is not one of debug, info, warn, error", c.LogLevel)
	}
	return errors.Join(errs...)
}

func (l Listen) validate(bad func(field, format string, args ...any)) {
	seen := map[int]string{}
	for _, p := range []struct {
		field string
		port  int
	}{
		{"listen.httpPort", l.HTTPPort},
		{"listen.grpcPort", l.GRPCPort},
		{"listen.peerPort", l.PeerPort},
		{"listen.adminPort", l.AdminPort},
	} {
		switch other := seen[p.port]; {
		case p.port < 0 || p.port > 65535:
			bad(p.field, "%d is no port (0 to 65535)", p.port)
		case other != "" && p.port != 0:
			bad(p.field, "%d is taken by %s", p.port, other)
		default:
			seen[p.port] = p.field
		}
	}
	if l.HTTPPort != 0 && l.GRPCPort != l.HTTPPort+1000 {
		bad("listen.grpcPort", "must be listen.httpPort + 1000 = %d, clients compute it; it is %d", l.HTTPPort+1000, l.GRPCPort)
	}
}

func (m Membership) validate(bad func(field, format string, args ...any)) {
	switch m.Source {
	case SourceStandalone:
		return
	case SourceFile:
		if m.File == "" {
			bad("membership.file", "is required for source file")
		}
	case SourceLease:
	case SourceEndpointSlice:
		if m.Service == "" {
			bad("membership.service", "is required for source endpointslice")
		}
	default:
		bad("membership.source", "%q is not one of standalone, file, lease, endpointslice", m.Source)
		return
	}
	if m.TLSDir == "" {
		bad("membership.tlsDir", "is required for source %s: the peer port takes members only", m.Source)
	}
	if m.Advertise != "" {
		host, port, err := net.SplitHostPort(m.Advertise)
		if n, noNumber := strconv.ParseUint(port, 10, 16); err != nil || host == "" || noNumber != nil || n == 0 {
			bad("membership.advertise", "%q is no host:port, with a port from 1 to 65535", m.Advertise)
		}
	}
}

func (p Probing) validate(bad func(field, format string, args ...any)) {
	if p.PerSecond < 1 {
		bad("probing.perSecond", "must be at least 1; set probing.enabled to false to switch probing off")
	}
	for i, d := range p.Deny {
		if _, _, err := net.ParseCIDR(d); err != nil {
			bad(fmt.Sprintf("probing.deny[%d]", i), "%q is no CIDR", d)
		}
	}
}

func (p Protection) validate(bad func(field, format string, args ...any)) {
	for _, n := range []struct {
		field    string
		v        int
		from, to int
	}{
		{"servicePercent", p.ServicePercent, 1, 100},
		{"registryPercent", p.RegistryPercent, 1, 100},
		{"minInstances", p.MinInstances, 1, 1_000_000},
		{"perSecond", p.PerSecond, 1, 100_000},
	} {
		if n.v < n.from || n.v > n.to {
			bad("protection."+n.field, "%d is not between %d and %d; set protection.enabled to false to switch it off", n.v, n.from, n.to)
		}
	}
	if w := p.Window.Duration; w < time.Second || w > time.Hour {
		bad("protection.window", "must be between 1s and 1h")
	}
	if h := p.MaxHold.Duration; h < 0 || h > 24*time.Hour {
		bad("protection.maxHold", "must be between 0s and 24h")
	}
}

func (t Timeouts) validate(bad func(field, format string, args ...any)) {
	for _, d := range []struct {
		field string
		v     int64
	}{
		{"leaseRenewInterval", int64(t.LeaseRenewInterval.Duration)},
		{"memberGoneAfter", int64(t.MemberGoneAfter.Duration)},
		{"bootstrapLimit", int64(t.BootstrapLimit.Duration)},
		{"drainGrace", int64(t.DrainGrace.Duration)},
		{"memberLossGrace", int64(t.MemberLossGrace.Duration)},
		{"beatUnhealthyAfter", int64(t.BeatUnhealthyAfter.Duration)},
		{"beatRemoveAfter", int64(t.BeatRemoveAfter.Duration)},
		{"tombstoneLifetime", int64(t.TombstoneLifetime.Duration)},
	} {
		if d.v <= 0 {
			bad("timeouts."+d.field, "must be positive")
		}
	}
	for _, d := range []struct {
		field string
		v     int64
	}{
		{"connectionGrace", int64(t.ConnectionGrace.Duration)},
		{"silentConnectionGrace", int64(t.SilentConnectionGrace.Duration)},
		{"refutedGrace", int64(t.RefutedGrace.Duration)},
		{"pushWindow", int64(t.PushWindow.Duration)},
		{"coldStartQuiet", int64(t.ColdStartQuiet.Duration)},
		{"coldStartLimit", int64(t.ColdStartLimit.Duration)},
	} {
		if d.v < 0 {
			bad("timeouts."+d.field, "must not be negative")
		}
	}
	if 3*t.LeaseRenewInterval.Duration > t.MemberGoneAfter.Duration {
		bad("timeouts.leaseRenewInterval", "must be at most a third of timeouts.memberGoneAfter: two renewals may be lost")
	}
	if t.SilentConnectionGrace.Duration > t.ConnectionGrace.Duration {
		bad("timeouts.silentConnectionGrace", "must not be longer than timeouts.connectionGrace")
	}
	if t.RefutedGrace.Duration > t.MemberLossGrace.Duration {
		bad("timeouts.refutedGrace", "must not be longer than timeouts.memberLossGrace")
	}
	if t.BeatUnhealthyAfter.Duration >= t.BeatRemoveAfter.Duration {
		bad("timeouts.beatUnhealthyAfter", "must be shorter than timeouts.beatRemoveAfter")
	}
	if t.ColdStartQuiet.Duration > t.ColdStartLimit.Duration {
		bad("timeouts.coldStartQuiet", "must not be longer than timeouts.coldStartLimit")
	}
	if t.MemberGoneAfter.Duration >= t.MemberLossGrace.Duration {
		bad("timeouts.memberGoneAfter", "must be shorter than timeouts.memberLossGrace")
	}
}
