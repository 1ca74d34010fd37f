// Package layout says what the lab looks like: addresses, files, certificates, configurations and command lines of every
// component. It decides and renders; package cluster acts on what it returns. Nothing here runs a command.
package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/muster-registry/muster/hack/lab/node"
)

// MaxNodes is how many nodes a lab can have: their certificates are made at once, and one digit names them.
const MaxNodes = 9

// Names that the lab puts on the machine. Interface names end at 15 bytes.
const (
	Bridge     = "musterlab0"
	CgroupRoot = "muster-lab"
)

// Env names of the settings, for people and messages.
const (
	EnvState    = "MUSTER_LAB_STATE"
	EnvNodes    = "MUSTER_LAB_NODE_CIDR"
	EnvPods     = "MUSTER_LAB_POD_CIDR"
	EnvServices = "MUSTER_LAB_SERVICE_CIDR"
)

const defaultState = "/var/lib/muster-lab"

// maxState keeps STATE/run/nodeN/containerd.sock.ttrpc within the 107 bytes of a unix socket's path.
const maxState = 70

// Config is what the user may choose. Everything else follows from it.
type Config struct {
	State    string       `json:"state"`
	Nodes    netip.Prefix `json:"nodes"`
	Pods     netip.Prefix `json:"pods"`
	Services netip.Prefix `json:"services"`
}

// FromEnv reads the settings, with their defaults, from the environment.
func FromEnv(getenv func(string) string) (Config, error) {
	c := Config{State: getenv(EnvState)}
	if c.State == "" {
		c.State = defaultState
	}
	ranges := []struct {
		env, fallback string
		into          *netip.Prefix
	}{
		{EnvNodes, "10.123.0.0/24", &c.Nodes},
		{EnvPods, "10.244.0.0/16", &c.Pods},
		{EnvServices, "10.96.0.0/16", &c.Services},
	}
	for _, r := range ranges {
		text := getenv(r.env)
		if text == "" {
			text = r.fallback
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return Config{}, fmt.Errorf("%s: %w", r.env, err)
		}
		*r.into = p
	}
	return c, c.Validate()
}

// Validate names the setting that cannot work.
func (c Config) Validate() error {
	if !filepath.IsAbs(c.State) || filepath.Clean(c.State) == "/" {
		return fmt.Errorf("%s: %q must be an absolute path, and not /", EnvState, c.State)
	}
	if len(c.State) > maxState {
		return fmt.Errorf("%s: %q is longer than %d bytes: the sockets in it would not fit", EnvState, c.State, maxState)
	}
	for _, dir := range node.MountPoints() {
		if c.State == dir || strings.HasPrefix(c.State, dir+"/") {
			return fmt.Errorf("%s: %q is below %s, which every node covers with its own", EnvState, c.State, dir)
		}
	}
	sized := []struct {
		env  string
		p    netip.Prefix
		bits int
	}{{EnvNodes, c.Nodes, 27}, {EnvPods, c.Pods, 20}, {EnvServices, c.Services, 24}}
	for _, s := range sized {
		switch {
		case !s.p.Addr().Is4():
			return fmt.Errorf("%s: %s must be IPv4", s.env, s.p)
		case s.p != s.p.Masked():
			return fmt.Errorf("%s: %s is not the start of a range, did you mean %s?", s.env, s.p, s.p.Masked())
		case s.p.Bits() > s.bits:
			return fmt.Errorf("%s: %s is too small, it needs /%d or larger", s.env, s.p, s.bits)
		}
	}
	if c.Nodes.Overlaps(c.Pods) || c.Nodes.Overlaps(c.Services) || c.Pods.Overlaps(c.Services) {
		return fmt.Errorf("%s, %s, %s: %s, %s and %s must not overlap", EnvNodes, EnvPods, EnvServices, c.Nodes, c.Pods, c.Services)
	}
	return nil
}

// HostIP is the machine's own address on the bridge.
func (c Config) HostIP() netip.Addr { return offset(c.Nodes.Addr(), 1) }

// NodeIP is the address of node i, counted from 1.
func (c Config) NodeIP(i int) netip.Addr { return offset(c.Nodes.Addr(), 10+i) }

// ControlIP is where the API server listens: node 1 carries the control plane.
func (c Config) ControlIP() netip.Addr { return c.NodeIP(1) }

// APIServiceIP is the ClusterIP of the API server, the first of the range by Kubernetes' own rule.
func (c Config) APIServiceIP() netip.Addr { return offset(c.Services.Addr(), 1) }

// DNSIP is the ClusterIP of CoreDNS.
func (c Config) DNSIP() netip.Addr { return offset(c.Services.Addr(), 10) }

// PodRange is the part of the pods' range that node i hands out.
func (c Config) PodRange(i int) netip.Prefix {
	return netip.PrefixFrom(offset(c.Pods.Addr(), i<<8), 24)
}

// APIServer is the URL of the API server, from the machine and from the nodes.
func (c Config) APIServer() string { return fmt.Sprintf("https://%s:%d", c.ControlIP(), APIPort) }

// APIPort is the port of the API server on the control plane's node.
const APIPort = 6443

// NodeName is the name of node i.
func NodeName(i int) string { return fmt.Sprintf("node%d", i) }

// NodeIndex is the number in a node's name, or an error that says which names there are.
func NodeIndex(name string) (int, error) {
	for i := 1; i <= MaxNodes; i++ {
		if NodeName(i) == name {
			return i, nil
		}
	}
	return 0, fmt.Errorf("node %q: nodes are called node1 to %s", name, NodeName(MaxNodes))
}

// Veth is the bridge's end of node i's link.
func Veth(i int) string { return fmt.Sprintf("musterlab-n%d", i) }

// Path joins names to the state folder.
func (c Config) Path(parts ...string) string {
	return filepath.Join(append([]string{c.State}, parts...)...)
}

// Bin is the path of a program that the lab built.
func (c Config) Bin(name string) string { return c.Path("bin", name) }

// Run is a path in the folder of node i's sockets and pid.
func (c Config) Run(i int, parts ...string) string {
	return c.Path(append([]string{"run", NodeName(i)}, parts...)...)
}

// Log is a path in the folder of node i's logs.
func (c Config) Log(i int, parts ...string) string {
	return c.Path(append([]string{"log", NodeName(i)}, parts...)...)
}

// Kubeconfig is the path of the administrator's kubeconfig.
func (c Config) Kubeconfig() string { return c.Path("kubeconfig") }

// Load returns the configuration that the state folder was made with.
func Load(state string) (Config, error) {
	var c Config
	b, err := os.ReadFile(filepath.Join(state, configFile))
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("%s: %w", filepath.Join(state, configFile), err)
	}
	return c, nil
}

const configFile = "lab.json"

// Claim makes the state folder, and refuses one that holds something other than a lab: down removes what is in it.
func (c Config) Claim() error {
	if _, err := Load(c.State); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(c.State, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(c.State)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != LockFile {
			return fmt.Errorf("%s: %s holds %q and no lab: choose an empty or new folder", EnvState, c.State, e.Name())
		}
	}
	return nil
}

// Save writes the configuration to the state folder, unless it has one.
func (c Config) Save() error {
	if _, err := Load(c.State); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(c.Path(configFile), append(b, '\n'), 0o644)
}

// LockFile is the name of the file in the state folder that serializes the commands.
const LockFile = "lock"

func offset(a netip.Addr, n int) netip.Addr {
	b := a.As4()
	v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	v += uint32(n)
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}
