// Package membershiptest is what every source of membership has to do, as one suite. It runs whole members as far as
// membership goes: a source, a tracker, and streams that open wherever one member has another as a target. So sources
// that list incarnations and sources that list addresses are held to the same behaviour: who is in whose view.
package membershiptest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/model"
)

// World is where the members of a source live.
type World interface {
	// Policy of the source.
	Policy() membership.Policy
	// Add does what the administrator or Kubernetes does to bring a member up, and makes its source.
	Add(self model.Member) membership.Source
	// Remove does what they do when it is gone for good.
	Remove(self model.Member)
	// Cut makes the source unreachable for all, Heal ends that.
	Cut()
	Heal()
	// Foreign plants whatever is like a member of this source, but is none.
	Foreign()
}

// Alone is implemented by a World whose members never see each other.
type Alone interface{ Alone() }

// Suite says how a source is tested.
type Suite struct {
	// New makes an empty world.
	New func(t *testing.T) World
	// Bubble: the world is all in this process, and is run on synthetic time.
	Bubble bool
}

// Run runs the suite.
func (s Suite) Run(t *testing.T) {
	cases := map[string]func(h *harness){
		"a member sees itself at once":                     seesItself,
		"members see each other join":                      seesJoin,
		"a state is seen by the others":                    seesState,
		"who leaves is gone, though the source may lag":    seesLeave,
		"who vanishes and is not listed any more is gone":  seesVanish,
		"an unreachable source freezes the view":           freezes,
		"a new incarnation is admitted while it is frozen": admitsRestart,
		"what is foreign is nobody":                        ignoresForeign,
	}
	for name, run := range cases {
		t.Run(name, func(t *testing.T) {
			body := func(t *testing.T) {
				h := &harness{t: t, world: s.New(t)}
				defer h.close()
				run(h)
			}
			if s.Bubble {
				synctest.Test(t, body)
				return
			}
			body(t)
		})
	}
}

func seesItself(h *harness) {
	a := h.start(1, "a")
	h.await(a, "a#1")
}

func seesJoin(h *harness) {
	a := h.start(1, "a")
	h.await(a, "a#1")
	b := h.start(2, "b")
	if h.alone() {
		h.settled(a, "a#1")
		return
	}
	h.await(a, "a#1 b#2")
	h.await(b, "a#1 b#2")
	c := h.start(3, "c")
	for _, n := range []*node{a, b, c} {
		h.await(n, "a#1 b#2 c#3")
	}
}

func seesState(h *harness) {
	a, b := h.start(1, "a"), h.start(2, "b")
	if h.alone() {
		h.settled(a, "a#1")
		return
	}
	h.await(a, "a#1 b#2")
	h.state(b, model.StateLeaving)
	h.await(a, "a#1 b#2/leaving")
}

func seesLeave(h *harness) {
	a, b, c := h.start(1, "a"), h.start(2, "b"), h.start(3, "c")
	if h.alone() {
		return
	}
	h.await(a, "a#1 b#2 c#3")
	h.await(c, "a#1 b#2 c#3")
	h.leave(b)
	h.await(a, "a#1 c#3")
	h.world.Remove(b.self)
	h.await(c, "a#1 c#3")
	h.settled(a, "a#1 c#3")
}

func seesVanish(h *harness) {
	a, b := h.start(1, "a"), h.start(2, "b")
	if h.alone() {
		return
	}
	h.await(a, "a#1 b#2")
	h.kill(b)
	h.world.Remove(b.self)
	h.await(a, "a#1")
}

func freezes(h *harness) {
	a, b := h.start(1, "a"), h.start(2, "b")
	if h.alone() {
		return
	}
	h.await(a, "a#1 b#2")
	h.world.Cut()
	h.await(a, "a#1 b#2 frozen")
	h.kill(b)
	h.settled(a, "a#1 b#2 frozen")
	h.world.Heal()
	h.world.Remove(b.self)
	h.await(a, "a#1")
}

func admitsRestart(h *harness) {
	a, b := h.start(1, "a"), h.start(2, "b")
	if h.alone() {
		return
	}
	h.await(a, "a#1 b#2")
	h.await(b, "a#1 b#2")
	h.world.Cut()
	h.await(a, "a#1 b#2 frozen")
	h.kill(b)
	again := model.Member{Incarnation: 22, Name: "b", UID: b.self.UID, Address: b.self.Address, State: model.StateComplete}
	h.handshake(a, again)
	h.await(a, "a#1 b#16 frozen")
}

func ignoresForeign(h *harness) {
	a := h.start(1, "a")
	h.await(a, "a#1")
	h.world.Foreign()
	h.settled(a, "a#1")
	if h.alone() {
		return
	}
	h.start(2, "b")
	h.await(a, "a#1 b#2")
	h.settled(a, "a#1 b#2")
}

