package member

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/push"
	"github.com/muster-registry/muster/registry/replication"
	"github.com/muster-registry/muster/registry/ring"
	"github.com/muster-registry/muster/registry/session"
)

// Timeouts are those of the design, for all parts of a member.
type Timeouts struct {
	Session        session.Timeouts
	Bootstrap      time.Duration // how long replicas that cannot be reached are waited for
	Tombstone      time.Duration
	PushWindow     time.Duration
	ColdStartQuiet time.Duration
	ColdStartLimit time.Duration
	// Rejoin is the pause of the process after which others may have taken it for gone.
	Rejoin time.Duration
}

// Options are what a Member needs.
type Options struct {
	// Self describes the member; its incarnation and state are filled in.
	Self model.Member
	// Incarnation draws a new identity, never 0.
	Incarnation func() model.Incarnation
	Clock       model.Clock
	Policy      membership.Policy
	Timeouts    Timeouts
	Probing     bool
	// MovesPerSecond is how many clients the member asks to go elsewhere while it holds more than its share; 0 = none.
	MovesPerSecond int
	// ReplicationFactor is the number of copies of a shard; 0 = one at every member, else at least 2.
	ReplicationFactor int
	// Trace, when set, is told every change of a record.
	Trace func(now model.Time, c catalog.Change)
}

// Member is one registry process. Safe for concurrent use.
type Member struct {
	opts    Options
	clock   model.Clock
	hlc     *model.HLC
	store   *catalog.Store
	engine  *replication.Engine
	session *session.Table
	hub     *push.Hub
	mover   mover
	applied atomic.Int64 // records that peers have changed here

	// Every request asks these: they are written with mu held, and read without it. ran is Mono when the process last showed that it
	// runs.
	ran          atomic.Int64
	answersLists atomic.Bool

	// waking is held while a pause of the process is dealt with. settling makes one goroutine at a time carry the tracker's
	// and the peers' news to all parts. Taken in this order before mu, and never by what they call.
	waking, settling sync.Mutex

	mu      sync.Mutex // guards all below; of the parts only the tracker and the engine's shares are changed while it is held
	tracker *membership.Tracker
	self    model.Member
	view    *model.View
	ring    *ring.Ring // over view
	life    life
	conns   map[string]*push.Conn
	waiters map[uint64]waiter
	lastID  uint64
	reset   bool
	// strained is until when silence may be ours, because what comes in waits.
	strained time.Duration
	// doubts: what is held may be old, and is fetched anew.
	doubts   bool
	sharding sharding
	swept    time.Duration
	retried  time.Duration
}

// toPush is what read makes of a service; nothing of one whose shard is not here: nothing incomplete is ever pushed.
func (m *Member) toPush(k model.ServiceKey, read func(model.Time, model.ServiceKey) *catalog.Snapshot) *catalog.Snapshot {
	snap, whole := fromCopy(m, k, func() *catalog.Snapshot { return read(m.enter(), k) })
	if !whole {
		return &catalog.Snapshot{Service: k}
	}
	return snap
}

// New returns a member that has joined nothing yet. It accepts registrations at once.
func New(o Options) *Member {
	m := &Member{opts: o, clock: o.Clock, hlc: &model.HLC{}, conns: map[string]*push.Conn{}, waiters: map[uint64]waiter{}, sharding: newSharding()}
	m.mover.perSecond, m.mover.conns = o.MovesPerSecond, map[string]move{}
	m.self = o.Self
	m.self.Incarnation, m.self.State = o.Incarnation(), model.StateStarting
	m.hub = push.New(push.Options{
		Snapshot: func(k model.ServiceKey) *catalog.Snapshot { return m.toPush(k, m.store.Snapshot) },
		Answer: func(k model.ServiceKey) *catalog.Snapshot {
			return m.toPush(k, func(now model.Time, k model.ServiceKey) *catalog.Snapshot { return m.store.Answer(now, k, false) })
		},
		Now:    o.Clock.Now,
		Window: o.Timeouts.PushWindow,
	})
	m.store = catalog.New(catalog.Options{
		Revise:            func(now model.Time) int64 { return m.hlc.Read(now).Millis() },
		OnChange:          func(k model.ServiceKey) { m.hub.Notify(k) },
		TombstoneLifetime: o.Timeouts.Tombstone,
		PerOrigin:         o.ReplicationFactor > 0,
	})
	m.engine = replication.New(replication.Options{Store: m.store, HLC: m.hlc, Sharded: o.ReplicationFactor > 0})
	m.session = session.New(session.Options{
		Engine: m.engine, Store: m.store, HLC: m.hlc, Timeouts: o.Timeouts.Session, Probing: o.Probing, Trace: o.Trace,
	})
	m.tracker = membership.NewTracker(o.Policy, m.self)
	now := m.clock.Now()
	m.ran.Store(int64(now.Mono))
	m.life = newLife(now)
	m.settle(now)
	return m
}

