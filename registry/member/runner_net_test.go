package member_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
	"github.com/muster-registry/muster/test/sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a network without sockets and a table of members, for runners in one bubble of time.
type world struct {
	t      *testing.T
	factor int // replication factor of those that are started

	mu      sync.Mutex // guards all below
	nodes   map[string]*node
	entries map[string]membership.Entry // by UID
	changed chan struct{}               // closed and made anew at every change of entries
	away    map[string]bool             // those who cannot write
	history []string                    // what was announced, "a complete clean"
}

// node is one runner, its links and its source.
type node struct {
	*member.Runner
	w       *world
	address string
	cancel  context.CancelFunc
	ended   chan error

	mu         sync.Mutex // guards all below
	targets    []string
	streams    map[string]*cable
	reconnects int
}

// cable is an open stream as one end sees it.
type cable struct {
	cancel context.CancelFunc
	done   chan struct{}
}

func newWorld(t *testing.T) *world {
	return &world{t: t, nodes: map[string]*node{}, entries: map[string]membership.Entry{}, away: map[string]bool{}, changed: make(chan struct{})}
}

func options(w *world, name string) member.RunnerOptions {
	o := member.RunnerOptions{
		Self: model.Member{Name: name, UID: name, Address: name + ":9849", ClientPort: 8848}, ClusterUID: "cluster",
		Policy: membership.PolicyLease(), DrainGrace: time.Minute, Log: slog.New(slog.DiscardHandler),
		Timeouts: sim.Timeouts(), Waited: func() time.Duration { return 0 },
	}
	if w == nil {
		o.Policy = membership.PolicyStandalone()
	} else {
		o.Source, o.ReplicationFactor = &source{world: w, uid: name}, w.factor
	}
	return o
}

// start lets a runner run until the test ends, or it is killed.
func (w *world) start(name string) *node {
	n := &node{w: w, address: name + ":9849", ended: make(chan error, 1), streams: map[string]*cable{}}
	n.Runner = member.NewRunner(options(w, name))
	ctx, cancel := context.WithCancel(w.t.Context())
	n.cancel = cancel
	w.mu.Lock()
	w.nodes[n.address] = n
	w.mu.Unlock()
	go func() { n.ended <- n.Run(ctx, n) }()
	go n.dial(ctx)
	return n
}

// kill is a crash: nobody is told.
func (n *node) kill() {
	n.w.mu.Lock()
	delete(n.w.nodes, n.address)
	n.w.mu.Unlock()
	n.cancel()
	if err := <-n.ended; err != nil {
		n.w.t.Errorf("run of %s: %v", n.address, err)
	}
	n.drop()
}

// SetTargets implements member.Links.
func (n *node) SetTargets(addresses []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.targets = addresses
}

// Reconnect implements member.Links.
func (n *node) Reconnect() {
	n.mu.Lock()
	n.reconnects++
	n.mu.Unlock()
	n.drop()
}

func (n *node) reconnected() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.reconnects
}

// drop ends all streams.
func (n *node) drop() {
	n.mu.Lock()
	var open []*cable
	for _, c := range n.streams {
		open = append(open, c)
	}
	n.mu.Unlock()
	for _, c := range open {
		c.cancel()
		<-c.done
	}
}

// dial connects targets that are not.
func (n *node) dial(ctx context.Context) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		n.mu.Lock()
		targets := slices.Clone(n.targets)
		n.mu.Unlock()
		for _, a := range targets {
			n.connect(a)
		}
	}
}

func (n *node) connect(address string) {
	n.w.mu.Lock()
	defer n.w.mu.Unlock() // one handshake at a time: two never cross
	peer := n.w.nodes[address]
	n.mu.Lock()
	open := n.streams[address] != nil
	n.mu.Unlock()
	switch {
	case open:
		return
	case peer == nil:
		n.Dialled(address, replication.DialRefused)
		return
	}
	if n.Admit(peer.Hello()) != nil || peer.Admit(n.Hello()) != nil {
		n.Dialled(address, replication.DialRejected)
		return
	}
	n.Dialled(address, replication.DialConnected)
	ctx, cancel := context.WithCancel(context.Background())
	c := &cable{cancel: cancel, done: make(chan struct{})}
	here, there := n.Self(), peer.Self()
	up, ok1 := n.PeerUp(there)
	down, ok2 := peer.PeerUp(here)
	if !ok1 || !ok2 {
		n.w.t.Error("a peer that was admitted is refused")
	}
	n.hold(address, c)
	peer.hold(n.address, c)
	go func() {
		defer close(c.done)
		var pumps sync.WaitGroup
		pumps.Go(func() { pump(ctx, n.Runner, there.Incarnation, up, peer.Runner, here.Incarnation) })
		pumps.Go(func() { pump(ctx, peer.Runner, here.Incarnation, down, n.Runner, there.Incarnation) })
		pumps.Wait()
		n.PeerDown(there.Incarnation)
		peer.PeerDown(here.Incarnation)
		n.hold(address, nil)
		peer.hold(n.address, nil)
	}()
}

func (n *node) hold(address string, c *cable) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.streams[address] = c; c == nil {
		delete(n.streams, address)
	}
}

func pump(ctx context.Context, from *member.Runner, to model.Incarnation, wake <-chan struct{}, peer *member.Runner, as model.Incarnation) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-wake:
		}
		for ms := from.Pull(to); ms != nil; ms = from.Pull(to) {
			for _, m := range ms {
				peer.Receive(as, m)
			}
		}
	}
}

// source is a table that all members can read and write.
type source struct {
	world *world
	uid   string
}

func (s *source) Run(ctx context.Context, sink func(membership.Listing)) error {
	for {
		s.world.mu.Lock()
		var l membership.Listing
		for _, e := range s.world.entries {
			l.Entries = append(l.Entries, e)
		}
		l.Reachable = true
		changed := s.world.changed
		s.world.mu.Unlock()
		sink(l)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

func (s *source) Announce(_ context.Context, self model.Member, dirty bool) error {
	what := " clean"
	if dirty {
		what = " dirty"
	}
	if s.world.isAway(s.uid) {
		return errAway
	}
	s.world.set(s.uid, membership.Entry{Member: self, Alive: true}, s.uid+" "+self.State.String()+what)
	return nil
}

func (s *source) Leave(context.Context) error {
	s.world.mu.Lock()
	e := s.world.entries[s.uid]
	s.world.mu.Unlock()
	e.Alive, e.Left = false, true
	s.world.set(s.uid, e, s.uid+" left")
	return nil
}

func (w *world) set(uid string, e membership.Entry, what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.entries[uid] = e
	w.history = append(w.history, what)
	close(w.changed)
	w.changed = make(chan struct{})
}

var errAway = errors.New("the table cannot be written")

func (w *world) isAway(uid string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.away[uid]
}

// gone is what others see of a member that cannot renew its Lease.
func (w *world) gone(uid string) {
	w.mu.Lock()
	e := w.entries[uid]
	w.away[uid] = true
	w.mu.Unlock()
	e.Alive = false
	w.set(uid, e, uid+" expired")
}

func (w *world) announced(uid string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var said []string
	for _, h := range w.history {
		if len(h) > len(uid) && h[:len(uid)+1] == uid+" " {
			said = append(said, h[len(uid)+1:])
		}
	}
	return said
}

// pass lets time pass, and everything settle.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
