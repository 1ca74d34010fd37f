package sim

import (
	"fmt"
	"time"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/session"
)

const tickInterval = 250 * time.Millisecond

// Node is a pod: it stays while its processes come and go.
type Node struct {
	w       *World
	index   int // in World.nodes
	Name    string
	Address string
	// m is the process, nil when there is none. born is when it started: its clock counts from there.
	m    *member.Member
	born time.Duration
	// life counts processes: what was planned for an older one does nothing.
	life int
	// frozen: nothing runs. clockStops: its clocks stand still meanwhile (a VM), else they run on (SIGSTOP).
	frozen     bool
	clockStops bool
	frozenAt   time.Duration
	stood      time.Duration
	leaving    bool
	drained    time.Duration // when it was asked to leave
	clock      clock
	// waits is how long whatever comes in waits before it is looked at; backlog is until when something does.
	waits, backlog time.Duration
	// unanswered is since when nothing that the process asks itself, once a second, has come back.
	unanswered time.Duration
	// late is until when something is on a bad line to it: what the others hold since may be behind that.
	late time.Duration
	// process is the number of the process, of all there were. heard is when the clock of each was last heard of.
	process int
	heard   []time.Duration
	// retired: the pod was taken away for good.
	retired bool

	leases *membership.Leases
	// listing is what the process was told last.
	listing  membership.Listing
	listed   bool
	observer *Observer
	alone    int               // how often the process has started alone
	aloneAt  time.Duration     // when it did last
	state    model.MemberState // that was seen last
	lifeNote string
}

// Timeouts are the defaults of the design: what registry/server makes of the defaults of the file (a test there compares). They are
// written out here because the server would bring sockets and a Kubernetes client along.
func Timeouts() member.Timeouts {
	return member.Timeouts{
		Session: session.Timeouts{
			Connection: 40 * time.Second, SilentConnection: 5 * time.Second, MemberLoss: 5 * time.Minute, Refuted: 45 * time.Second,
			BeatUnhealthy: 15 * time.Second, BeatRemove: 30 * time.Second, UnknownOriginGone: 10 * time.Second,
		},
		Bootstrap: 30 * time.Second, Tombstone: 10 * time.Minute, PushWindow: 50 * time.Millisecond,
		ColdStartQuiet: 6 * time.Second, ColdStartLimit: 35 * time.Second, Rejoin: 6 * time.Second,
	}
}

// AddNode makes a pod without a process.
func (w *World) AddNode() *Node {
	i := len(w.nodes)
	n := &Node{w: w, index: i, Name: fmt.Sprintf("m%d", i), Address: fmt.Sprintf("10.0.0.%d:9849", i+1)}
	n.clock.skew = w.Between(-2*time.Second, 2*time.Second)
	w.nodes = append(w.nodes, n)
	return n
}

// Up reports whether a process runs here and is not frozen.
func (n *Node) Up() bool { return n.m != nil && !n.frozen }

// Start starts a process.
func (n *Node) Start() {
	n.life++
	n.born, n.stood, n.frozen, n.leaving = n.w.now, 0, false, false
	n.waits, n.backlog = 0, 0
	n.process, n.heard = n.w.processes, nil
	n.w.processes++
	n.leases, n.listed = membership.NewLeases(10*time.Second), false
	timeouts := Timeouts()
	timeouts.Session.Brake = n.w.brake
	n.m = member.New(member.Options{
		Self:        model.Member{Name: n.Name, UID: n.Name, Address: n.Address, ClientPort: 8848, Version: "sim"},
		Incarnation: func() model.Incarnation { return model.Incarnation(n.w.rng.Uint64() | 1) },
		Clock:       n, Policy: membership.PolicyLease(), Timeouts: timeouts, Probing: true,
		Trace: func(_ model.Time, c catalog.Change) { n.w.truth.changed(n, c) }, ReplicationFactor: n.w.factor,
	})
	n.alone, n.state = 0, model.StateStarting
	n.w.Logf("%s starts as %s", n.Name, n.m.Self().Incarnation)
	n.every(n.w.Between(0, tickInterval), tickInterval, func() { n.tick() })
	n.w.api.join(n)
	n.w.net.join(n)
	n.observer = newObserver(n)
}

// every runs in this process, while it lives and is not frozen.
func (n *Node) every(first, d time.Duration, do func()) {
	life := n.life
	n.w.Every(first, d, func() bool {
		if n.life != life || n.m == nil {
			return false
		}
		if !n.frozen {
			do()
		}
		return true
	})
}

// list tells the process what the source says, when that is something else than before, as the sources do.
func (n *Node) list(l membership.Listing) {
	if n.listed && l.Same(n.listing) {
		return
	}
	n.listing, n.listed = l, true
	n.m.SetListing(l)
}

func (n *Node) tick() {
	n.list(n.leases.Listing(n.Now()))
	n.m.Waited(max(0, min(n.lag(), n.w.now-n.unanswered)))
	n.m.Tick()
	if n.m.TakeReset() {
		n.w.Logf("%s is %s from now on", n.Name, n.m.Self().Incarnation)
		n.w.net.reset(n)
		n.w.api.renew(n)
	}
	if n.leaving && n.m.HandedOver() {
		n.leaving = false
		n.m.Leave()
		n.w.After(500*time.Millisecond, func() { n.stop("left") })
	}
}

