package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/muster-registry/muster/hack/lab/layout"
	"github.com/muster-registry/muster/hack/lab/node"
	"github.com/muster-registry/muster/hack/lab/poll"
)

// UpOptions are what Up needs besides the configuration.
type UpOptions struct {
	Nodes int
	// Self is the lab's own program, which becomes the first process of each node.
	Self string
	// Artifact finds a program, or the tar of an image, that was built.
	Artifact func(name string) (string, error)
}

// How long each step may take. They are generous: a loaded machine is slow, and a failure names the log to read.
const (
	apiPatience  = 90 * time.Second
	nodePatience = 90 * time.Second
	dnsPatience  = 60 * time.Second
)

// programs are run by the nodes from the state folder's bin, apart from the lab itself.
func programs() []string {
	return []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"}
}

// Up brings the lab up with that many nodes, adds what is missing to one that runs, and rejoins nodes that crashed.
func (l *Lab) Up(ctx context.Context, o UpOptions) error {
	if o.Nodes < 1 || o.Nodes > layout.MaxNodes {
		return fmt.Errorf("--nodes %d: a lab has 1 to %d nodes", o.Nodes, layout.MaxNodes)
	}
	if err := l.preflight(ctx); err != nil {
		return err
	}
	host, err := host()
	if err != nil {
		return err
	}
	return l.locked(ctx, func() error {
		start := time.Now()
		since := func() string { return time.Since(start).Round(100 * time.Millisecond).String() }
		if err := l.prepare(ctx, o); err != nil {
			return err
		}
		for _, i := range l.wanted(o.Nodes) {
			if err := l.ensureNode(ctx, i, host, o); err != nil {
				return err
			}
		}
		if err := l.awaitReady(ctx, since); err != nil {
			return err
		}
		l.say("up in %s: export KUBECONFIG=%s", since(), l.cfg.Kubeconfig())
		return nil
	})
}

// wanted are the nodes asked for, and those that are there already: up never takes one away.
func (l *Lab) wanted(n int) []int {
	have := l.Nodes()
	if len(have) > 0 {
		n = max(n, have[len(have)-1])
	}
	nodes := make([]int, n)
	for i := range nodes {
		nodes[i] = i + 1
	}
	return nodes
}

// prepare makes what all nodes share.
func (l *Lab) prepare(ctx context.Context, o UpOptions) error {
	if err := l.cfg.Save(); err != nil {
		return err
	}
	if err := l.cfg.WritePKI(time.Now()); err != nil {
		return err
	}
	for _, dir := range []string{"bin", "images", "run", "log"} {
		if err := os.MkdirAll(l.cfg.Path(dir), 0o755); err != nil {
			return err
		}
	}
	for _, name := range programs() {
		path, err := o.Artifact(name)
		if err != nil {
			return err
		}
		if err := replaceLink(path, l.cfg.Bin(name)); err != nil {
			return err
		}
	}
	// A copy: `go run` removes its program when it ends, and nodes are rejoined by tests too.
	if err := install(o.Self, l.cfg.Bin("lab")); err != nil {
		return err
	}
	if err := l.makeMountPoints(); err != nil {
		return err
	}
	return l.hostNetwork(ctx)
}

// madeDirs lists the folders that the lab made outside its state, for down to remove.
const madeDirs = "made-dirs"

