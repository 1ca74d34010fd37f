package session_test

import (
	"errors"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
	"github.com/muster-registry/muster/registry/ring"
	"github.com/muster-registry/muster/registry/session"
)

// TestSilentConnection: one that says nothing is asked after 20 s, and closed when it gives no sign of life.
func TestSilentConnection(t *testing.T) {
	b := newBench(t, true, 2)
	b.open("lives", java)
	b.open("dead", java)
	b.deaf["dead"] = true
	b.pass(19 * time.Second)
	if len(b.signals) != 0 {
		t.Fatalf("asked after 19 s: %v", b.signals)
	}
	b.pass(2 * time.Second)
	if len(b.signals) != 2 || b.signals[0].Kind != session.SignalDetect {
		t.Fatalf("after 21 s: %v", b.signals)
	}
	b.pass(5 * time.Second)
	if last := b.signals[len(b.signals)-1]; len(b.signals) != 3 || last != (session.Signal{Connection: "dead", Kind: session.SignalClose}) {
		t.Errorf("after 26 s: %v", b.signals)
	}
	if c := b.Counts(); c.Connections != 1 {
		t.Errorf("%d connections, want 1", c.Connections)
	}
}

// TestSilentAfterPause: a connection that showed life right before a pause, and none after it, is closed as any other.
func TestSilentAfterPause(t *testing.T) {
	b := newBench(t, true, 2)
	b.open("c", java)
	b.pass(time.Second)
	b.deaf["c"] = true
	b.now.Mono += 100 * time.Millisecond // the last tick before the pause is older than the sign
	b.Touch(b.now, "c")
	b.now.Mono += 10 * time.Second
	b.react(b.Paused(b.now, 10*time.Second+100*time.Millisecond))
	b.pass(12 * time.Second)
	if c := b.Counts(); c.Connections != 0 {
		t.Error("a dead connection is kept for ever")
	}
}

// TestQuestionsKeepNobodyOpen: whoever asks for a sign of life again while one is awaited changes nothing for a connection that
// gives none: it is asked once, and closed when the time for its answer is over.
func TestQuestionsKeepNobodyOpen(t *testing.T) {
	for name, ask := range map[string]func(b *bench, key model.RecordKey){
		"nobody asks again": func(*bench, model.RecordKey) {},
		"other members ask": func(b *bench, key model.RecordKey) {
			b.react(b.Asked(b.now, 2, replication.Question{Older: key, Newer: b.foreign(2, "new", java, instance).Key}))
		},
		"its record is marked": func(b *bench, key model.RecordKey) {
			b.receiveRecord(2, b.store.Record(key).WithUnclaimed(model.CauseOurs, 0))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, true, 2)
			b.open("c", java)
			key := b.publish("c", instance)
			b.deaf["c"] = true
			b.react(b.Asked(b.now, 2, replication.Question{Older: key, Newer: b.foreign(2, "new", java, instance).Key}))
			asked := b.now.Mono
			for b.Counts().Connections > 0 && b.now.Mono-asked < time.Minute {
				b.pass(time.Second)
				ask(b, key)
			}
			if d := b.now.Mono - asked; d != 5*time.Second {
				t.Errorf("it was closed after %v, want 5 s", d)
			}
			if n := len(b.signals); n != 2 {
				t.Errorf("signals %v, want one that asks and one that closes", b.signals)
			}
		})
	}
}

// TestPauseWhileAsked: what a client answers while we stand still is read when we wake. The pause is no silence of the client, and
// it has the whole time for its answer after it, though it was asked before.
func TestPauseWhileAsked(t *testing.T) {
	for name, tc := range map[string]struct {
		gap, answers, want time.Duration // answers: after the pause, 0 = never; want: closed after the pause, 0 = never
	}{
		"short, answered": {gap: 2 * time.Second, answers: 4 * time.Second},
		"short, silent":   {gap: 2 * time.Second, want: 5 * time.Second},
		"long, answered":  {gap: 30 * time.Second, answers: 29 * time.Second},
		"long, silent":    {gap: 30 * time.Second, want: 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, true, 2)
			b.open("c", java)
			b.deaf["c"] = true
			b.pass(24 * time.Second) // asked 4 s ago
			b.sleep(tc.gap)
			if n := len(b.signals); n != 2 || b.signals[1].Kind != session.SignalDetect {
				t.Fatalf("signals %v, want it to be asked again", b.signals)
			}
			woke := b.now.Mono
			for b.Counts().Connections > 0 && b.now.Mono-woke < time.Minute {
				b.pass(time.Second)
				if d := b.now.Mono - woke; tc.answers > 0 && d >= tc.answers {
					b.deaf["c"] = false
					b.Touch(b.now, "c")
				}
			}
			closed := b.now.Mono - woke
			if b.Counts().Connections > 0 {
				closed = 0
			}
			if closed != tc.want {
				t.Errorf("closed %v after the pause, want %v; signals %v", closed, tc.want, b.signals)
			}
		})
	}
}