// pump lets the process speak.
func (n *Node) pump() {
	if !n.Up() {
		return
	}
	if s := n.m.Self().State; s != n.state {
		if n.state = s; s == model.StateComplete {
			n.w.truth.completes(n)
		}
	}
	if a := n.m.StartsAlone(); a != n.alone {
		n.alone = a
		n.w.truth.startsAlone(n)
	}
	if n.w.keepLog {
		n.noteLife()
	}
	n.w.net.pull(n)
	for _, p := range n.m.TakeProbes() {
		n.w.probe(n, p)
	}
	n.observer.pull()
	for _, o := range n.w.roamers {
		if o.n == n && o.life == n.life {
			o.pull()
		}
	}
	if n.w.clientsRung {
		for _, c := range n.w.clients {
			c.pull(n)
		}
	}
}

// noteLife writes down how far the process is, when that changes.
func (n *Node) noteLife() {
	ready, why := n.m.Ready()
	s := fmt.Sprintf("ready %v (%s), reads open %v, view", ready, why, n.m.ReadsOpen())
	for _, p := range n.m.View().Members {
		s += fmt.Sprintf(" %s/%s:%s", p.Name, p.Incarnation.String()[:4], p.State)
	}
	if n.m.View().Frozen {
		s += " frozen"
	}
	if s != n.lifeNote {
		n.lifeNote = s
		n.w.note("%s: %s", n.Name, s)
	}
}

// Kill ends the process at once.
func (n *Node) Kill() {
	if n.m != nil {
		n.stop("killed")
	}
}

func (n *Node) stop(how string) {
	if n.m == nil {
		return
	}
	n.w.Logf("%s is %s", n.Name, how)
	n.w.truth.goes(n)
	n.m = nil
	n.life++
	n.frozen = false
	if how == "left" {
		n.w.api.release(n)
	}
	n.w.net.dead(n)
	for _, c := range n.w.clients {
		c.lost(n)
	}
}

// Drain asks the process to leave; it stops when it has handed over, or after the grace.
func (n *Node) Drain() {
	if !n.Up() || n.leaving {
		return
	}
	n.w.Logf("%s drains", n.Name)
	n.leaving, n.drained = true, n.w.now
	n.m.Drain()
	life := n.life
	n.w.After(10*time.Second, func() {
		if n.life == life && n.Up() {
			n.m.CloseConnections()
		}
	})
	n.w.After(60*time.Second, func() {
		if n.life == life {
			n.stop("left")
		}
	})
}

// Retire takes the pod away for good: its process leaves, and none follows.
func (n *Node) Retire() {
	n.w.Logf("%s is taken away", n.Name)
	n.retired = true
	n.Drain()
}

// Freeze stops the process for a while. With clockStops it does not notice by its own clocks.
func (n *Node) Freeze(d time.Duration, clockStops bool) {
	if !n.Up() {
		return
	}
	n.w.Logf("%s is frozen for %v (clock stops: %v)", n.Name, d, clockStops)
	if d > soonBack {
		n.w.truth.goes(n)
	}
	n.frozen, n.clockStops, n.frozenAt = true, clockStops, n.w.now
	life := n.life
	n.w.After(d, func() {
		if n.life != life || !n.frozen {
			return
		}
		n.frozen = false
		if n.clockStops {
			n.stood += n.w.now - n.frozenAt
			n.clock.since += n.w.now - n.frozenAt
		}
		n.w.Logf("%s wakes", n.Name)
		n.w.net.woke(n)
		for _, c := range n.w.clients {
			c.woke(n)
		}
	})
}

// Strain makes the process short of a processor for a while: its timers are served, but what comes in waits.
func (n *Node) Strain(waits, d time.Duration) {
	n.w.Logf("%s is strained for %v: what comes in waits for %v", n.Name, d, waits)
	if n.lag() == 0 {
		n.unanswered = n.w.now.Truncate(time.Second) + time.Second
	}
	n.waits = waits
	life := n.life
	n.w.After(d, func() {
		if n.life == life {
			n.waits, n.backlog = 0, max(n.backlog, n.w.now+n.waits) // what came last is read then
			n.w.Logf("%s is strained no more", n.Name)
		}
	})
}

// lag is how long what comes in now will wait.
func (n *Node) lag() time.Duration { return max(n.waits, n.backlog-n.w.now) }

// soon does what a client wants of the process, at once or when all has been done that came before.
func (n *Node) soon(do func()) {
	lag := n.lag()
	if lag == 0 {
		do()
		return
	}
	n.backlog = n.w.now + lag
	n.whenUp(lag, n.life, do)
}

// whenUp does what has waited so long, or longer if the process is frozen then.
func (n *Node) whenUp(after time.Duration, life int, do func()) {
	n.w.After(after, func() {
		switch {
		case n.life != life || n.m == nil:
		case n.frozen:
			n.whenUp(100*time.Millisecond, life, do)
		default:
			do()
		}
	})
}
