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

// bench is one table, with the engine and the store below it, in a world of its own: a clock that it moves, peers that
// say something every second or do not, and ports.
type bench struct {
	*session.Table
	t      testing.TB
	store  *catalog.Store
	engine *replication.Engine
	now    model.Time
	// mute are peers that cannot be reached: they say nothing, and their stream ends after a while.
	mute    map[model.Incarnation]bool
	members []model.Member
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

func newBench(t testing.TB, probing bool, peers ...model.Incarnation) *bench {
	return newBenchWith(t, graces, probing, peers...)
}

func newBenchWith(t testing.TB, graces session.Timeouts, probing bool, peers ...model.Incarnation) *bench {
	hlc := &model.HLC{}
	b := &bench{
		t: t, now: model.Time{Mono: time.Hour, Wall: 1_800_000_000_000}, mute: map[model.Incarnation]bool{}, deaf: map[string]bool{},
		ports: func() session.PortAnswer { return session.PortAccepted }, sent: map[model.Incarnation][]replication.Message{},
		ended: map[model.RecordKey]time.Duration{},
	}
	b.store = catalog.New(catalog.Options{Revise: func(now model.Time) int64 { return now.Wall }, TombstoneLifetime: 10 * time.Minute})
	b.engine = replication.New(replication.Options{Store: b.store, HLC: hlc})
	b.Table = session.New(session.Options{Engine: b.engine, Store: b.store, HLC: hlc, Timeouts: graces, Probing: probing})
	b.members = []model.Member{{Incarnation: self, State: model.StateComplete}}
	for _, p := range peers {
		b.members = append(b.members, model.Member{Incarnation: p, State: model.StateComplete})
		b.engine.PeerUp(b.now, p)
	}
	b.view()
	b.SetActive(true)
	return b
}

// view hands the present members to the table, the first one as its owner.
func (b *bench) view() {
	v := model.NewView(b.members[0].Incarnation, b.members, false)
	b.react(b.SetView(b.now, v, ring.New(v, 0)))
}

// firstReplica of the shard of a service, as the present members see it.
func (b *bench) firstReplica(k model.ServiceKey) model.Incarnation {
	return ring.New(model.NewView(b.members[0].Incarnation, b.members, false), 0).First(k.Shard())
}

// leave takes a member out of the view that has said that it goes.
func (b *bench) leave(p model.Incarnation) {
	for i := range b.members {
		if b.members[i].Incarnation == p {
			b.members[i].State = model.StateLeaving
		}
	}
	b.view()
	b.vanish(p)
}

// vanish takes one out that went without a word.
func (b *bench) vanish(p model.Incarnation) {
	b.engine.PeerDown(p)
	b.members = slices.DeleteFunc(b.members, func(m model.Member) bool { return m.Incarnation == p })
	b.view()
}

// pass lets time go by, in steps of 250 ms.
func (b *bench) pass(d time.Duration) {
	for end := b.now.Mono + d; b.now.Mono < end; {
		b.now.Mono += 250 * time.Millisecond
		b.now.Wall += 250
		for _, m := range b.members[1:] {
			if !b.mute[m.Incarnation] {
				b.engine.Receive(b.now, m.Incarnation, replication.Message{Kind: replication.KindStatus, Status: replication.Status{State: model.StateComplete, Complete: true}})
			}
		}
		b.engine.Tick(b.now)
		b.react(b.Tick(b.now))
		for _, p := range b.TakeProbes() {
			b.probed++
			b.Verdict(b.now, p.Key, b.answer(p.Key))
		}
		b.pull()
	}
}

func (b *bench) answer(k model.RecordKey) session.PortAnswer {
	if b.portOf != nil {
		return b.portOf(k)
	}
	return b.ports()
}

func (b *bench) pull() {
	for _, m := range b.members[1:] {
		for ms := b.engine.Pull(b.now, m.Incarnation); len(ms) > 0; ms = b.engine.Pull(b.now, m.Incarnation) {
			b.sent[m.Incarnation] = append(b.sent[m.Incarnation], ms...)
		}
	}
}

// react does what a client does when it is asked for a sign of life.
func (b *bench) react(signals []session.Signal) {
	b.signals = append(b.signals, signals...)
	for _, s := range signals {
		switch {
		case s.Kind == session.SignalClose:
			b.Close(b.now, s.Connection)
		case !b.deaf[s.Connection]:
			b.Touch(b.now, s.Connection)
		}
	}
}

// open adds a naming connection.
func (b *bench) open(id, agent string) {
	b.Open(b.now, session.Connection{ID: id, Client: model.Client{IP: "10.0.0.1", Agent: agent}, Naming: true})
}

// publish says what a connection has in orders, and returns the key of the record.
func (b *bench) publish(id string, instances ...model.Instance) model.RecordKey {
	b.t.Helper()
	signals, err := b.Publish(b.now, id, orders, instances)
	if err != nil {
		b.t.Fatal(err)
	}
	b.react(signals)
	return model.RecordKey{Publisher: model.Publisher{Kind: model.KindConnection, Member: b.members[0].Incarnation, ID: id}, Service: orders}
}

// beats registers an HTTP client for whose beats a member is responsible, and returns its key.
func (b *bench) beats(responsible model.Incarnation, in model.Instance) (model.RecordKey, model.Instance) {
	b.t.Helper()
	for in.Port = 1; in.Port < 65536; in.Port++ {
		p := session.BeatPublisher(in.IP, int(in.Port))
		if to, _ := b.Responsible(model.RecordKey{Publisher: p}); to == responsible {
			b.Register(b.now, orders, in, model.Client{IP: in.IP})
			return model.RecordKey{Publisher: p, Service: orders}, in
		}
	}
	b.t.Fatal("no port fits")
	return model.RecordKey{}, in
}

// receive applies what a peer sends, as a member does.
func (b *bench) receive(from model.Incarnation, m replication.Message) {
	in := b.engine.Receive(b.now, from, m)
	b.react(b.Observe(b.now, in.Changes))
	for _, q := range in.Questions {
		b.react(b.Asked(b.now, from, q))
	}
	for _, q := range in.Alive {
		b.Alive(q)
	}
	b.pull()
}

func (b *bench) receiveRecord(from model.Incarnation, r *model.Record) {
	b.receive(from, replication.Message{Kind: replication.KindDelta, Entries: []replication.Entry{{Record: r}}})
}

// foreign is a record of a connection of another member.
func (b *bench) foreign(origin model.Incarnation, id, agent string, ins ...model.Instance) *model.Record {
	return &model.Record{
		Key:     model.RecordKey{Publisher: model.Publisher{Kind: model.KindConnection, Member: origin, ID: id}, Service: orders},
		Version: model.Version{Stamp: model.Stamp(b.now.Wall << 16), Origin: origin}, Instances: ins, Client: &model.Client{IP: "10.0.0.1", Agent: agent},
	}
}

func (b *bench) lives(k model.RecordKey) bool {
	r := b.store.Record(k)
	return r != nil && !r.Deleted
}

// lasts is how long a record lives from now, up to a limit.
func (b *bench) lasts(k model.RecordKey, limit time.Duration) time.Duration {
	start := b.now.Mono
	for b.lives(k) && b.now.Mono-start < limit {
		b.pass(250 * time.Millisecond)
	}
	if _, known := b.ended[k]; !known && !b.lives(k) {
		b.ended[k] = b.now.Mono
	}
	return b.now.Mono - start
}

// told returns the messages of a kind that a peer was sent.
func (b *bench) told(p model.Incarnation, k replication.Kind) []replication.Message {
	var ms []replication.Message
	for _, m := range b.sent[p] {
		if m.Kind == k {
			ms = append(ms, m)
		}
	}
	return ms
}