// harness runs members of one world.
type harness struct {
	t     *testing.T
	world World
	nodes []*node
}

// node is one member as far as membership goes.
type node struct {
	self   model.Member
	source membership.Source
	cancel context.CancelFunc
	done   chan struct{}
	dead   bool

	mu      sync.Mutex // guards tracker
	tracker *membership.Tracker
	begin   time.Time
}

func (n *node) now() model.Time { return model.Time{Mono: time.Since(n.begin)} }

func (h *harness) alone() bool {
	_, ok := h.world.(Alone)
	return ok
}

func (h *harness) start(inc model.Incarnation, name string) *node {
	h.t.Helper()
	self := model.Member{Incarnation: inc, Name: name, UID: "uid-" + name, Address: fmt.Sprintf("10.0.0.%d:9849", inc), ClientPort: 8848, State: model.StateComplete}
	ctx, cancel := context.WithCancel(context.Background())
	n := &node{
		self: self, source: h.world.Add(self), cancel: cancel, done: make(chan struct{}), begin: time.Now(),
		tracker: membership.NewTracker(h.world.Policy(), self),
	}
	h.nodes = append(h.nodes, n)
	if err := n.source.Announce(ctx, self, false); err != nil {
		h.t.Fatalf("announce %s: %v", name, err)
	}
	go func() {
		defer close(n.done)
		err := n.source.Run(ctx, func(l membership.Listing) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.tracker.SetListing(n.now(), l)
		})
		if err != nil {
			h.t.Errorf("run %s: %v", name, err)
		}
	}()
	return n
}

// step opens streams where there are targets, and lets time pass.
func (h *harness) step() {
	for _, n := range h.nodes {
		if n.dead {
			continue
		}
		n.mu.Lock()
		targets := n.tracker.Targets()
		n.tracker.Tick(n.now())
		n.mu.Unlock()
		for _, o := range h.nodes {
			for _, a := range targets {
				if o != n && !o.dead && o.self.Address == a {
					h.handshake(n, o.self)
					h.handshake(o, n.self)
				}
			}
		}
	}
	<-time.After(20 * time.Millisecond)
}

func (h *harness) handshake(n *node, peer model.Member) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tracker.PeerUp(n.now(), peer)
}

// await waits until the view of n is as wanted. The limit, of real or synthetic time, is for a test that fails.
func (h *harness) await(n *node, want string) {
	h.t.Helper()
	for limit := time.Now().Add(90 * time.Second); time.Now().Before(limit); h.step() {
		if n.view() == want {
			return
		}
	}
	h.t.Fatalf("view of %s = %q, want %q", n.self.Name, n.view(), want)
}

// settled checks that the view stays as it is, over many steps.
func (h *harness) settled(n *node, want string) {
	h.t.Helper()
	for range 20 {
		h.step()
		if got := n.view(); got != want {
			h.t.Fatalf("view of %s = %q, want it to stay %q", n.self.Name, got, want)
		}
	}
}

func (h *harness) state(n *node, s model.MemberState) {
	n.self.State = s
	n.mu.Lock()
	n.tracker.SetSelf(n.now(), n.self)
	n.mu.Unlock()
	if err := n.source.Announce(context.Background(), n.self, false); err != nil {
		h.t.Errorf("announce: %v", err)
	}
}

// leave ends a member in order: it tells its peers and its source.
func (h *harness) leave(n *node) {
	if err := n.source.Leave(context.Background()); err != nil {
		h.t.Errorf("leave: %v", err)
	}
	for _, o := range h.nodes {
		if o != n {
			o.mu.Lock()
			o.tracker.Left(o.now(), n.self.Incarnation)
			o.mu.Unlock()
		}
	}
	h.kill(n)
}

// kill ends a member without a word.
func (h *harness) kill(n *node) {
	n.dead = true
	n.cancel()
	<-n.done
	for _, o := range h.nodes {
		if o != n {
			o.mu.Lock()
			o.tracker.PeerDown(o.now(), n.self.Incarnation)
			o.mu.Unlock()
		}
	}
}

func (h *harness) close() {
	for _, n := range h.nodes {
		n.cancel()
		<-n.done
	}
}

// view is "name#incarnation" or "name#incarnation/state" for those not complete, "frozen" at the end.
func (n *node) view() string {
	n.mu.Lock()
	v := n.tracker.View()
	n.mu.Unlock()
	var out []string
	for _, m := range v.Members {
		s := m.Name + "#" + strings.TrimLeft(m.Incarnation.String(), "0")
		if m.State != model.StateComplete {
			s += "/" + m.State.String()
		}
		out = append(out, s)
	}
	if v.Frozen {
		out = append(out, "frozen")
	}
	return strings.Join(out, " ")
}
