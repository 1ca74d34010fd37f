package session

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
	"github.com/muster-registry/muster/registry/ring"
)

// Timeouts are the graces of the design (architecture: "Unclaimed records, expiry, protection").
type Timeouts struct {
	Connection        time.Duration // publisher's connection lost, port answers
	SilentConnection  time.Duration // the same, port never answered
	MemberLoss        time.Duration // ours
	Refuted           time.Duration // ours, port answered once and refuses now
	BeatUnhealthy     time.Duration
	BeatRemove        time.Duration
	UnknownOriginGone time.Duration // an origin that no view shows for so long is gone
	// Brake bounds how much may expire at once, whatever the graces say.
	Brake Brake
}

// Options are what a Table needs.
type Options struct {
	Engine   *replication.Engine
	Store    *catalog.Store
	HLC      *model.HLC
	Timeouts Timeouts
	// Probing is false when nothing may be probed: then nothing is known of ports, and the lenient grace holds.
	Probing bool
	// Trace, when set, is told every change of a record, with no lock held. The simulation checks its invariants there.
	Trace func(now model.Time, c catalog.Change)
}

const (
	// pythonGrace is how long a Python client may take to register again (its redo loop wakes every 30 s).
	pythonGrace = 35 * time.Second
	// detectAfter is the silence of a connection after which it is asked for a sign of life, detectTimeout how long the
	// answer may take (nacos-protocol §3.3).
	detectAfter   = 20 * time.Second
	detectTimeout = 5 * time.Second
	// probeAfter is when a new record is probed once, so that one knows what its ports answer at all.
	probeAfter = 10 * time.Second
	// probeTimeout is when a probe without a verdict is given up, patientTimeout the same for a record that is held back:
	// when thousands are, each gets its turn, and waits in no queue twice.
	probeTimeout   = 3 * time.Second
	patientTimeout = 10 * time.Minute
	// reprobe is how long a verdict holds.
	reprobe = 10 * time.Second
	// reprobeHeld is how often beating publishers are probed while they are held back.
	reprobeHeld = time.Minute
	// maxProbes bounds what waits to be taken.
	maxProbes = 10_000
	// recheck is how often somebody else's claim is looked at again.
	recheck = time.Second
	// relisten is how often it is looked whether the other members have been heard.
	relisten = 200 * time.Millisecond
	// administeredLinger is how long what an administrator said outlives the last instance that it is about.
	administeredLinger = 60 * time.Second
	// departedMemory is how long an incarnation that left is remembered.
	departedMemory = time.Hour
)

// Signal is something that a connection's writer shall do.
type Signal struct {
	Connection string
	Kind       SignalKind
}

// SignalKind says what.
type SignalKind uint8

// Kinds of signal.
const (
	// SignalDetect asks the client for a sign of life.
	SignalDetect SignalKind = iota
	// SignalClose ends a connection that gave none.
	SignalClose
)

// Probe asks whether the ports of a record accept a TCP connection. The verdict comes back by Table.Verdict.
type Probe struct {
	Key     model.RecordKey
	Targets []model.InstanceKey
	// Patient: nobody waits for the verdict. It is the first probe of a new record, which is as good minutes later: when
	// thousands come at once, all of them shall be asked, and not only those that the rate has room for at once (L2).
	Patient bool
}

// PortAnswer is what the ports of a record answered together.
type PortAnswer uint8

// Answers.
const (
	PortUnknown  PortAnswer = iota // nobody asked: probing is off, the address is denied, or there was no time for it
	PortSilent                     // no port accepted, and some neither accepted nor refused
	PortAccepted                   // one accepted at least
	PortRefused                    // all refused
)

// Table is the state of all publishers at one member.
type Table struct {
	opts  Options
	self  atomic.Uint64
	store *catalog.Store

	// mu guards all below. Under it the engine is asked whether peers were heard, which takes its own locks
	// (registry/CONCURRENCY.md), and the store how many instances there are, which takes none; neither of them is changed.
	mu         sync.Mutex
	view       *model.View
	ring       *ring.Ring
	active     bool
	doubt      bool
	removeFrom time.Duration // nothing is removed before
	woke       time.Duration // when a pause ended, or may have
	lastCut    time.Duration
	cutSaid    model.Stamp   // the clock at lastCut, or when a pause ended: what was said before may have been changed unheard
	lost       time.Duration // when a member last went from the view without a word
	conns      map[string]*conn
	beats      map[model.RecordKey]*beat
	claims     map[model.RecordKey]*claim
	asks       map[model.RecordKey]ask
	restamps   map[model.RecordKey]bool
	// administered is since when an administrator's record is about nothing; 0: it is about something.
	administered map[model.RecordKey]time.Duration
	unknown      map[model.Incarnation]time.Duration
	departed     map[model.Incarnation]time.Duration
	timers       timers
	brake        brake
	probes       []Probe
	peaks        peaks
}

