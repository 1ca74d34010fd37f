package link_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/muster-registry/muster/registry/membership/peerkey"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
	"github.com/muster-registry/muster/registry/replication/link"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const cluster = "cluster-1"

// node is a member with nothing behind its link but a list of what happened.
type node struct {
	t    *testing.T
	link *link.Link
	keys string

	mu       sync.Mutex // guards all below
	cond     *sync.Cond
	self     model.Member
	cluster  string
	up       map[model.Incarnation]bool
	wakes    map[model.Incarnation]chan struct{}
	outbox   map[model.Incarnation][]replication.Message
	received map[model.Incarnation][]replication.Message
	ups      int
	downs    int
	outcomes map[replication.Dial]int
	refused  bool          // PeerUp says no
	block    chan struct{} // Receive waits for it
	chatty   bool          // a message each time that it is asked for some
	pulled   []int         // how many messages each Pull took
	said     map[model.Incarnation]bool
	log      string
}

type nodeOptions struct {
	inc  model.Incarnation
	ip   string
	keys string
	ping time.Duration // 0 = as in production: what is silent because this machine is busy is not down
	// gather is the link's; 0 = as in production.
	gather time.Duration
}

func newKeys(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "peer")
	if err := peerkey.Write(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// start runs a node on a free port of its own address.
func start(t *testing.T, o nodeOptions) *node {
	t.Helper()
	n := &node{
		t: t, keys: o.keys, cluster: cluster,
		up: map[model.Incarnation]bool{}, wakes: map[model.Incarnation]chan struct{}{},
		outbox: map[model.Incarnation][]replication.Message{}, received: map[model.Incarnation][]replication.Message{},
		outcomes: map[replication.Dial]int{}, said: map[model.Incarnation]bool{},
	}
	n.cond = sync.NewCond(&n.mu)
	n.link = link.New(link.Options{
		Listen: net.JoinHostPort(o.ip, "0"), KeyDir: o.keys, Handler: n, Ping: o.ping, Gather: o.gather,
		Log: slog.New(slog.NewTextHandler(io.MultiWriter(n, t.Output()), &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	n.self = model.Member{Incarnation: o.inc, Name: fmt.Sprintf("node-%d", o.inc)}
	if err := n.link.Start(); err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	n.self.Address = n.addr()
	n.self.UID = n.addr()
	n.mu.Unlock()
	t.Cleanup(n.stop)
	return n
}

func (n *node) addr() string { return n.link.Addr().String() }

func (n *node) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	n.link.Stop(ctx)
}

// do changes the node and wakes who waits for something.
func (n *node) do(f func()) {
	n.mu.Lock()
	f()
	n.mu.Unlock()
	n.cond.Broadcast()
}

// await waits until it holds. The limit is for a test that fails.
func (n *node) await(what string, holds func() bool) {
	n.t.Helper()
	late := false
	limit := time.AfterFunc(30*time.Second, func() { n.do(func() { late = true }) })
	defer limit.Stop()
	n.mu.Lock()
	defer n.mu.Unlock()
	for !holds() {
		if late {
			n.t.Fatalf("node %d waits in vain: %s (up %v, ups %d, downs %d, outcomes %v)", n.self.Incarnation, what, n.up, n.ups, n.downs, n.outcomes)
		}
		n.cond.Wait()
	}
}

func (n *node) awaitUp(peers ...*node) {
	n.t.Helper()
	for _, p := range peers {
		n.await("peer up", func() bool { return n.up[p.self.Incarnation] })
	}
}

func (n *node) awaitOutcome(o replication.Dial) {
	n.t.Helper()
	n.await("outcome "+o.String(), func() bool { return n.outcomes[o] > 0 })
}

// say queues a message for a peer.
func (n *node) say(to *node, m replication.Message) {
	n.do(func() { n.outbox[to.self.Incarnation] = append(n.outbox[to.self.Incarnation], m) })
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case n.wakes[to.self.Incarnation] <- struct{}{}:
	default:
	}
}

func (n *node) Write(line []byte) (int, error) {
	n.do(func() { n.log += string(line) })
	return len(line), nil
}

func (n *node) Hello() replication.Hello {
	n.mu.Lock()
	defer n.mu.Unlock()
	return replication.Hello{Protocol: 1, ClusterUID: n.cluster, Member: n.self}
}

func (n *node) Admit(h replication.Hello) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h.ClusterUID != n.cluster {
		return fmt.Errorf("cluster %q is not %q", h.ClusterUID, n.cluster)
	}
	return nil
}

func (n *node) PeerUp(p model.Member) (<-chan struct{}, bool) {
	wake := make(chan struct{}, 1)
	ok := true
	n.do(func() {
		if n.up[p.Incarnation] {
			n.t.Errorf("two streams with %d at once", p.Incarnation)
		}
		if n.refused {
			ok = false
			return
		}
		n.up[p.Incarnation] = true
		n.wakes[p.Incarnation] = wake
		n.ups++
	})
	return wake, ok
}

func (n *node) PeerDown(peer model.Incarnation) {
	n.do(func() {
		if !n.up[peer] {
			n.t.Errorf("%d is down, and was not up", peer)
		}
		delete(n.up, peer)
		n.downs++
	})
}

func (n *node) Pull(peer model.Incarnation) []replication.Message {
	defer n.cond.Broadcast()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.chatty && len(n.outbox[peer]) == 0 && !n.said[peer] {
		n.said[peer] = true
		return []replication.Message{{Kind: replication.KindDelta}}
	}
	delete(n.said, peer)
	batch := n.outbox[peer]
	if len(batch) > 3 {
		batch = batch[:3]
	}
	n.outbox[peer] = n.outbox[peer][len(batch):]
	if len(batch) == 0 {
		return nil
	}
	n.pulled = append(n.pulled, len(batch))
	return batch
}

func (n *node) Receive(from model.Incarnation, m replication.Message) {
	n.mu.Lock()
	block := n.block
	n.mu.Unlock()
	if block != nil {
		<-block
	}
	n.do(func() {
		if !n.up[from] {
			n.t.Errorf("message of %d, which is not up", from)
		}
		n.received[from] = append(n.received[from], m)
	})
}

func (n *node) Dialled(_ string, o replication.Dial) { n.do(func() { n.outcomes[o]++ }) }

var _ link.Handler = (*node)(nil)