// TestWhoMayPublish: errors that make clients set the connection up again, or find their mistake.
func TestWhoMayPublish(t *testing.T) {
	b := newBench(t, true)
	b.Open(b.now, session.Connection{ID: "config"})
	for id, want := range map[string]error{"nobody": model.ErrUnregistered, "config": model.ErrNoClient} {
		if _, err := b.Publish(b.now, id, orders, []model.Instance{instance}); !errors.Is(err, want) {
			t.Errorf("publish by %s: %v, want %v", id, err, want)
		}
		if err := b.Withdraw(b.now, id, orders); !errors.Is(err, want) {
			t.Errorf("withdraw by %s: %v, want %v", id, err, want)
		}
	}
}

// TestIdenticalPublication is no change: it is not stamped and nobody is told.
func TestIdenticalPublication(t *testing.T) {
	b := newBench(t, true, 2)
	b.open("c", java)
	key := b.publish("c", instance)
	b.pass(time.Second)
	before, told := b.store.Record(key), len(b.told(2, replication.KindDelta))
	b.publish("c", instance)
	b.pass(time.Second)
	if b.store.Record(key) != before || len(b.told(2, replication.KindDelta)) != told {
		t.Error("an identical publication is a change")
	}
	other := instance
	other.Weight = 2
	b.publish("c", other)
	if r := b.store.Record(key); r.Version.Compare(before.Version) <= 0 || r.Instances[0].Weight != 2 {
		t.Errorf("another publication: %+v", r)
	}
}

// TestRestamp: somebody removed, marked or denied a record whose connection is ours. It comes back, but not before the
// client has shown that it lives: it may have registered elsewhere since.
func TestRestamp(t *testing.T) {
	for name, sent := range map[string]func(r *model.Record) *model.Record{
		"marked":                 func(r *model.Record) *model.Record { return r.WithUnclaimed(model.CauseOurs, 0) },
		"removed as it was seen": func(r *model.Record) *model.Record { return r.Tombstone(r.Version) },
		"superseded": func(r *model.Record) *model.Record {
			tomb := r.Tombstone(r.Version)
			tomb.Rare = model.NewSuccession(nil, &model.Publisher{Kind: model.KindConnection, Member: 2, ID: "newer"})
			return tomb
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, true, 2)
			b.open("c", java)
			key := b.publish("c", instance)
			b.pass(time.Second)
			b.deaf["c"] = true
			before := b.store.Record(key)
			b.receiveRecord(2, sent(before))
			b.pass(time.Second)
			if r := b.store.Record(key); !r.Deleted && r.Unclaimed == model.Vouched {
				t.Fatalf("stamped again before a sign of life: %+v", r)
			}
			if len(b.signals) != 1 || b.signals[0].Kind != session.SignalDetect {
				t.Fatalf("signals %v, want one that asks for a sign of life", b.signals)
			}
			b.Touch(b.now, "c")
			r := b.store.Record(key)
			if r.Deleted || r.Unclaimed != model.Vouched || r.Version.Compare(before.Version) <= 0 || len(r.Instances) != 1 {
				t.Errorf("after a sign of life: %+v", r)
			}
		})
	}
}

// TestRestampNotForTheDead: without a sign of life the connection ends, and so does its record.
func TestRestampNotForTheDead(t *testing.T) {
	b := newBench(t, true, 2)
	b.open("c", java)
	key := b.publish("c", instance)
	b.deaf["c"] = true
	r := b.store.Record(key)
	b.receiveRecord(2, r.Tombstone(r.Version))
	b.pass(30 * time.Second)
	if r := b.store.Record(key); !r.Deleted {
		t.Errorf("a ghost: %+v", r)
	}
}

