package session_test

import (
	"slices"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
	"github.com/muster-registry/muster/registry/ring"
	"github.com/muster-registry/muster/registry/session"
)

const (
	self   model.Incarnation = 1
	python                   = "Nacos-Python-Client:v3.2.0"
	java                     = "Nacos-Java-Client:v3.0.0"
)

var (
	orders   = model.ServiceKey{Namespace: "public", Group: "DEFAULT_GROUP", Name: "orders"}
	graces   = session.Timeouts{Connection: 40 * time.Second, SilentConnection: 5 * time.Second, MemberLoss: 5 * time.Minute, Refuted: 45 * time.Second, BeatUnhealthy: 15 * time.Second, BeatRemove: 30 * time.Second, UnknownOriginGone: 10 * time.Second}
	instance = model.Instance{IP: "10.0.0.1", Port: 80, Cluster: "DEFAULT", Weight: 1, Healthy: true, Enabled: true}
)

// harness is one table, with the engine and the store below it, in a world of its own: a clock that it moves, peers that
// say something every second or do not, and ports.
type harness struct {
	*session.Table
	t      testing.TB
	store  *catalog.Store
	engine *replication.Engine
	now    model.Time
	// mute are peers that cannot be reached: they say nothing, and their stream ends after a while.
	mute map[model.Incarnation]bool
	// strained are peers that say that what comes in waits there.
	strained map[model.Incarnation]bool
	members  []model.Member
	// ports answers probes; probed counts them.
	ports func() session.PortAnswer
	// portOf, when set, answers for a record instead.
	portOf  func(model.RecordKey) session.PortAnswer
	probed  int
	signals []session.Signal
	sent    map[model.Incarnation][]replication.Message
	// deaf connections give no sign of life.
	deaf map[string]bool
	// ended is when a record that lasts was waited for was gone.
	ended map[model.RecordKey]time.Duration
	// beating is the one that a test is about.
	beating model.RecordKey
}

func newHarness(t testing.TB, probing bool, peers ...model.Incarnation) *harness {
	return newHarnessWith(t, graces, probing, peers...)
}

func newHarnessWith(t testing.TB, graces session.Timeouts, probing bool, peers ...model.Incarnation) *harness {
	hlc := &model.HLC{}
	h := &harness{
		t: t, now: model.Time{Mono: time.Hour, Wall: 1_800_000_000_000}, mute: map[model.Incarnation]bool{}, strained: map[model.Incarnation]bool{}, deaf: map[string]bool{},
		ports: func() session.PortAnswer { return session.PortAccepted }, sent: map[model.Incarnation][]replication.Message{},
		ended: map[model.RecordKey]time.Duration{},
	}
	h.store = catalog.New(catalog.Options{Revise: func(now model.Time) int64 { return now.Wall }, TombstoneLifetime: 10 * time.Minute})
	h.engine = replication.New(replication.Options{Store: h.store, HLC: hlc})
	h.Table = session.New(session.Options{Engine: h.engine, Store: h.store, HLC: hlc, Timeouts: graces, Probing: probing})
	h.members = []model.Member{{Incarnation: self, State: model.StateComplete}}
	for _, p := range peers {
		h.members = append(h.members, model.Member{Incarnation: p, State: model.StateComplete})
		h.engine.PeerUp(h.now, p)
	}
	h.view()
	h.SetActive(true)
	return h
}

// view hands the present members to the table, the first one as its owner.
func (h *harness) view() {
	v := model.NewView(h.members[0].Incarnation, h.members, false)
	h.react(h.SetView(h.now, v, ring.New(v, 0)))
}

// firstReplica of the shard of a service, as the present members see it.
func (h *harness) firstReplica(k model.ServiceKey) model.Incarnation {
	return ring.New(model.NewView(h.members[0].Incarnation, h.members, false), 0).First(k.Shard())
}

// leave takes a member out of the view that has said that it goes.
func (h *harness) leave(p model.Incarnation) {
	for i := range h.members {
		if h.members[i].Incarnation == p {
			h.members[i].State = model.StateLeaving
		}
	}
	h.view()
	h.vanish(p)
}

// vanish takes one out that went without a word.
func (h *harness) vanish(p model.Incarnation) {
	h.engine.PeerDown(p)
	h.members = slices.DeleteFunc(h.members, func(m model.Member) bool { return m.Incarnation == p })
	h.view()
}