// Self is what this member says of itself now.
func (m *Member) Self() model.Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.self
}

// View is the present view.
func (m *Member) View() *model.View {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.view
}

// Targets are the peer addresses to dial.
func (m *Member) Targets() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tracker.Targets()
}

// stamp is the member's clock, for the handshake.
func (m *Member) stamp() model.Stamp { return m.hlc.Read(m.clock.Now()) }

// SetListing takes in what the source of membership says.
func (m *Member) SetListing(l membership.Listing) {
	now := m.enter()
	m.mu.Lock()
	m.tracker.SetListing(now, l)
	fresh := l.Reachable && (l.Reader == 0 || l.Reader == m.self.Incarnation)
	m.life.listed = m.life.listed || fresh
	m.mu.Unlock()
	m.settle(now)
}

// Dialled takes in how an attempt to connect ended.
func (m *Member) Dialled(address string, d replication.Dial) {
	now := m.enter()
	m.mu.Lock()
	m.tracker.Dialled(now, address, d == replication.DialRefused)
	m.life.dialled[address] = d
	m.mu.Unlock()
	m.settle(now)
}

// PeerUp opens a stream with a peer whose handshake is done. The channel rings when there is something to Pull. A peer
// that was gone from the view is told so, and nothing else.
func (m *Member) PeerUp(p model.Member) <-chan struct{} {
	now := m.enter()
	wake := m.engine.PeerUp(now, p.Incarnation)
	m.mu.Lock()
	gone := m.tracker.WasGone(p.Incarnation)
	if !gone {
		m.tracker.PeerUp(now, p)
	}
	m.life.peerUp(p.Incarnation)
	m.mu.Unlock()
	if gone {
		m.engine.Send(p.Incarnation, replication.Message{Kind: replication.KindGone})
		return wake
	}
	m.settle(now)
	return wake
}

// PeerDown closes it.
func (m *Member) PeerDown(id model.Incarnation) {
	now := m.enter()
	m.engine.PeerDown(id)
	m.mu.Lock()
	m.tracker.PeerDown(now, id)
	m.life.peerDown(id)
	m.mu.Unlock()
	m.settle(now)
}

// Pull returns what to send to a peer now, nil when there is nothing.
func (m *Member) Pull(id model.Incarnation) []replication.Message {
	return m.engine.Pull(m.clock.Now(), id)
}

// Receive takes in a message of a peer.
func (m *Member) Receive(from model.Incarnation, msg replication.Message) {
	now := m.enter()
	in := m.engine.Receive(now, from, msg)
	m.applied.Add(int64(len(in.Changes)))
	m.deliver(m.session.Observe(now, in.Changes))
	if m.coldStart() && slices.ContainsFunc(in.Changes, registers) {
		m.registered(now)
	}
	for _, q := range in.Questions {
		m.deliver(m.session.Asked(now, from, q))
	}
	for _, q := range in.Alive {
		m.session.Alive(q)
	}
	m.takeBeats(now, from, in.Beats)
	m.takeAnswers(in.Answers)
	m.takeLookups(from, in.Lookups)
	m.takeFound(in.Found)
	for _, r := range in.Shown {
		m.deliver(m.session.Shown(now, r))
	}
	for _, k := range in.Withdraw {
		m.session.DeregisterPublisher(now, k)
	}
	m.grew(in.Held)
	m.mu.Lock()
	switch {
	case in.Status != nil:
		m.life.peerStatus(from, *in.Status)
		if peer, ok := m.view.Find(from); ok && peer.State != in.Status.State {
			peer.State = in.Status.State
			m.tracker.PeerUp(now, peer)
		}
	case in.Merged:
		m.life.peerMerged(from)
	case in.Late:
		m.life.peerLate(from)
	case in.Left:
		m.tracker.Left(now, from)
	case in.Gone:
		m.reincarnate(now)
	default:
		m.mu.Unlock()
		return
	}
	m.mu.Unlock()
	m.settle(now)
}