// TestSupersession: a publisher that registers again, at another connection, replaces what it left behind.
func TestSupersession(t *testing.T) {
	for name, tc := range map[string]struct {
		older   func(b *bench) *model.Record
		replies bool // the origin says that the older connection lives
		want    bool // the older record goes
	}{
		"nobody vouches for it": {older: func(b *bench) *model.Record {
			return b.foreign(2, "old", java, instance).WithUnclaimed(model.CausePublisher, 0)
		}, want: true},
		"its origin cannot be asked": {older: func(b *bench) *model.Record {
			r := b.foreign(2, "old", java, instance)
			b.engine.PeerDown(2)
			return r
		}, want: true},
		"its origin is gone": {older: func(b *bench) *model.Record { return b.foreign(99, "old", java, instance) }, want: true},
		"its origin says that it lives": {older: func(b *bench) *model.Record {
			return b.foreign(2, "old", java, instance)
		}, replies: true, want: false},
		"its origin says nothing yet": {older: func(b *bench) *model.Record {
			return b.foreign(2, "old", java, instance)
		}, want: false},
		"another program": {older: func(b *bench) *model.Record {
			return b.foreign(99, "old", python, instance)
		}, want: false},
		"another instance": {older: func(b *bench) *model.Record {
			other := instance
			other.Port = 81
			return b.foreign(99, "old", java, other)
		}, want: false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, true, 2, 3)
			older := tc.older(b)
			b.receiveRecord(3, older)
			b.open("new", java)
			key := b.publish("new", instance)
			b.pull()
			if tc.replies {
				asks := b.told(2, replication.KindAsk)
				if len(asks) != 1 || asks[0].Questions[0] != (replication.Question{Older: older.Key, Newer: key}) {
					t.Fatalf("asked %+v", asks)
				}
				b.receive(2, replication.Message{Kind: replication.KindAlive, Questions: asks[0].Questions})
				b.engine.PeerDown(2) // what was answered holds
			}
			b.pass(time.Second)
			r := b.store.Record(older.Key)
			if r.Deleted != tc.want {
				t.Fatalf("superseded %v, want %v", r.Deleted, tc.want)
			}
			if tc.want && (r.Version != older.Version || *r.Successor() != key.Publisher) {
				t.Errorf("the tombstone %+v kills more than was seen, or does not name its successor", r)
			}
			if !b.lives(key) {
				t.Error("the newer record does not live")
			}
		})
	}
}

// TestSupersededLater: the origin of the older one finds out that its connection is dead; the newer record and the end of
// the older one go out in one step.
func TestSupersededLater(t *testing.T) {
	b := newBench(t, true, 2)
	older := b.foreign(2, "old", java, instance)
	b.receiveRecord(2, older)
	b.open("new", java)
	key := b.publish("new", instance)
	b.pass(time.Second)
	b.sent[2] = nil
	b.receiveRecord(2, older.WithUnclaimed(model.CausePublisher, 0))
	b.pass(time.Second)
	if !b.store.Record(older.Key).Deleted {
		t.Fatal("what the publisher left behind lives on")
	}
	for _, m := range b.told(2, replication.KindDelta) {
		for _, e := range m.Entries {
			if e.Record.Deleted {
				t.Errorf("a removal travels alone: %+v; it could arrive first and leave a gap (P7)", e.Record)
			}
		}
	}
	if r := b.store.Record(key); len(r.Supersedes()) != 1 || r.Supersedes()[0] != (model.Superseded{Publisher: older.Key.Publisher, Version: older.Version}) {
		t.Errorf("supersedes %+v", r.Supersedes())
	}
	// a later deregistration cannot bring a ghost back (P9)
	if err := b.Withdraw(b.now, "new", orders); err != nil {
		t.Fatal(err)
	}
	if tomb := b.store.Record(key); !tomb.Deleted || len(tomb.Supersedes()) != 1 {
		t.Errorf("tombstone %+v", tomb)
	}
}

// TestAsked: as the origin of an older record we ask its connection, and answer when that shows life.
func TestAsked(t *testing.T) {
	for name, deaf := range map[string]bool{"it lives": false, "it is dead": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, true, 2)
			b.open("old", java)
			key := b.publish("old", instance)
			b.deaf["old"] = deaf
			newer := b.foreign(2, "new", java, instance)
			b.receive(2, replication.Message{Kind: replication.KindAsk, Questions: []replication.Question{{Older: key, Newer: newer.Key}}})
			b.pass(6 * time.Second)
			if answered := len(b.told(2, replication.KindAlive)) == 1; answered == deaf {
				t.Errorf("answered %v", answered)
			}
			if r := b.store.Record(key); (r.Deleted || r.Unclaimed != model.Vouched) != deaf {
				t.Errorf("record %+v", r)
			}
		})
	}
}

