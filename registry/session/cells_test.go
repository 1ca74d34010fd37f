package session_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/session"
)

// port is what a port says before a loss, and after it.
type port struct{ before, after session.PortAnswer }

var ports = map[string]port{
	"port answers":             {session.PortAccepted, session.PortAccepted},
	"never answered":           {session.PortSilent, session.PortSilent},
	"refused always":           {session.PortRefused, session.PortRefused},
	"refuted":                  {session.PortAccepted, session.PortRefused},
	"answered once, silent":    {session.PortAccepted, session.PortSilent},
	"answered once, not asked": {session.PortAccepted, session.PortUnknown},
}

func (p port) refuted() bool {
	return p.before == session.PortAccepted && p.after == session.PortRefused
}
func (p port) never() bool { return p.before != session.PortAccepted }

// unreachable: its host does not answer any more, which one does that serves its clients elsewhere.
func (p port) unreachable() bool {
	return p.before == session.PortAccepted && p.after == session.PortSilent
}

// cut says when a member that cannot be reached was last heard; it is for two minutes from the loss, or for a short time.
type cut string

const (
	noCut     cut = "no cut"
	cutBefore cut = "cut at the loss"
	cutAfter  cut = "cut after the loss"
	cutShort  cut = "cut for 8 s after the loss"
)

func (c cut) heal() time.Duration {
	if c == cutShort {
		return 8 * time.Second
	}
	return 2 * time.Minute
}

// disturbance is what else goes on.
type disturbance struct {
	name string
	do   func(h *harness)
	// woken is when nothing is removed before.
	woken time.Duration
	// hides: there may be publishers where nobody sees them.
	hides bool
}

var disturbances = []disturbance{
	{name: "nothing else", do: func(*harness) {}},
	{name: "own pause of 40 s", do: func(h *harness) { h.sleep(40 * time.Second) }, woken: 75 * time.Second},
	{name: "a clock that jumps", do: func(h *harness) { h.now.Wall += 3_600_000 }},
	{name: "a member comes", do: func(h *harness) { h.join(4) }},
	{name: "a member goes", do: func(h *harness) { h.leave(3) }},
	{name: "a member vanishes", do: func(h *harness) { h.vanish(3) }, hides: true},
	{name: "one that starts vanishes", do: func(h *harness) { h.begin(4); h.pass(time.Second); h.vanish(4) }, hides: true},
	{name: "one comes and goes", do: func(h *harness) { h.join(4); h.pass(time.Second); h.leave(4) }},
}

// unseen: a short cut during a pause of our own is nothing that we could know of.
func unseen(c cut, d disturbance) bool { return c == cutShort && d.woken > 0 }

// sleep freezes the process.
func (h *harness) sleep(d time.Duration) {
	h.now.Mono += d
	h.now.Wall += d.Milliseconds()
	h.react(h.Paused(h.now, d))
}

func (h *harness) join(p model.Incarnation) { h.enter(p, model.StateComplete) }

// begin is a member that has not said that it is complete.
func (h *harness) begin(p model.Incarnation) { h.enter(p, model.StateStarting) }

func (h *harness) enter(p model.Incarnation, s model.MemberState) {
	h.members = append(h.members, model.Member{Incarnation: p, State: s})
	h.engine.PeerUp(h.now, p)
	h.view()
}

// cell is one of the table of the design, with what goes on in it.
type cell struct {
	port  port
	cut   cut
	agent string
	ours  bool
	disturbance
}

// connectionEnds is the table for a connection that is lost: how long the record lives from there.
func (c cell) connectionEnds() time.Duration {
	own := 40 * time.Second
	switch {
	case c.port.refuted():
		own = 0
	case c.hidden():
		own = 5 * time.Minute
	case c.port.never() && c.agent == python:
		own = 35 * time.Second
	case c.port.never():
		own = 5 * time.Second
	}
	// the cut is noticed after 2.5 s: what is over before, is over
	if c.ours || c.cut == cutBefore || c.cut != noCut && max(own, c.woken) > 2500*time.Millisecond {
		own = c.lenient(0)
	}
	return max(own, c.woken)
}

// lenient is the same when the trouble is ours since then.
func (c cell) lenient(since time.Duration) time.Duration {
	switch {
	case c.port.refuted():
		return since + 45*time.Second
	case c.cut != noCut:
		return max(since, c.cut.heal()) + 5*time.Minute
	}
	return since + 5*time.Minute
}

// hidden: its publisher may be at a member that vanished.
func (c cell) hidden() bool { return c.hides && !c.port.refuted() && !c.port.unreachable() }

// TestConnectionCells is every cell of the table for publishers with a connection, and each under moves, pauses, jumps of
// the clock and changes of the view: the same, but for a pause, after which nothing is removed for as long again (35 s at most).
func TestConnectionCells(t *testing.T) {
	for _, ours := range []bool{false, true} {
		for _, agent := range []string{java, python} {
			for name, p := range ports {
				for _, cut := range []cut{noCut, cutBefore, cutAfter, cutShort} {
					for _, d := range disturbances {
						if unseen(cut, d) || agent == python && !p.never() && d.name != disturbances[0].name {
							continue // Python's redo counts for ports that never answered
						}
						c := cell{port: p, cut: cut, agent: agent, ours: ours, disturbance: d}
						t.Run(fmt.Sprintf("ours %v/%s/%s/%s/%s", ours, agent[6:10], name, cut, d.name), c.connection)
					}
				}
			}
		}
	}
}

func (c cell) connection(t *testing.T) {
	h := newHarness(t, true, 2, 3)
	h.ports = answers(c.port.before)
	h.open("c", c.agent)
	key := h.publish("c", instance)
	h.pass(15 * time.Second)
	h.mute[2] = c.cut == cutBefore
	h.pass(4 * time.Second)
	h.ports = answers(c.port.after)
	if c.ours {
		h.CloseOurselves()
	}
	h.Close(h.now, "c")
	c.judge(h, key, c.connectionEnds())
}