// Verdict takes in what the ports of a record answered to a probe.
func (m *Member) Verdict(key model.RecordKey, a session.PortAnswer) {
	m.session.Verdict(m.clock.Now(), key, a)
}

// TakeProbes returns the probes that are wanted since the last call.
func (m *Member) TakeProbes() []session.Probe { return m.session.TakeProbes() }

// TakeReset reports, once, that the member has a new incarnation and its streams must be opened anew.
func (m *Member) TakeReset() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.reset
	m.reset = false
	return r
}

// Tick lets time pass. It wants to be called every 100 ms or so; what depends on it is bounded by that.
func (m *Member) Tick() {
	now := m.enter()
	m.noteRun(now)
	m.mu.Lock()
	m.tracker.Tick(now)
	sweep := now.Mono-m.swept >= 10*time.Second
	if sweep {
		m.swept = now.Mono
		m.life.forgetDialled(m.tracker)
	}
	m.forgetWaiters(now)
	retry := now.Mono-m.retried >= time.Second
	var conns []*push.Conn
	if retry {
		m.retried = now.Mono
		for _, c := range m.conns {
			conns = append(conns, c)
		}
	}
	m.mu.Unlock()

	m.settle(now)
	m.engine.Tick(now)
	m.deliver(m.session.Tick(now))
	m.hub.Tick()
	for _, c := range conns {
		c.Retry()
	}
	if retry {
		m.rebalance(now)
	}
	if sweep {
		m.store.Sweep(now)
		m.tidyShards(now)
	}
}

// tickPush sends what waits for the end of its push window. It returns how long until the next one ends; idle: there is
// none, until pushBegun rings.
func (m *Member) tickPush() (next time.Duration, idle bool) {
	m.enter()
	return m.hub.Tick()
}

// pushBegun rings when a push window begins.
func (m *Member) pushBegun() <-chan struct{} { return m.hub.Begun() }

// pauseNoticed is the time without a sign of the process from which on it must have stood still: a tick, or an entry, which is
// noted as often as this. A tick alone may have much to do, for a second or more where a member is lost that many published at.
const (
	pauseNoticed = 2 * time.Second
	entriesNoted = pauseNoticed / 10
)

func (m *Member) lastRun() time.Duration { return time.Duration(m.ran.Load()) }

// enter reads the clock for whatever comes in, and for what goes to a client. After a pause of the process that is noticed
// first, whoever comes first: nothing that was not heard during the pause says anything. After a long one others may have
// taken us for gone, so we join again before we remove, answer or push anything (R4). Who comes second waits until all parts
// know. Not to be called by them, nor with a lock that they take.
func (m *Member) enter() model.Time {
	now := m.clock.Now()
	if gap := now.Mono - m.lastRun(); gap < pauseNoticed {
		if gap >= entriesNoted {
			m.noteRun(now)
		}
		return now
	}
	m.waking.Lock()
	defer m.waking.Unlock()
	gap := now.Mono - m.lastRun()
	if gap < pauseNoticed { // somebody else was first
		return now
	}
	if gap >= m.opts.Timeouts.Rejoin {
		m.mu.Lock()
		m.life.rejoin(now)
		m.answersLists.Store(false)
		m.doubts = true
		m.mu.Unlock()
	}
	m.deliver(m.session.Paused(now, gap))
	m.settle(now) // this closes the hub
	m.noteRun(now)
	return now
}

const (
	// lateAnswer is half the patience of clients, which want an answer within 3 s (nacos-protocol §3.2): others may wait longer than
	// the one that was looked at.
	lateAnswer = 1500 * time.Millisecond
	// strainEcho is how long a late answer still shows: a client that gives up has waited for three.
	strainEcho = 10 * time.Second
)