// makeMountPoints makes the folders that the nodes cover, where the machine has none, and remembers which.
func (l *Lab) makeMountPoints() error {
	f, err := os.OpenFile(l.cfg.Path(madeDirs), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, dir := range node.MountPoints() {
		switch err := os.Mkdir(dir, 0o755); {
		case err == nil:
			if _, err := fmt.Fprintln(f, dir); err != nil {
				return err
			}
		case !errors.Is(err, os.ErrExist):
			return err
		}
	}
	return nil
}

// ensureNode leaves a node that runs alone, and starts any other from what was decided for it.
func (l *Lab) ensureNode(ctx context.Context, i int, host layout.Host, o UpOptions) error {
	if l.Running(i) {
		l.say("%s runs", layout.NodeName(i))
		return nil
	}
	n := layout.Node{Config: l.cfg, Host: host, Index: i}
	if err := n.WriteFiles(); err != nil {
		return err
	}
	images := []string{"pause"}
	if i == 1 {
		images = append(images, "coredns")
	}
	for j, name := range images {
		tar, err := o.Artifact(name)
		if err != nil {
			return err
		}
		images[j] = tar
	}
	if err := node.WriteSpec(l.specPath(i), n.Spec(images)); err != nil {
		return err
	}
	return l.startNode(ctx, i)
}

// startNode starts the first process of a node whose spec is written, and joins it to the bridge.
func (l *Lab) startNode(ctx context.Context, i int) error {
	name := layout.NodeName(i)
	if err := l.clearNode(ctx, i); err != nil {
		return fmt.Errorf("clear what is left of %s: %w", name, err)
	}
	for _, dir := range []string{l.cfg.Run(i), l.cfg.Log(i)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := machineCgroups().make(name); err != nil {
		return fmt.Errorf("make the cgroups of %s: %w", name, err)
	}
	p, goAhead, err := spawn(l.cfg.Bin("lab"), l.specPath(i), l.cfg.Log(i, "node.log"))
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	defer goAhead.Close()
	if err := p.write(l.pidPath(i)); err != nil {
		return err
	}
	if _, err := run(ctx, linkBatch(l.cfg, i, p.PID), "ip", "-batch", "-"); err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	if _, err := goAhead.Write([]byte{1}); err != nil {
		return fmt.Errorf("%s ended at once, see %s: %w", name, l.cfg.Log(i, "node.log"), err)
	}
	l.say("%s started", name)
	return nil
}

// awaitReady waits until the cluster is of use: API server, nodes, service accounts, names.
func (l *Lab) awaitReady(ctx context.Context, since func() string) error {
	if err := l.WaitAPI(ctx); err != nil {
		return err
	}
	l.say("API server ready at %s", since())
	for _, i := range l.Nodes() {
		if err := l.WaitNode(ctx, i); err != nil {
			return err
		}
		l.say("%s Ready at %s", layout.NodeName(i), since())
	}
	api, err := l.api()
	if err != nil {
		return err
	}
	if err := poll.Until(ctx, apiPatience, func(ctx context.Context) error {
		return api.get(ctx, "/api/v1/namespaces/default/serviceaccounts/default", nil)
	}); err != nil {
		return fmt.Errorf("no default service account, see %s: %w", l.cfg.Log(1, "kube-controller-manager.log"), err)
	}
	if err := l.ensureDNS(ctx); err != nil {
		return err
	}
	l.say("DNS answers at %s", since())
	return nil
}

// ensureDNS applies CoreDNS and waits until it resolves the API server's Service. One that answers is left alone.
func (l *Lab) ensureDNS(ctx context.Context) error {
	if l.askDNS(ctx) == nil {
		return nil
	}
	manifest, err := l.cfg.DNSManifest()
	if err != nil {
		return err
	}
	if _, err := run(ctx, manifest, l.cfg.Bin("kubectl"), "--kubeconfig", l.cfg.Kubeconfig(), "apply", "--server-side", "--force-conflicts", "-f", "-"); err != nil {
		return fmt.Errorf("apply CoreDNS: %w", err)
	}
	if err := poll.Until(ctx, dnsPatience, l.askDNS); err != nil {
		return fmt.Errorf("CoreDNS does not answer, see `kubectl -n kube-system get pods`: %w", err)
	}
	return nil
}

// askDNS resolves the API server's Service at the cluster's DNS address.
func (l *Lab) askDNS(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	server := netip.AddrPortFrom(l.cfg.DNSIP(), 53).String()
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, server)
	}}
	addresses, err := resolver.LookupNetIP(ctx, "ip4", "kubernetes.default.svc.cluster.local.")
	if err != nil {
		return err
	}
	if len(addresses) != 1 || addresses[0].Unmap() != l.cfg.APIServiceIP() {
		return fmt.Errorf("%s resolves the API server's Service to %v, want %s", server, addresses, l.cfg.APIServiceIP())
	}
	return nil
}

func replaceLink(target, link string) error {
	if old, err := os.Readlink(link); err == nil && old == target {
		return nil
	}
	if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Symlink(target, link)
}

// install copies a program over another one, which may be running.
func install(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(to), "."+filepath.Base(to))
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Chmod(0o755), out.Close()); err == nil {
		return os.Rename(out.Name(), to)
	}
	return errors.Join(err, os.Remove(out.Name()))
}