// pass lets time go by, in steps of 250 ms.
func (h *harness) pass(d time.Duration) {
	for end := h.now.Mono + d; h.now.Mono < end; {
		h.now.Mono += 250 * time.Millisecond
		h.now.Wall += 250
		for _, m := range h.members[1:] {
			if !h.mute[m.Incarnation] {
				h.engine.Receive(h.now, m.Incarnation, replication.Message{Kind: replication.KindStatus, Status: replication.Status{State: model.StateComplete, Complete: true, Strained: h.strained[m.Incarnation]}})
			}
		}
		h.engine.Tick(h.now)
		h.react(h.Tick(h.now))
		for _, p := range h.TakeProbes() {
			h.probed++
			h.Verdict(h.now, p.Key, h.answer(p.Key))
		}
		h.pull()
	}
}

func (h *harness) answer(k model.RecordKey) session.PortAnswer {
	if h.portOf != nil {
		return h.portOf(k)
	}
	return h.ports()
}

func (h *harness) pull() {
	for _, m := range h.members[1:] {
		for ms := h.engine.Pull(h.now, m.Incarnation); len(ms) > 0; ms = h.engine.Pull(h.now, m.Incarnation) {
			h.sent[m.Incarnation] = append(h.sent[m.Incarnation], ms...)
		}
	}
}

// react does what a client does when it is asked for a sign of life.
func (h *harness) react(signals []session.Signal) {
	h.signals = append(h.signals, signals...)
	for _, s := range signals {
		switch {
		case s.Kind == session.SignalClose:
			h.Close(h.now, s.Connection)
		case !h.deaf[s.Connection]:
			h.Touch(h.now, s.Connection)
		}
	}
}

// open adds a naming connection.
func (h *harness) open(id, agent string) {
	h.Open(h.now, session.Connection{ID: id, Client: model.Client{IP: "10.0.0.1", Agent: agent}, Naming: true})
}

// publish says what a connection has in orders, and returns the key of the record.
func (h *harness) publish(id string, instances ...model.Instance) model.RecordKey {
	h.t.Helper()
	signals, err := h.Publish(h.now, id, orders, instances)
	if err != nil {
		h.t.Fatal(err)
	}
	h.react(signals)
	return model.RecordKey{Publisher: model.Publisher{Kind: model.KindConnection, Member: h.members[0].Incarnation, ID: id}, Service: orders}
}

// beats registers an HTTP client for whose beats a member is responsible, and returns its key.
func (h *harness) beats(responsible model.Incarnation, in model.Instance) (model.RecordKey, model.Instance) {
	h.t.Helper()
	for in.Port = 1; in.Port < 65536; in.Port++ {
		p := session.BeatPublisher(in.IP, int(in.Port))
		if to, _ := h.Responsible(model.RecordKey{Publisher: p}); to == responsible {
			h.Register(h.now, orders, in, model.Client{IP: in.IP})
			return model.RecordKey{Publisher: p, Service: orders}, in
		}
	}
	h.t.Fatal("no port fits")
	return model.RecordKey{}, in
}

// receive applies what a peer sends, as a member does.
func (h *harness) receive(from model.Incarnation, m replication.Message) {
	in := h.engine.Receive(h.now, from, m)
	h.react(h.Observe(h.now, in.Changes))
	for _, q := range in.Questions {
		h.react(h.Asked(h.now, from, q))
	}
	for _, q := range in.Alive {
		h.Alive(q)
	}
	h.pull()
}

func (h *harness) receiveRecord(from model.Incarnation, r *model.Record) {
	h.receive(from, replication.Message{Kind: replication.KindDelta, Entries: []replication.Entry{{Record: r}}})
}

// foreign is a record of a connection of another member.
func (h *harness) foreign(origin model.Incarnation, id, agent string, ins ...model.Instance) *model.Record {
	return &model.Record{
		Key:     model.RecordKey{Publisher: model.Publisher{Kind: model.KindConnection, Member: origin, ID: id}, Service: orders},
		Version: model.Version{Stamp: model.Stamp(h.now.Wall << 16), Origin: origin}, Instances: ins, Client: &model.Client{IP: "10.0.0.1", Agent: agent},
	}
}

func (h *harness) lives(k model.RecordKey) bool {
	r := h.store.Record(k)
	return r != nil && !r.Deleted
}

// lasts is how long a record lives from now, up to a limit.
func (h *harness) lasts(k model.RecordKey, limit time.Duration) time.Duration {
	start := h.now.Mono
	for h.lives(k) && h.now.Mono-start < limit {
		h.pass(250 * time.Millisecond)
	}
	if _, known := h.ended[k]; !known && !h.lives(k) {
		h.ended[k] = h.now.Mono
	}
	return h.now.Mono - start
}

// told returns the messages of a kind that a peer was sent.
func (h *harness) told(p model.Incarnation, k replication.Kind) []replication.Message {
	var ms []replication.Message
	for _, m := range h.sent[p] {
		if m.Kind == k {
			ms = append(ms, m)
		}
	}
	return ms
}