// New returns a table that vouches for nobody.
func New(o Options) *Table {
	return &Table{
		opts: o, store: o.Store, lastCut: -time.Hour, lost: -time.Hour, removeFrom: -time.Hour, woke: -time.Hour,
		conns: map[string]*conn{}, beats: map[model.RecordKey]*beat{}, claims: map[model.RecordKey]*claim{},
		asks: map[model.RecordKey]ask{}, restamps: map[model.RecordKey]bool{}, administered: map[model.RecordKey]time.Duration{},
		unknown: map[model.Incarnation]time.Duration{}, departed: map[model.Incarnation]time.Duration{},
		brake: newBrake(o.Timeouts.Brake),
	}
}

func (t *Table) incarnation() model.Incarnation { return model.Incarnation(t.self.Load()) }

// said is the version of something that a publisher says now.
func (t *Table) said(now model.Time) model.Version {
	s := t.opts.HLC.Next(now)
	return model.Version{Said: s, Stamp: s, Origin: t.incarnation()}
}

// again is a later version of what a record says.
func (t *Table) again(now model.Time, r *model.Record) model.Version {
	return r.Version.Again(t.opts.HLC.Next(now), t.incarnation())
}

// restamped is the record, vouched for by this member from now on.
func (t *Table) restamped(now model.Time, r *model.Record) *model.Record {
	return r.Restamped(t.opts.HLC.Next(now), t.incarnation())
}

// SetActive lets the table remove things, or holds it: a member that is not complete, or has just been frozen, knows
// too little.
func (t *Table) SetActive(active bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.active = active
}

// suspended reports whether nothing may be removed now, and a loss says nothing of its publisher. Called with the lock held.
func (t *Table) suspended(now model.Time) bool { return !t.active || t.removeFrom > now.Mono }

// SetDoubt says whether the view may miss members: its source cannot be reached, or shows members that were gone. Then a
// publisher that falls silent here may live elsewhere.
func (t *Table) SetDoubt(doubt bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.doubt = doubt
}

// SetView takes in a new view. The records of an origin that left it are vouched for by nobody from now on.
func (t *Table) SetView(now model.Time, v *model.View, r *ring.Ring) []Signal {
	t.mu.Lock()
	old := t.view
	t.view, t.ring = v, r
	reborn := t.self.Swap(uint64(v.Self)) != uint64(v.Self) && old != nil
	var gone []model.Incarnation
	if old != nil {
		for _, m := range old.Members {
			if !v.Has(m.Incarnation) {
				t.departed[m.Incarnation] = now.Mono
				gone = append(gone, m.Incarnation)
				if m.State != model.StateLeaving { // one that started may have become complete unheard
					t.lost = now.Mono
				}
			}
		}
	}
	for _, m := range v.Members {
		delete(t.unknown, m.Incarnation)
		delete(t.departed, m.Incarnation)
	}
	var signals []Signal
	if reborn { // it was taken for gone: it may have stood still without noticing it
		t.woke = now.Mono
		signals = t.reclaimAll(now)
	}
	t.mu.Unlock()
	t.disown(now, gone)
	return signals
}

// disown marks, here only, what members that are gone vouched for: every member sees the same and does the same.
func (t *Table) disown(now model.Time, gone []model.Incarnation) {
	if len(gone) == 0 {
		return
	}
	records := t.store.Collect(func(r *model.Record) bool {
		return !r.Deleted && r.Unclaimed != model.CauseOurs && !r.Key.Publisher.Kind.Administers() &&
			slices.Contains(gone, r.Version.Origin)
	})
	for _, r := range records {
		t.note(now, t.store.Update(now, r.Key, func(cur *model.Record) *model.Record {
			if cur == nil || cur.Deleted || cur.Version != r.Version || cur.Unclaimed == model.CauseOurs {
				return nil
			}
			return cur.WithUnclaimed(model.CauseOurs, now.Mono)
		}))
	}
}

// Paused tells that the process stood still for gap: all silence during it was ours. Who lives shows it within the time that the slowest
// client takes to register again: nothing is removed before.
func (t *Table) Paused(now model.Time, gap time.Duration) []Signal {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.removeFrom = max(t.removeFrom, now.Mono+min(max(gap, detectTimeout), pythonGrace))
	t.cutSaid, t.woke, t.brake.woke = t.opts.HLC.Read(now), now.Mono, now.Mono
	for _, b := range t.beats {
		b.last = min(b.last+gap, now.Mono)
	}
	var signals []Signal
	for _, id := range slices.Sorted(maps.Keys(t.conns)) {
		c := t.conns[id]
		c.asked = 0 // whoever was asked before is asked anew: it had no chance to be heard
		signals = append(signals, t.detect(now, c)...)
	}
	return signals
}