// TestAskedOfAnother: an id is that of one member. The connection of ours that bears the same is not meant.
func TestAskedOfAnother(t *testing.T) {
	b := newBench(t, true, 2)
	b.open("c", java)
	key := b.publish("c", instance)
	newer := b.foreign(2, "new", java, instance).Key
	for name, older := range map[string]model.Publisher{
		"another member's": {Kind: model.KindConnection, Member: 2, ID: "c"},
		"another kind":     {Kind: model.KindBeat, Member: self, ID: "c"},
		"another id":       {Kind: model.KindConnection, Member: self, ID: "d"},
	} {
		question := replication.Question{Older: model.RecordKey{Publisher: older, Service: orders}, Newer: newer}
		if signals := b.Asked(b.now, 2, question); len(signals) != 0 {
			t.Errorf("%s: %v", name, signals)
		}
	}
	if signals := b.Asked(b.now, 2, replication.Question{Older: key, Newer: newer}); len(signals) != 1 {
		t.Errorf("its own: %v, want one that asks for a sign of life", signals)
	}
}

// TestAskedAmongMany: clients that move are asked about by the thousand, and each question is about one connection.
func TestAskedAmongMany(t *testing.T) {
	const connections, questions = 5000, 100
	b := newBench(t, true, 2)
	for i := range connections {
		b.open("c"+strconv.Itoa(i), java)
	}
	question := replication.Question{Older: b.publish("c0", instance), Newer: b.foreign(2, "new", java, instance).Key}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range questions {
		b.Asked(b.now, 2, question)
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / questions; each > connections {
		t.Errorf("a question takes %d bytes beside %d connections: it looks at all of them", each, connections)
	}
}

// TestTwoConnectionsOfOneProcess do not cancel each other (a sync worker).
func TestTwoConnectionsOfOneProcess(t *testing.T) {
	b := newBench(t, true, 2)
	b.open("one", java)
	b.open("two", java)
	one, two := b.publish("one", instance), b.publish("two", instance)
	b.pass(2 * time.Minute)
	if !b.lives(one) || !b.lives(two) {
		t.Errorf("one lives %v, two lives %v", b.lives(one), b.lives(two))
	}
}

// TestReincarnation: what the old incarnation vouched for is stamped by the new one, once the client has shown life.
func TestReincarnation(t *testing.T) {
	b := newBench(t, true, 2)
	b.open("lives", java)
	b.open("dead", java)
	lives, dead := b.publish("lives", instance), b.publish("dead", model.Instance{IP: "10.0.0.2", Port: 80})
	b.pass(time.Second)
	b.deaf["dead"] = true
	b.members[0].Incarnation = 77
	v := model.NewView(77, b.members, false)
	b.react(b.SetView(b.now, v, ring.New(v, 0)))
	b.pass(10 * time.Second)
	if r := b.store.Record(lives); r.Deleted || r.Unclaimed != model.Vouched || r.Version.Origin != 77 {
		t.Errorf("of a connection that lives: %+v", r)
	}
	if r := b.store.Record(dead); !r.Deleted && r.Unclaimed == model.Vouched {
		t.Errorf("of one that shows no life: %+v", r)
	}
}

// TestForgottenVersions: what bears our name and is not ours is denied, by a tombstone of exactly that version.
func TestForgottenVersions(t *testing.T) {
	for name, tc := range map[string]struct {
		record func(b *bench) *model.Record
		want   bool
	}{
		"of a connection that is no more": {func(b *bench) *model.Record { return b.foreign(self, "gone", java, instance) }, true},
		"of beats that nobody sends": {func(b *bench) *model.Record {
			r := b.foreign(self, "", java, instance)
			r.Key.Publisher = session.BeatPublisher("10.0.0.1", 80)
			return r
		}, true},
		"unclaimed already": {func(b *bench) *model.Record {
			return b.foreign(self, "gone", java, instance).WithUnclaimed(model.CauseOurs, 0)
		}, false},
		"of another member": {func(b *bench) *model.Record { return b.foreign(2, "c", java, instance) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, true, 2)
			r := tc.record(b)
			b.receiveRecord(2, r)
			got := b.store.Record(r.Key)
			if got.Deleted != tc.want || got.Version != r.Version {
				t.Errorf("denied %v, want %v; version %v, sent %v", got.Deleted, tc.want, got.Version, r.Version)
			}
		})
	}
}

