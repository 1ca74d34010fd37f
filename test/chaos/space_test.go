//go:build linux

package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// space is a thread in a network namespace. It starts processes there, which end with it: a member has a space, and so has
// the API server; clients share that of the test.
type space struct{ calls chan func() }

// newSpace makes one, which is closed at the end of the test. fresh: with a network of its own.
func newSpace(t *testing.T, fresh bool) *space {
	t.Helper()
	s := &space{calls: make(chan func())}
	ready := make(chan error)
	ownThread(func() {
		var err error
		if fresh {
			err = syscall.Unshare(syscall.CLONE_NEWNET)
		}
		ready <- err
		for call := range s.calls {
			call()
		}
	})
	if err := <-ready; err != nil {
		t.Fatalf("new network namespace: %v", err)
	}
	t.Cleanup(func() { close(s.calls) })
	return s
}

// ownThread calls f on a thread that ends with it: the namespace and the processes go as well. The first thread of a process
// does not end, and its network is that of the process: it is held while another one is taken.
func ownThread(f func()) {
	locked := func(f func()) {
		runtime.LockOSThread()
		f()
	}
	go locked(func() {
		if syscall.Gettid() != os.Getpid() {
			f()
			return
		}
		taken := make(chan struct{})
		go locked(func() { close(taken); f() })
		<-taken
		runtime.UnlockOSThread()
	})
}

// run calls f on the thread.
func (s *space) run(f func() error) error {
	done := make(chan error, 1)
	s.calls <- func() { done <- f() }
	return <-done
}

// start starts a process, which is killed when the thread ends.
func (s *space) start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return s.run(cmd.Start)
}

// onThread calls f on a thread that lives as long: Pdeathsig counts threads.
func onThread(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return f()
}

// ip configures the network that its thread is in.
func ip(batch string) error { return feed(batch, "ip", "-batch", "-") }

func feed(input, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s in %s", name, err, out, input)
	}
	return nil
}

// network is an Ethernet segment of one test. The test's clients have its upper half: any address there is at hand.
type network struct {
	t     *testing.T
	index int
	nodes int
}

// networks gives each test a segment of its own.
type networks struct {
	mu   sync.Mutex
	last int // guarded by mu
}

var segments = &networks{}

func newNetwork(t *testing.T) *network {
	t.Helper()
	segments.mu.Lock()
	segments.last++
	n := &network{t: t, index: segments.last}
	segments.mu.Unlock()
	err := ip(fmt.Sprintf("link add %[1]s type bridge\naddr add 10.%[2]d.0.1/16 dev %[1]s\nlink set %[1]s up\nroute add local 10.%[2]d.128.0/17 dev lo\n",
		n.bridge(), n.index))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ip(fmt.Sprintf("link del %s\nroute del local 10.%d.128.0/17 dev lo\n", n.bridge(), n.index)); err != nil {
			t.Error(err)
		}
	})
	return n
}

func (n *network) bridge() string { return fmt.Sprintf("chaos%d", n.index) }

// client is an address for an instance.
func (n *network) client(i int) string {
	return fmt.Sprintf("10.%d.%d.%d", n.index, 128+i/250, i%250+1)
}

// node is a host in the network.
type node struct {
	*space
	address string

	mu   sync.Mutex
	deaf map[string]bool // guarded by mu: addresses from which nothing comes in
}

// node adds a host.
func (n *network) node() *node {
	n.t.Helper()
	n.nodes++
	h := &node{space: newSpace(n.t, true), address: fmt.Sprintf("10.%d.0.%d", n.index, 10+n.nodes), deaf: map[string]bool{}}
	port := fmt.Sprintf("%s-%d", n.bridge(), n.nodes)
	err := h.run(func() error {
		// All instances are behind one address: the kernel's table of neighbours has no room for hundreds seen from each of several hosts.
		return ip(fmt.Sprintf("link set lo up\nlink add eth0 type veth peer name %[1]s netns %[2]d\naddr add %[3]s/16 dev eth0\nlink set eth0 up\n"+
			"route add 10.%[4]d.128.0/17 via 10.%[4]d.0.1\n", port, os.Getpid(), h.address, n.index))
	})
	if err == nil {
		err = ip(fmt.Sprintf("link set %s master %s up\n", port, n.bridge()))
	}
	if err != nil {
		n.t.Fatal(err)
	}
	return h
}

// block drops all that comes from other hosts, silently, as a broken link does; unblock ends that.
func (h *node) block(from ...*node) error {
	return h.filter(func() {
		for _, f := range from {
			h.deaf[f.address] = true
		}
	})
}

func (h *node) unblock(from ...*node) error {
	return h.filter(func() {
		for _, f := range from {
			delete(h.deaf, f.address)
		}
	})
}

func (h *node) filter(change func()) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
	script := "table inet chaos\ndelete table inet chaos\n"
	if len(h.deaf) > 0 {
		var addresses []string
		for a := range h.deaf {
			addresses = append(addresses, a)
		}
		slices.Sort(addresses)
		script += "table inet chaos {\n chain in {\n  type filter hook input priority 0; policy accept;\n  ip saddr { " +
			strings.Join(addresses, ", ") + " } drop\n }\n}\n"
	}
	return h.run(func() error { return feed(script, "nft", "-f", "-") })
}

// cut breaks the links between each of some hosts and each of others, heal mends them.
func cut(t *testing.T, some []*node, others ...*node) {
	t.Helper()
	between(t, some, others, (*node).block)
}

func heal(t *testing.T, some []*node, others ...*node) {
	t.Helper()
	between(t, some, others, (*node).unblock)
}

func between(t *testing.T, some, others []*node, do func(*node, ...*node) error) {
	t.Helper()
	for _, a := range some {
		if err := do(a, others...); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range others {
		if err := do(b, some...); err != nil {
			t.Fatal(err)
		}
	}
}
