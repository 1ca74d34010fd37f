package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/muster-registry/muster/hack/lab/layout"
)

// Elsewhere is what those do who cannot run the lab.
const Elsewhere = `Use another cluster instead: point KUBECONFIG at any Kubernetes, for example one of kind (https://kind.sigs.k8s.io).
Tests that need only an API server run everywhere: go run ./hack/lab build --only envtest`

// CheckUser explains who can run the lab, when it is not the caller.
func CheckUser() error { return checkUser(runtime.GOOS, os.Geteuid()) }

func checkUser(goos string, uid int) error {
	switch {
	case goos != "linux":
		return fmt.Errorf("the lab needs Linux, and this is %s: its nodes are namespaces of the kernel.\n%s", goos, Elsewhere)
	case uid != 0:
		return fmt.Errorf("the lab needs root: it makes namespaces, a bridge and cgroups. Run it as root, for example: sudo -E env PATH=\"$PATH:/usr/sbin\" make lab-up\n%s", Elsewhere)
	}
	return nil
}

// facts is what decides whether this machine can run the lab.
type facts struct {
	kernel       string // as uname -r says it
	capabilities uint64
	overlay      bool // file system
	bridgeFilter bool // br_netfilter
	nft          error
	cgroups      error
}

// Bits of the capabilities that namespaces, mounts and links need.
const (
	capNetAdmin = 12
	capSysAdmin = 21
)

// problems says what is missing, one line each, and how to get it.
func (f facts) problems() []string {
	var list []string
	if f.capabilities&(1<<capSysAdmin) == 0 || f.capabilities&(1<<capNetAdmin) == 0 {
		list = append(list, "this root has no CAP_SYS_ADMIN or no CAP_NET_ADMIN: in a container, run it with --privileged")
	}
	if !newerKernel(f.kernel, 5, 13) {
		list = append(list, "kernel "+f.kernel+": kube-proxy's nftables mode needs 5.13 or newer")
	}
	if !f.overlay {
		list = append(list, "no overlay file system: load the kernel module overlay")
	}
	if !f.bridgeFilter {
		list = append(list, "no /proc/sys/net/bridge: load the kernel module br_netfilter")
	}
	if f.nft != nil {
		list = append(list, "nft does not work, does the kernel have nf_tables? "+f.nft.Error())
	}
	if f.cgroups != nil {
		list = append(list, f.cgroups.Error()+": the lab knows cgroup v2, and v1 with one folder a controller in /sys/fs/cgroup")
	}
	return list
}

func newerKernel(release string, major, minor int) bool {
	parts := strings.FieldsFunc(release, func(r rune) bool { return r < '0' || r > '9' })
	if len(parts) < 2 {
		return false
	}
	a, errA := strconv.Atoi(parts[0])
	b, errB := strconv.Atoi(parts[1])
	return errA == nil && errB == nil && (a > major || a == major && b >= minor)
}

// preflight gathers the facts, after a try to load what can be loaded, and refuses with everything that is missing.
func (l *Lab) preflight(ctx context.Context) error {
	f := facts{overlay: hasOverlay(), bridgeFilter: hasBridgeFilter()}
	if !f.overlay || !f.bridgeFilter {
		// A kernel without modules has no modprobe to ask: what counts is what is there afterwards.
		_, _ = run(ctx, "", "modprobe", "-a", "overlay", "br_netfilter")
		f.overlay, f.bridgeFilter = hasOverlay(), hasBridgeFilter()
	}
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return err
	}
	f.kernel = strings.TrimSpace(string(release))
	if f.capabilities, err = effectiveCapabilities(); err != nil {
		return err
	}
	_, f.nft = run(ctx, "", "nft", "list", "tables")
	_, f.cgroups = machineCgroups().version()
	if problems := f.problems(); len(problems) > 0 {
		return fmt.Errorf("this machine cannot run the lab:\n  %s\n%s", strings.Join(problems, "\n  "), Elsewhere)
	}
	if err := l.checkRanges(ctx); err != nil {
		return err
	}
	if err := l.refuseSecond(); err != nil {
		return err
	}
	return l.cfg.Claim()
}