// Strained tells that what comes in waits for long before it is looked at (R4): until then silence, and connections that end, may be
// our doing.
func (t *Table) Strained(now model.Time, until time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.removeFrom = max(t.removeFrom, until)
	t.brake.woke = now.Mono
}

// update writes as an origin or on its behalf, to all members.
func (t *Table) update(now model.Time, key model.RecordKey, decide func(cur *model.Record) *model.Record) []catalog.Change {
	changes := t.opts.Engine.Update(now, key, decide)
	t.note(now, changes)
	return changes
}

// note keeps the indexes in step with the catalog, whoever wrote.
func (t *Table) note(now model.Time, changes []catalog.Change) {
	if len(changes) == 0 {
		return
	}
	if t.opts.Trace != nil {
		for _, c := range changes {
			t.opts.Trace(now, c)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range changes {
		t.noteOne(now, c)
	}
}

func (t *Table) noteOne(now model.Time, c catalog.Change) {
	r := c.New
	t.brake.note(now, c.Old, r)
	switch {
	case r.Key.Publisher.Kind.Administers():
		if r.Deleted {
			delete(t.administered, r.Key)
		} else if _, known := t.administered[r.Key]; !known {
			t.administered[r.Key] = 0
			t.timers.add(now.Mono+recheck, timerAdministered, r.Key)
		}
		return
	case r.Deleted || r.Unclaimed == model.Vouched:
		delete(t.claims, r.Key)
	default:
		t.addClaim(now, r)
	}
	if !r.Deleted && r.Version.Origin != t.incarnation() && t.view != nil && !t.view.Has(r.Version.Origin) {
		if _, left := t.departed[r.Version.Origin]; left {
			t.unknown[r.Version.Origin] = now.Mono - t.opts.Timeouts.UnknownOriginGone
		} else if _, known := t.unknown[r.Version.Origin]; !known {
			t.unknown[r.Version.Origin] = now.Mono
		}
	}
	ours := r.Version.Origin == t.incarnation()
	if fresh := c.Old == nil || c.Old.Deleted || c.Old.Version.Origin != r.Version.Origin; t.opts.Probing && ours && fresh && !r.Deleted && !r.Answered {
		t.timers.probes.Add(firstProbe{now.Mono + probeAfter, r})
	}
}

// Forget is told what the catalog gave up because others hold it.
func (t *Table) Forget(records []*model.Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range records {
		delete(t.claims, r.Key)
		delete(t.administered, r.Key)
		t.brake.forget(r)
	}
}

// Tick does what is due.
func (t *Table) Tick(now model.Time) []Signal {
	t.mu.Lock()
	if t.view == nil {
		t.mu.Unlock()
		return nil
	}
	t.noteCut(now)
	due := t.timers.due(now.Mono)
	var lost []model.Incarnation
	for _, inc := range slices.Sorted(maps.Keys(t.unknown)) {
		if now.Mono-t.unknown[inc] >= t.opts.Timeouts.UnknownOriginGone {
			lost = append(lost, inc)
			delete(t.unknown, inc)
			t.departed[inc] = now.Mono
		}
	}
	for inc, at := range t.departed {
		if now.Mono-at > departedMemory {
			delete(t.departed, inc)
		}
	}
	t.brake.tick(now, t.store.Instances())
	t.fit(now)
	t.mu.Unlock()

	t.disown(now, lost)
	t.pruneDoubts(now)
	var signals []Signal
	for _, tm := range due {
		switch tm.kind {
		case timerConn:
			signals = append(signals, t.checkConn(now, tm)...)
		case timerBeat:
			t.checkBeat(now, tm)
		case timerClaim:
			if t.claimDue(tm) {
				t.checkClaim(now, tm.key)
			}
		case timerProbe:
			t.probeOnce(tm.key)
		case timerAdministered:
			t.checkAdministered(now, tm.key)
		}
	}
	t.checkAsks(now)
	return signals
}

// TakeProbes returns the probes that are wanted since the last call.
func (t *Table) TakeProbes() []Probe {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.probes
	t.probes = nil
	return p
}

// Counts are for metrics and operators.
type Counts struct {
	Connections, Beats, Unclaimed int
}

// Counts returns how many publishers of each kind this member vouches for, and how many records nobody does.
func (t *Table) Counts() Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Counts{Connections: len(t.conns), Beats: len(t.beats), Unclaimed: len(t.claims)}
}

// BrakeState returns what the brake does now.
func (t *Table) BrakeState(now model.Time) BrakeState {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.brake.state(now)
}