// judge lets the disturbance and the cut happen, and looks how long the record lives from now.
func (c cell) judge(h *harness, key model.RecordKey, want time.Duration) {
	h.t.Helper()
	lost := h.now.Mono
	h.mute[2] = c.cut != noCut
	c.do(h)
	h.lasts(key, lost+c.cut.heal()-h.now.Mono)
	h.mute[2] = false
	h.lasts(key, forever)
	if got := h.ended[key] - lost; got < want || got > want+slack {
		h.t.Errorf("ended after %v, want %v", got, want)
	}
	if tomb := h.store.Record(key); tomb == nil || !tomb.Deleted {
		h.t.Errorf("left behind: %+v", tomb)
	}
}

// TestBeatCells is every cell for publishers that beat, likewise. A cut or a move makes them unclaimed, by our doing, when
// their beats have been silent for 15 s.
func TestBeatCells(t *testing.T) {
	moved := disturbance{name: "responsibility moves", do: func(h *harness) {
		for i := model.Incarnation(10); ; i++ {
			h.join(i)
			if to, _ := h.Responsible(h.beating); to != self {
				return
			}
		}
	}}
	for name, p := range ports {
		for _, cut := range []cut{noCut, cutBefore, cutAfter, cutShort} {
			for _, d := range append([]disturbance{moved}, disturbances...) {
				if unseen(cut, d) {
					continue
				}
				c := cell{port: p, cut: cut, ours: d.name == moved.name, disturbance: d}
				t.Run(fmt.Sprintf("%s/%s/%s", name, cut, d.name), c.beat)
			}
		}
	}
}

// beatEnds is how long the record lives from its last beat.
func (c cell) beatEnds() time.Duration {
	// all silence during a pause was ours, and none counts for as long again
	silent := 15 * time.Second
	if c.woken > 0 {
		silent = c.woken
	}
	switch {
	case c.ours || c.cut != noCut:
		return c.lenient(silent)
	case c.hidden():
		return silent + 5*time.Minute
	case c.hides && c.port.unreachable():
		return silent + 40*time.Second
	case c.woken > 0:
		return c.woken
	case c.port.refuted():
		return silent
	}
	return 30 * time.Second
}

func (c cell) beat(t *testing.T) {
	h := newHarness(t, true, 2, 3)
	h.ports = answers(c.port.before)
	h.beating, _ = h.stayingBeats(4)
	for range 3 {
		h.pass(5 * time.Second)
		h.Beat(h.now, h.beating, self)
	}
	h.mute[2] = c.cut == cutBefore
	h.pass(4 * time.Second)
	h.ports = answers(c.port.after)
	h.Beat(h.now, h.beating, self)
	c.judge(h, h.beating, c.beatEnds())
}

// stayingBeats registers an HTTP client for which we stay responsible when a member comes.
func (h *harness) stayingBeats(comes model.Incarnation) (model.RecordKey, model.Instance) {
	h.t.Helper()
	h.join(comes)
	var port int
	for port = 1; port < 65536; port++ {
		if to, _ := h.Responsible(model.RecordKey{Publisher: session.BeatPublisher(instance.IP, port)}); to == self {
			break
		}
	}
	h.leave(comes)
	in := instance
	in.Port = int32(port)
	h.Register(h.now, orders, in, model.Client{IP: in.IP})
	key := model.RecordKey{Publisher: session.BeatPublisher(in.IP, int(in.Port)), Service: orders}
	if to, _ := h.Responsible(key); to != self {
		h.t.Fatal("who leaves has taken responsibility along")
	}
	return key, in
}

// TestOriginGoes: a loss that was its publisher's becomes ours when the origin goes, from then on: whoever knows the
// record only from others has not seen what the origin saw.
func TestOriginGoes(t *testing.T) {
	for name, p := range ports {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, true, 2)
			r := h.foreign(2, "c", java, instance)
			r.Answered = !p.never()
			h.receiveRecord(2, r)
			h.ports = answers(p.after)
			h.pass(15 * time.Second)
			h.receiveRecord(2, r.WithUnclaimed(model.CausePublisher, h.now.Mono))
			h.pass(30 * time.Second)
			if !h.lives(r.Key) {
				t.Fatal("removed while its origin is a member, which alone may")
			}
			h.leave(2)
			want := 5 * time.Minute
			if p.refuted() {
				want = 45 * time.Second
			}
			if got := h.lasts(r.Key, forever); got < want || got > want+slack {
				t.Errorf("removed after %v, want %v", got, want)
			}
		})
	}
}

// TestFirstReplicaMoves: whoever takes a shard over begins no time anew, and who gives it up removes nothing of it.
func TestFirstReplicaMoves(t *testing.T) {
	h := newHarness(t, true, 2)
	r := h.foreign(2, "c", java, instance)
	h.receiveRecord(2, r)
	h.pass(15 * time.Second)
	h.leave(2)
	lost := h.now.Mono
	taker := model.Incarnation(10)
	for ; ; taker++ { // until one of them has the shard
		h.join(taker)
		if h.firstReplica(orders) != self {
			break
		}
		h.leave(taker)
	}
	if got := h.lasts(r.Key, 6*time.Minute); got < 6*time.Minute {
		t.Fatalf("removed after %v by one that has given the shard up", got)
	}
	h.leave(taker)
	h.pass(2 * recheck)
	if h.lives(r.Key) {
		t.Errorf("still there %v after the loss, though its time was over when we took the shard", h.now.Mono-lost)
	}
}

// recheck is how often somebody else's record is looked at.
const recheck = time.Second