// refuseSecond keeps two labs apart: the names of links and cgroups are the machine's.
func (l *Lab) refuseSecond() error {
	_, noState := layout.Load(l.cfg.State)
	_, noBridge := net.InterfaceByName(layout.Bridge)
	if noState == nil || noBridge != nil {
		return nil
	}
	return fmt.Errorf("there is a bridge %s, and no lab in %s: one that was made with another %s is up, take that down first "+
		"(if its folder was deleted: end its processes, `pgrep -af 'lab node'`, and `ip link del %s`)",
		layout.Bridge, l.cfg.State, layout.EnvState, layout.Bridge)
}

func machineCgroups() cgroups { return cgroups{root: "/sys/fs/cgroup"} }

func hasOverlay() bool {
	b, err := os.ReadFile("/proc/filesystems")
	return err == nil && strings.Contains(string(b), "\toverlay\n")
}

func hasBridgeFilter() bool {
	_, err := os.Stat("/proc/sys/net/bridge/bridge-nf-call-iptables")
	return err == nil
}

func effectiveCapabilities() (uint64, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if text, ok := strings.CutPrefix(line, "CapEff:"); ok {
			return strconv.ParseUint(strings.TrimSpace(text), 16, 64)
		}
	}
	return 0, errors.New("/proc/self/status has no CapEff")
}

// debianPackage is a package of Debian and what tells that it, or another that brings the same, is there.
type debianPackage struct {
	name  string
	paths []string // any of them, absolute or in PATH
}

func packages() []debianPackage {
	return []debianPackage{
		{"containerd", []string{"containerd"}},
		{"runc", []string{"runc"}},
		{"containernetworking-plugins", cniPaths()},
		{"nftables", []string{"nft"}},
		{"iptables", []string{"iptables"}},
		{"conntrack", []string{"conntrack"}},
		{"iproute2", []string{"ip"}}, // ip and bridge,
		{"util-linux", []string{"nsenter"}},
	}
}

func cniPaths() []string {
	return []string{"/usr/lib/cni/bridge", "/opt/cni/bin/bridge", "/usr/libexec/cni/bridge"}
}

// find returns the first of the package's paths that is there.
func (p debianPackage) find() (string, bool) {
	for _, path := range p.paths {
		if found, err := exec.LookPath(path); err == nil {
			return found, true
		}
	}
	return "", false
}

// InstallPackages installs with apt-get what the lab needs from the distribution and what is not there.
func (l *Lab) InstallPackages(ctx context.Context) error {
	var missing []string
	for _, p := range packages() {
		if _, ok := p.find(); !ok {
			missing = append(missing, p.name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	apt, err := exec.LookPath("apt-get")
	if err != nil {
		return fmt.Errorf("the lab needs these programs, and there is no apt-get to install them with (Debian's names): %s", strings.Join(missing, " "))
	}
	l.say("installing %s", strings.Join(missing, " "))
	install := append([]string{"install", "-y", "--no-install-recommends"}, missing...)
	if err := aptGet(ctx, apt, install...); err == nil {
		return nil
	}
	// The usual reason is a package list that is old or not there.
	if err := aptGet(ctx, apt, "update"); err != nil {
		return err
	}
	return aptGet(ctx, apt, install...)
}

func aptGet(ctx context.Context, apt string, args ...string) error {
	cmd := exec.CommandContext(ctx, apt, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	_, err := output(cmd)
	return err
}

// host finds what the distribution's packages brought.
func host() (layout.Host, error) {
	found := map[string]string{}
	for _, p := range packages() {
		path, ok := p.find()
		if !ok {
			return layout.Host{}, fmt.Errorf("%s is not installed: run `go run ./hack/lab deps`", p.name)
		}
		found[p.name] = path
	}
	return layout.Host{
		Containerd: found["containerd"], Runc: found["runc"], CNI: filepath.Dir(found["containernetworking-plugins"]),
	}, nil
}