// TestForgottenBehindItsSuccessor: who still shows what bears our name may not have heard yet that its publisher has registered
// again. The denial takes that along: alone it would leave a gap.
func TestForgottenBehindItsSuccessor(t *testing.T) {
	for name, newer := range map[string]func(b *bench) model.RecordKey{
		"registered here": func(b *bench) model.RecordKey {
			b.open("new", java)
			return b.publish("new", instance)
		},
		"registered elsewhere": func(b *bench) model.RecordKey {
			r := b.foreign(2, "new", java, instance)
			r.Version.Said = r.Version.Stamp
			b.receiveRecord(2, r)
			return r.Key
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, true, 2, 3)
			key := newer(b)
			b.pull()
			b.sent[3] = nil // whatever was sent is lost
			gone := b.foreign(self, "gone", java, instance)
			b.receiveRecord(2, gone)
			var told []model.RecordKey
			for _, m := range b.told(3, replication.KindDelta) {
				for _, en := range m.Entries {
					told = append(told, en.Record.Key)
				}
			}
			if !b.store.Record(gone.Key).Deleted || !slices.Equal(told, []model.RecordKey{key, gone.Key}) {
				t.Errorf("told %v, want the new record and then the end of the old one", told)
			}
		})
	}
}

// TestOverride lies over what is published, and ends a minute after the last instance that it changes.
func TestOverride(t *testing.T) {
	b := newBench(t, true)
	b.open("c", java)
	b.publish("c", instance)
	over := instance
	over.Weight = 9
	b.Override(b.now, orders, over)
	key := model.RecordKey{Publisher: model.Publisher{Kind: model.KindOverride, ID: instance.Key().String()}, Service: orders}
	b.pass(10 * time.Minute)
	if !b.lives(key) {
		t.Fatal("an override ended while its instance lived")
	}
	before := b.store.Record(key)
	b.Override(b.now, orders, over)
	if b.store.Record(key) != before {
		t.Error("the same override again is a change")
	}
	if err := b.Withdraw(b.now, "c", orders); err != nil {
		t.Fatal(err)
	}
	b.pass(30 * time.Second)
	b.publish("c", instance)
	b.pass(2 * time.Minute)
	if !b.lives(key) {
		t.Error("an override ended though its instance came back within the minute")
	}
	if err := b.Withdraw(b.now, "c", orders); err != nil {
		t.Fatal(err)
	}
	if d := b.lasts(key, forever); d < 60*time.Second || d > 75*time.Second {
		t.Errorf("the override ended %v after its instance, want a minute", d)
	}
}

// TestConfigure: settings end a minute after the last instance of their service, and nobody has to vouch for them.
func TestConfigure(t *testing.T) {
	b := newBench(t, true, 2)
	b.open("c", java)
	b.publish("c", instance)
	s := model.Settings{ProtectThreshold: 0.5, Metadata: model.MetadataOf(map[string]string{"owner": "team"})}
	b.Configure(b.now, orders, s)
	key := model.RecordKey{Publisher: model.Publisher{Kind: model.KindSettings}, Service: orders}
	before := b.store.Record(key)
	b.Configure(b.now, orders, s)
	if b.store.Record(key) != before || *before.Settings() != s {
		t.Errorf("the same settings again are a change: %+v", b.store.Record(key))
	}
	s.ProtectThreshold = 0.7
	b.Configure(b.now, orders, s)
	b.vanish(2)
	b.pass(10 * time.Minute)
	if got := b.store.Record(key); *got.Settings() != s || got.Unclaimed != model.Vouched {
		t.Fatalf("while its instances live: %+v", got)
	}
	if err := b.Withdraw(b.now, "c", orders); err != nil {
		t.Fatal(err)
	}
	if d := b.lasts(key, forever); d < 60*time.Second || d > 75*time.Second {
		t.Errorf("the settings ended %v after the last instance, want a minute", d)
	}
	if got := b.store.Record(key); got.Settings() != nil {
		t.Errorf("the tombstone has settings: %+v", got)
	}
}

// TestOverrideIsNoPublisher: nobody is its origin for long, so no member's end touches it.
func TestOverrideIsNoPublisher(t *testing.T) {
	b := newBench(t, true, 2, 3)
	r := b.foreign(2, "", java, instance)
	r.Key.Publisher = model.Publisher{Kind: model.KindOverride, ID: instance.Key().String()}
	b.receiveRecord(2, r)
	b.leave(2)
	b.pass(10 * time.Second)
	if got := b.store.Record(r.Key); got.Unclaimed != model.Vouched {
		t.Errorf("an override is unclaimed: %+v", got)
	}
}
