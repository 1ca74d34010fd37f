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
	do   func(b *bench)
	// woken is when nothing is removed before.
	woken time.Duration
	// hides: there may be publishers where nobody sees them.
	hides bool
}

var disturbances = []disturbance{
	{name: "nothing else", do: func(*bench) {}},
	{name: "own pause of 40 s", do: func(b *bench) { b.sleep(40 * time.Second) }, woken: 80 * time.Second},
	{name: "a clock that jumps", do: func(b *bench) { b.now.Wall += 3_600_000 }},
	{name: "a member comes", do: func(b *bench) { b.join(4) }},
	{name: "a member goes", do: func(b *bench) { b.leave(3) }},
	{name: "a member vanishes", do: func(b *bench) { b.vanish(3) }, hides: true},
	{name: "one that starts vanishes", do: func(b *bench) { b.begin(4); b.pass(time.Second); b.vanish(4) }, hides: true},
	{name: "one comes and goes", do: func(b *bench) { b.join(4); b.pass(time.Second); b.leave(4) }},
}

// unseen: a short cut during a pause of our own is nothing that we could know of.
func unseen(c cut, d disturbance) bool { return c == cutShort && d.woken > 0 }

// sleep freezes the process.
func (b *bench) sleep(d time.Duration) {
	b.now.Mono += d
	b.now.Wall += d.Milliseconds()
	b.react(b.Paused(b.now, d))
}

func (b *bench) join(p model.Incarnation) { b.enter(p, model.StateComplete) }

// begin is a member that has not said that it is complete.
func (b *bench) begin(p model.Incarnation) { b.enter(p, model.StateStarting) }

func (b *bench) enter(p model.Incarnation, s model.MemberState) {
	b.members = append(b.members, model.Member{Incarnation: p, State: s})
	b.engine.PeerUp(b.now, p)
	b.view()
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
// the clock and changes of the view: the same, but for a pause, after which nothing is removed for as long again.
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
	b := newBench(t, true, 2, 3)
	b.ports = answers(c.port.before)
	b.open("c", c.agent)
	key := b.publish("c", instance)
	b.pass(15 * time.Second)
	b.mute[2] = c.cut == cutBefore
	b.pass(4 * time.Second)
	b.ports = answers(c.port.after)
	if c.ours {
		b.CloseOurselves()
	}
	b.Close(b.now, "c")
	c.judge(b, key, c.connectionEnds())
}

// judge lets the disturbance and the cut happen, and looks how long the record lives from now.
func (c cell) judge(b *bench, key model.RecordKey, want time.Duration) {
	b.t.Helper()
	lost := b.now.Mono
	b.mute[2] = c.cut != noCut
	c.do(b)
	b.lasts(key, lost+c.cut.heal()-b.now.Mono)
	b.mute[2] = false
	b.lasts(key, forever)
	if got := b.ended[key] - lost; got < want || got > want+slack {
		b.t.Errorf("ended after %v, want %v", got, want)
	}
	if tomb := b.store.Record(key); tomb == nil || !tomb.Deleted {
		b.t.Errorf("left behind: %+v", tomb)
	}
}

// TestBeatCells is every cell for publishers that beat, likewise. A cut or a move makes them unclaimed, by our doing, when
// their beats have been silent for 15 s.
func TestBeatCells(t *testing.T) {
	moved := disturbance{name: "responsibility moves", do: func(b *bench) {
		for i := model.Incarnation(10); ; i++ {
			b.join(i)
			if to, _ := b.Responsible(b.beating); to != self {
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
	b := newBench(t, true, 2, 3)
	b.ports = answers(c.port.before)
	b.beating, _ = b.stayingBeats(4)
	for range 3 {
		b.pass(5 * time.Second)
		b.Beat(b.now, b.beating, self)
	}
	b.mute[2] = c.cut == cutBefore
	b.pass(4 * time.Second)
	b.ports = answers(c.port.after)
	b.Beat(b.now, b.beating, self)
	c.judge(b, b.beating, c.beatEnds())
}

// stayingBeats registers an HTTP client for which we stay responsible when a member comes.
func (b *bench) stayingBeats(comes model.Incarnation) (model.RecordKey, model.Instance) {
	b.t.Helper()
	b.join(comes)
	var port int
	for port = 1; port < 65536; port++ {
		if to, _ := b.Responsible(model.RecordKey{Publisher: session.BeatPublisher(instance.IP, port)}); to == self {
			break
		}
	}
	b.leave(comes)
	in := instance
	in.Port = int32(port)
	b.Register(b.now, orders, in, model.Client{IP: in.IP})
	key := model.RecordKey{Publisher: session.BeatPublisher(in.IP, int(in.Port)), Service: orders}
	if to, _ := b.Responsible(key); to != self {
		b.t.Fatal("who leaves has taken responsibility along")
	}
	return key, in
}

// TestOriginGoes: a loss that was its publisher's becomes ours when the origin goes, from then on: whoever knows the
// record only from others has not seen what the origin saw.
func TestOriginGoes(t *testing.T) {
	for name, p := range ports {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, true, 2)
			r := b.foreign(2, "c", java, instance)
			r.Answered = !p.never()
			b.receiveRecord(2, r)
			b.ports = answers(p.after)
			b.pass(15 * time.Second)
			b.receiveRecord(2, r.WithUnclaimed(model.CausePublisher, b.now.Mono))
			b.pass(30 * time.Second)
			if !b.lives(r.Key) {
				t.Fatal("removed while its origin is a member, which alone may")
			}
			b.leave(2)
			want := 5 * time.Minute
			if p.refuted() {
				want = 45 * time.Second
			}
			if got := b.lasts(r.Key, forever); got < want || got > want+slack {
				t.Errorf("removed after %v, want %v", got, want)
			}
		})
	}
}

// TestFirstReplicaMoves: whoever takes a shard over begins no time anew, and who gives it up removes nothing of it.
func TestFirstReplicaMoves(t *testing.T) {
	b := newBench(t, true, 2)
	r := b.foreign(2, "c", java, instance)
	b.receiveRecord(2, r)
	b.pass(15 * time.Second)
	b.leave(2)
	lost := b.now.Mono
	taker := model.Incarnation(10)
	for ; ; taker++ { // until one of them has the shard
		b.join(taker)
		if b.firstReplica(orders) != self {
			break
		}
		b.leave(taker)
	}
	if got := b.lasts(r.Key, 6*time.Minute); got < 6*time.Minute {
		t.Fatalf("removed after %v by one that has given the shard up", got)
	}
	b.leave(taker)
	b.pass(2 * recheck)
	if b.lives(r.Key) {
		t.Errorf("still there %v after the loss, though its time was over when we took the shard", b.now.Mono-lost)
	}
}

// recheck is how often somebody else's record is looked at.
const recheck = time.Second