// Waited takes in the longest time that a client which came lately has waited for an answer, or still does: what clients and peers
// sent may lie unread for as long. When that is too long to take silence for theirs the member is strained; the next Tick tells the others.
func (m *Member) Waited(longest time.Duration) {
	if longest < lateAnswer {
		return
	}
	now := m.enter()
	until := now.Mono + strainEcho
	m.mu.Lock()
	m.strained = until
	m.mu.Unlock()
	m.session.Strained(now, until)
}

// Strained reports whether silence, and the end of a connection, may be our doing, because what comes in waits for long.
func (m *Member) Strained() bool {
	now := m.clock.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.strained > now.Mono
}

// noteRun says that the process runs. Not one who read the clock before a pause.
func (m *Member) noteRun(now model.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ran.Store(max(m.ran.Load(), int64(now.Mono)))
}

// reincarnate takes a new identity: we were gone from somebody's view. One that is leaving has nothing to come back
// for. Called with the lock held.
func (m *Member) reincarnate(now model.Time) {
	if m.self.State == model.StateLeaving {
		return
	}
	m.self.Incarnation, m.self.State = m.opts.Incarnation(), model.StateStarting
	m.tracker.SetSelf(now, m.self)
	m.life.rejoin(now)
	m.answersLists.Store(false)
	m.doubts = true
	m.reset = true
}

// settle takes what the tracker and the peers say now to all parts.
func (m *Member) settle(now model.Time) {
	m.settling.Lock()
	defer m.settling.Unlock()
	m.mu.Lock()
	doubts := m.doubts
	m.doubts = false
	m.mu.Unlock()
	if doubts {
		m.engine.Doubt()
	}
	m.mu.Lock()
	m.advance(now)
	m.answersLists.Store(m.life.complete && m.life.readsOpen)
	v := m.tracker.View()
	changed := v != m.view
	m.view = v
	if m.self.State != model.StateLeaving {
		if st := m.life.state(); st != m.self.State && st > m.self.State {
			m.self.State = st
			m.tracker.SetSelf(now, m.self)
			v = m.tracker.View()
			changed, m.view = true, v
		}
	}
	if changed {
		m.ring = ring.New(v, m.opts.ReplicationFactor)
	}
	r, duty := m.ring, m.sharding.owned
	if changed && m.engine.Sharded() {
		duty = m.duty(v)
	}
	offers := m.life.takeOffers()
	doubt := v.Frozen && !m.opts.Policy.Alone || len(m.tracker.Estranged()) > 0
	m.mu.Unlock()
	m.session.SetDoubt(doubt)

	if changed {
		m.engine.SetDuty(v.Self, duty)
	}
	for _, o := range offers {
		if o.compare {
			m.engine.Compare(o.to)
		} else {
			m.engine.Offer(o.to)
		}
	}
	if changed {
		m.deliver(m.session.SetView(now, v, r))
	}
	m.applyLife(now)
	m.fetch(now)
}

// applyLife opens and closes what depends on how far the member is, and tells the others.
func (m *Member) applyLife(now model.Time) {
	m.mu.Lock()
	complete, reads := m.life.complete, m.life.complete && m.life.readsOpen
	status := replication.Status{State: m.self.State, Complete: complete, ReadsOpen: reads, Everywhere: !m.engine.Sharded(), ViewHash: m.ring.Hash(), Connections: len(m.conns), Strained: m.strained > now.Mono}
	m.mu.Unlock()
	m.session.SetActive(complete)
	m.hub.SetOpen(reads)
	m.engine.SetStatus(status)
}

// deliver hands signals to the connections' writers.
func (m *Member) deliver(signals []session.Signal) {
	for _, s := range signals {
		m.mu.Lock()
		c := m.conns[s.Connection]
		m.mu.Unlock()
		switch {
		case c == nil:
		case s.Kind == session.SignalDetect:
			c.Do(push.ItemDetect)
		default:
			c.Do(push.ItemClose)
		}
	}
}

// registers reports whether a change is a record that was not known before.
func registers(c catalog.Change) bool { return c.Old == nil && c.New != nil && !c.New.Deleted }
