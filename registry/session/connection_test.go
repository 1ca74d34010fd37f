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
	h := newHarness(t, true, 2)
	h.open("lives", java)
	h.open("dead", java)
	h.deaf["dead"] = true
	h.pass(19 * time.Second)
	if len(h.signals) != 0 {
		t.Fatalf("asked after 19 s: %v", h.signals)
	}
	h.pass(2 * time.Second)
	if len(h.signals) != 2 || h.signals[0].Kind != session.SignalDetect {
		t.Fatalf("after 21 s: %v", h.signals)
	}
	h.pass(5 * time.Second)
	if last := h.signals[len(h.signals)-1]; len(h.signals) != 3 || last != (session.Signal{Connection: "dead", Kind: session.SignalClose}) {
		t.Errorf("after 26 s: %v", h.signals)
	}
	if c := h.Counts(); c.Connections != 1 {
		t.Errorf("%d connections, want 1", c.Connections)
	}
}

// TestSilentAfterPause: a connection that showed life right before a pause, and none after it, is closed as any other.
func TestSilentAfterPause(t *testing.T) {
	h := newHarness(t, true, 2)
	h.open("c", java)
	h.pass(time.Second)
	h.deaf["c"] = true
	h.now.Mono += 100 * time.Millisecond // the last tick before the pause is older than the sign
	h.Touch(h.now, "c")
	h.now.Mono += 10 * time.Second
	h.react(h.Paused(h.now, 10*time.Second+100*time.Millisecond))
	h.pass(12 * time.Second)
	if c := h.Counts(); c.Connections != 0 {
		t.Error("a dead connection is kept for ever")
	}
}

// TestQuestionsKeepNobodyOpen: whoever asks for a sign of life again while one is awaited changes nothing for a connection that
// gives none: it is asked once, and closed when the time for its answer is over.
func TestQuestionsKeepNobodyOpen(t *testing.T) {
	for name, ask := range map[string]func(h *harness, key model.RecordKey){
		"nobody asks again": func(*harness, model.RecordKey) {},
		"other members ask": func(h *harness, key model.RecordKey) {
			h.react(h.Asked(h.now, 2, replication.Question{Older: key, Newer: h.foreign(2, "new", java, instance).Key}))
		},
		"its record is marked": func(h *harness, key model.RecordKey) {
			h.receiveRecord(2, h.store.Record(key).WithUnclaimed(model.CauseOurs, 0))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, true, 2)
			h.open("c", java)
			key := h.publish("c", instance)
			h.deaf["c"] = true
			h.react(h.Asked(h.now, 2, replication.Question{Older: key, Newer: h.foreign(2, "new", java, instance).Key}))
			asked := h.now.Mono
			for h.Counts().Connections > 0 && h.now.Mono-asked < time.Minute {
				h.pass(time.Second)
				ask(h, key)
			}
			if d := h.now.Mono - asked; d != 5*time.Second {
				t.Errorf("it was closed after %v, want 5 s", d)
			}
			if n := len(h.signals); n != 2 {
				t.Errorf("signals %v, want one that asks and one that closes", h.signals)
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
			h := newHarness(t, true, 2)
			h.open("c", java)
			h.deaf["c"] = true
			h.pass(24 * time.Second) // asked 4 s ago
			h.sleep(tc.gap)
			if n := len(h.signals); n != 2 || h.signals[1].Kind != session.SignalDetect {
				t.Fatalf("signals %v, want it to be asked again", h.signals)
			}
			woke := h.now.Mono
			for h.Counts().Connections > 0 && h.now.Mono-woke < time.Minute {
				h.pass(time.Second)
				if d := h.now.Mono - woke; tc.answers > 0 && d >= tc.answers {
					h.deaf["c"] = false
					h.Touch(h.now, "c")
				}
			}
			closed := h.now.Mono - woke
			if h.Counts().Connections > 0 {
				closed = 0
			}
			if closed != tc.want {
				t.Errorf("closed %v after the pause, want %v; signals %v", closed, tc.want, h.signals)
			}
		})
	}
}

// TestAbandoned: a connection that we end, because its client does not read, has the grace of a loss that is ours (L1).
func TestAbandoned(t *testing.T) {
	const limit = 10 * time.Minute
	ends := map[string]func(h *harness){
		"by its client": func(*harness) {},
		"by us":         func(h *harness) { h.Abandon("c") },
		"another one":   func(h *harness) { h.Abandon("nobody") },
	}
	want := map[string]time.Duration{"by its client": graces.Connection, "by us": graces.MemberLoss, "another one": graces.Connection}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, true)
			h.open("c", java)
			key := h.publish("c", instance)
			h.pass(15 * time.Second) // its port has answered once
			end(h)
			h.Close(h.now, "c")
			if got := h.lasts(key, limit); got < want[name] || got > want[name]+2*time.Second {
				t.Errorf("it lasted %v, want %v", got, want[name])
			}
		})
	}
}

// TestWhoMayPublish: errors that make clients set the connection up again, or find their mistake.
func TestWhoMayPublish(t *testing.T) {
	h := newHarness(t, true)
	h.Open(h.now, session.Connection{ID: "config"})
	for id, want := range map[string]error{"nobody": model.ErrUnregistered, "config": model.ErrNoClient} {
		if _, err := h.Publish(h.now, id, orders, []model.Instance{instance}); !errors.Is(err, want) {
			t.Errorf("publish by %s: %v, want %v", id, err, want)
		}
		if err := h.Withdraw(h.now, id, orders); !errors.Is(err, want) {
			t.Errorf("withdraw by %s: %v, want %v", id, err, want)
		}
	}
}

// TestIdenticalPublication is no change: it is not stamped and nobody is told.
func TestIdenticalPublication(t *testing.T) {
	h := newHarness(t, true, 2)
	h.open("c", java)
	key := h.publish("c", instance)
	h.pass(time.Second)
	before, told := h.store.Record(key), len(h.told(2, replication.KindDelta))
	h.publish("c", instance)
	h.pass(time.Second)
	if h.store.Record(key) != before || len(h.told(2, replication.KindDelta)) != told {
		t.Error("an identical publication is a change")
	}
	other := instance
	other.Weight = 2
	h.publish("c", other)
	if r := h.store.Record(key); r.Version.Compare(before.Version) <= 0 || r.Instances[0].Weight != 2 {
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
			h := newHarness(t, true, 2)
			h.open("c", java)
			key := h.publish("c", instance)
			h.pass(time.Second)
			h.deaf["c"] = true
			before := h.store.Record(key)
			h.receiveRecord(2, sent(before))
			h.pass(time.Second)
			if r := h.store.Record(key); !r.Deleted && r.Unclaimed == model.Vouched {
				t.Fatalf("stamped again before a sign of life: %+v", r)
			}
			if len(h.signals) != 1 || h.signals[0].Kind != session.SignalDetect {
				t.Fatalf("signals %v, want one that asks for a sign of life", h.signals)
			}
			h.Touch(h.now, "c")
			r := h.store.Record(key)
			if r.Deleted || r.Unclaimed != model.Vouched || r.Version.Compare(before.Version) <= 0 || len(r.Instances) != 1 {
				t.Errorf("after a sign of life: %+v", r)
			}
		})
	}
}

// TestRestampNotForTheDead: without a sign of life the connection ends, and so does its record.
func TestRestampNotForTheDead(t *testing.T) {
	h := newHarness(t, true, 2)
	h.open("c", java)
	key := h.publish("c", instance)
	h.deaf["c"] = true
	r := h.store.Record(key)
	h.receiveRecord(2, r.Tombstone(r.Version))
	h.pass(30 * time.Second)
	if r := h.store.Record(key); !r.Deleted {
		t.Errorf("a ghost: %+v", r)
	}
}

// TestSupersession: a publisher that registers again, at another connection, replaces what it left behind.
func TestSupersession(t *testing.T) {
	for name, tc := range map[string]struct {
		older   func(h *harness) *model.Record
		replies bool // the origin says that the older connection lives
		want    bool // the older record goes
	}{
		"nobody vouches for it": {older: func(h *harness) *model.Record {
			return h.foreign(2, "old", java, instance).WithUnclaimed(model.CausePublisher, 0)
		}, want: true},
		"its origin cannot be asked": {older: func(h *harness) *model.Record {
			r := h.foreign(2, "old", java, instance)
			h.engine.PeerDown(2)
			return r
		}, want: true},
		"its origin is gone": {older: func(h *harness) *model.Record { return h.foreign(99, "old", java, instance) }, want: true},
		"its origin says that it lives": {older: func(h *harness) *model.Record {
			return h.foreign(2, "old", java, instance)
		}, replies: true, want: false},
		"its origin says nothing yet": {older: func(h *harness) *model.Record {
			return h.foreign(2, "old", java, instance)
		}, want: false},
		"another program": {older: func(h *harness) *model.Record {
			return h.foreign(99, "old", python, instance)
		}, want: false},
		"another instance": {older: func(h *harness) *model.Record {
			other := instance
			other.Port = 81
			return h.foreign(99, "old", java, other)
		}, want: false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, true, 2, 3)
			older := tc.older(h)
			h.receiveRecord(3, older)
			h.open("new", java)
			key := h.publish("new", instance)
			h.pull()
			if tc.replies {
				asks := h.told(2, replication.KindAsk)
				if len(asks) != 1 || asks[0].Questions[0] != (replication.Question{Older: older.Key, Newer: key}) {
					t.Fatalf("asked %+v", asks)
				}
				h.receive(2, replication.Message{Kind: replication.KindAlive, Questions: asks[0].Questions})
				h.engine.PeerDown(2) // what was answered holds
			}
			h.pass(time.Second)
			r := h.store.Record(older.Key)
			if r.Deleted != tc.want {
				t.Fatalf("superseded %v, want %v", r.Deleted, tc.want)
			}
			if tc.want && (r.Version != older.Version || *r.Successor() != key.Publisher) {
				t.Errorf("the tombstone %+v kills more than was seen, or does not name its successor", r)
			}
			if !h.lives(key) {
				t.Error("the newer record does not live")
			}
		})
	}
}

// TestSupersededLater: the origin of the older one finds out that its connection is dead; the newer record and the end of
// the older one go out in one step.
func TestSupersededLater(t *testing.T) {
	h := newHarness(t, true, 2)
	older := h.foreign(2, "old", java, instance)
	h.receiveRecord(2, older)
	h.open("new", java)
	key := h.publish("new", instance)
	h.pass(time.Second)
	h.sent[2] = nil
	h.receiveRecord(2, older.WithUnclaimed(model.CausePublisher, 0))
	h.pass(time.Second)
	if !h.store.Record(older.Key).Deleted {
		t.Fatal("what the publisher left behind lives on")
	}
	for _, m := range h.told(2, replication.KindDelta) {
		for _, e := range m.Entries {
			if e.Record.Deleted {
				t.Errorf("a removal travels alone: %+v; it could arrive first and leave a gap (P7)", e.Record)
			}
		}
	}
	if r := h.store.Record(key); len(r.Supersedes()) != 1 || r.Supersedes()[0] != (model.Superseded{Publisher: older.Key.Publisher, Version: older.Version}) {
		t.Errorf("supersedes %+v", r.Supersedes())
	}
	// a later deregistration cannot bring a ghost back (P9)
	if err := h.Withdraw(h.now, "new", orders); err != nil {
		t.Fatal(err)
	}
	if tomb := h.store.Record(key); !tomb.Deleted || len(tomb.Supersedes()) != 1 {
		t.Errorf("tombstone %+v", tomb)
	}
}

// TestSupersededByWhoHasMovedOn: the publisher has moved once more when the origin of what it left behind first answers. Our tombstone of
// what was in between ends the oldest, and still names the newest, which it must not overtake.
func TestSupersededByWhoHasMovedOn(t *testing.T) {
	h := newHarness(t, true, 2, 3)
	oldest := h.foreign(2, "oldest", java, instance)
	h.receiveRecord(2, oldest)
	h.open("between", java)
	between := h.publish("between", instance)
	h.Close(h.now, "between")
	newest := h.foreign(3, "newest", java, instance)
	newest.Version.Stamp++
	newest.Rare = model.NewSuccession([]model.Superseded{{Publisher: between.Publisher, Version: h.store.Record(between).Version}}, nil)
	h.receiveRecord(3, newest)
	h.pull()
	h.sent[2] = nil
	h.receiveRecord(2, oldest.WithUnclaimed(model.CauseOurs, 0))
	h.pass(time.Second)
	if r := h.store.Record(between); !r.Deleted || len(r.Supersedes()) != 1 || r.Successor() == nil || *r.Successor() != newest.Key.Publisher {
		t.Fatalf("in between: %+v, successor %v", r, r.Successor())
	}
	for _, m := range h.told(2, replication.KindDelta) {
		ahead := false
		for _, e := range m.Entries {
			ahead = ahead || e.Record.Key == newest.Key
			if e.Record.Key == between && !ahead {
				t.Error("the tombstone travels ahead of its successor")
			}
		}
	}
}

// TestAsked: as the origin of an older record we ask its connection, and answer when that shows life.
func TestAsked(t *testing.T) {
	for name, deaf := range map[string]bool{"it lives": false, "it is dead": true} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, true, 2)
			h.open("old", java)
			key := h.publish("old", instance)
			h.deaf["old"] = deaf
			newer := h.foreign(2, "new", java, instance)
			h.receive(2, replication.Message{Kind: replication.KindAsk, Questions: []replication.Question{{Older: key, Newer: newer.Key}}})
			h.pass(6 * time.Second)
			if answered := len(h.told(2, replication.KindAlive)) == 1; answered == deaf {
				t.Errorf("answered %v", answered)
			}
			if r := h.store.Record(key); (r.Deleted || r.Unclaimed != model.Vouched) != deaf {
				t.Errorf("record %+v", r)
			}
		})
	}
}

// TestAskedOfAnother: an id is that of one member. The connection of ours that bears the same is not meant.
func TestAskedOfAnother(t *testing.T) {
	h := newHarness(t, true, 2)
	h.open("c", java)
	key := h.publish("c", instance)
	newer := h.foreign(2, "new", java, instance).Key
	for name, older := range map[string]model.Publisher{
		"another member's": {Kind: model.KindConnection, Member: 2, ID: "c"},
		"another kind":     {Kind: model.KindBeat, Member: self, ID: "c"},
		"another id":       {Kind: model.KindConnection, Member: self, ID: "d"},
	} {
		question := replication.Question{Older: model.RecordKey{Publisher: older, Service: orders}, Newer: newer}
		if signals := h.Asked(h.now, 2, question); len(signals) != 0 {
			t.Errorf("%s: %v", name, signals)
		}
	}
	if signals := h.Asked(h.now, 2, replication.Question{Older: key, Newer: newer}); len(signals) != 1 {
		t.Errorf("its own: %v, want one that asks for a sign of life", signals)
	}
}

// TestAskedAmongMany: clients that move are asked about by the thousand, and each question is about one connection.
func TestAskedAmongMany(t *testing.T) {
	const connections, questions = 5000, 100
	h := newHarness(t, true, 2)
	for i := range connections {
		h.open("c"+strconv.Itoa(i), java)
	}
	question := replication.Question{Older: h.publish("c0", instance), Newer: h.foreign(2, "new", java, instance).Key}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range questions {
		h.Asked(h.now, 2, question)
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / questions; each > connections {
		t.Errorf("a question takes %d bytes beside %d connections: it looks at all of them", each, connections)
	}
}

// TestTwoConnectionsOfOneProcess do not cancel each other (a sync worker).
func TestTwoConnectionsOfOneProcess(t *testing.T) {
	h := newHarness(t, true, 2)
	h.open("one", java)
	h.open("two", java)
	one, two := h.publish("one", instance), h.publish("two", instance)
	h.pass(2 * time.Minute)
	if !h.lives(one) || !h.lives(two) {
		t.Errorf("one lives %v, two lives %v", h.lives(one), h.lives(two))
	}
}

// TestReincarnation: what the old incarnation vouched for is stamped by the new one, once the client has shown life.
func TestReincarnation(t *testing.T) {
	h := newHarness(t, true, 2)
	h.open("lives", java)
	h.open("dead", java)
	lives, dead := h.publish("lives", instance), h.publish("dead", model.Instance{IP: "10.0.0.2", Port: 80})
	h.pass(time.Second)
	h.deaf["dead"] = true
	h.members[0].Incarnation = 77
	v := model.NewView(77, h.members, false)
	h.react(h.SetView(h.now, v, ring.New(v, 0)))
	h.pass(10 * time.Second)
	if r := h.store.Record(lives); r.Deleted || r.Unclaimed != model.Vouched || r.Version.Origin != 77 {
		t.Errorf("of a connection that lives: %+v", r)
	}
	if r := h.store.Record(dead); !r.Deleted && r.Unclaimed == model.Vouched {
		t.Errorf("of one that shows no life: %+v", r)
	}
}

// TestForgottenVersions: what bears our name and is not ours is denied, by a tombstone of exactly that version.
func TestForgottenVersions(t *testing.T) {
	for name, tc := range map[string]struct {
		record func(h *harness) *model.Record
		want   bool
	}{
		"of a connection that is no more": {func(h *harness) *model.Record { return h.foreign(self, "gone", java, instance) }, true},
		"of beats that nobody sends": {func(h *harness) *model.Record {
			r := h.foreign(self, "", java, instance)
			r.Key.Publisher = session.BeatPublisher("10.0.0.1", 80)
			return r
		}, true},
		"unclaimed already": {func(h *harness) *model.Record {
			return h.foreign(self, "gone", java, instance).WithUnclaimed(model.CauseOurs, 0)
		}, false},
		"of another member": {func(h *harness) *model.Record { return h.foreign(2, "c", java, instance) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, true, 2)
			r := tc.record(h)
			h.receiveRecord(2, r)
			got := h.store.Record(r.Key)
			if got.Deleted != tc.want || got.Version != r.Version {
				t.Errorf("denied %v, want %v; version %v, sent %v", got.Deleted, tc.want, got.Version, r.Version)
			}
		})
	}
}

// TestForgottenBehindItsSuccessor: who still shows what bears our name may not have heard yet that its publisher has registered
// again. The denial takes that along: alone it would leave a gap.
func TestForgottenBehindItsSuccessor(t *testing.T) {
	for name, newer := range map[string]func(h *harness) model.RecordKey{
		"registered here": func(h *harness) model.RecordKey {
			h.open("new", java)
			return h.publish("new", instance)
		},
		"registered elsewhere": func(h *harness) model.RecordKey {
			r := h.foreign(2, "new", java, instance)
			r.Version.Said = r.Version.Stamp
			h.receiveRecord(2, r)
			return r.Key
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, true, 2, 3)
			key := newer(h)
			h.pull()
			h.sent[3] = nil // whatever was sent is lost
			gone := h.foreign(self, "gone", java, instance)
			h.receiveRecord(2, gone)
			var told []model.RecordKey
			for _, m := range h.told(3, replication.KindDelta) {
				for _, en := range m.Entries {
					told = append(told, en.Record.Key)
				}
			}
			if !h.store.Record(gone.Key).Deleted || !slices.Equal(told, []model.RecordKey{key, gone.Key}) {
				t.Errorf("told %v, want the new record and then the end of the old one", told)
			}
		})
	}
}

// TestOverride lies over what is published, and ends a minute after the last instance that it changes.
func TestOverride(t *testing.T) {
	h := newHarness(t, true)
	h.open("c", java)
	h.publish("c", instance)
	over := instance
	over.Weight = 9
	h.Override(h.now, orders, over)
	key := model.RecordKey{Publisher: model.Publisher{Kind: model.KindOverride, ID: instance.Key().String()}, Service: orders}
	h.pass(10 * time.Minute)
	if !h.lives(key) {
		t.Fatal("an override ended while its instance lived")
	}
	before := h.store.Record(key)
	h.Override(h.now, orders, over)
	if h.store.Record(key) != before {
		t.Error("the same override again is a change")
	}
	if err := h.Withdraw(h.now, "c", orders); err != nil {
		t.Fatal(err)
	}
	h.pass(30 * time.Second)
	h.publish("c", instance)
	h.pass(2 * time.Minute)
	if !h.lives(key) {
		t.Error("an override ended though its instance came back within the minute")
	}
	if err := h.Withdraw(h.now, "c", orders); err != nil {
		t.Fatal(err)
	}
	if d := h.lasts(key, forever); d < 60*time.Second || d > 75*time.Second {
		t.Errorf("the override ended %v after its instance, want a minute", d)
	}
}

// TestConfigure: settings end a minute after the last instance of their service, and nobody has to vouch for them.
func TestConfigure(t *testing.T) {
	h := newHarness(t, true, 2)
	h.open("c", java)
	h.publish("c", instance)
	s := model.Settings{ProtectThreshold: 0.5, Metadata: model.MetadataOf(map[string]string{"owner": "team"})}
	h.Configure(h.now, orders, s)
	key := model.RecordKey{Publisher: model.Publisher{Kind: model.KindSettings}, Service: orders}
	before := h.store.Record(key)
	h.Configure(h.now, orders, s)
	if h.store.Record(key) != before || *before.Settings() != s {
		t.Errorf("the same settings again are a change: %+v", h.store.Record(key))
	}
	s.ProtectThreshold = 0.7
	h.Configure(h.now, orders, s)
	h.vanish(2)
	h.pass(10 * time.Minute)
	if got := h.store.Record(key); *got.Settings() != s || got.Unclaimed != model.Vouched {
		t.Fatalf("while its instances live: %+v", got)
	}
	if err := h.Withdraw(h.now, "c", orders); err != nil {
		t.Fatal(err)
	}
	if d := h.lasts(key, forever); d < 60*time.Second || d > 75*time.Second {
		t.Errorf("the settings ended %v after the last instance, want a minute", d)
	}
	if got := h.store.Record(key); got.Settings() != nil {
		t.Errorf("the tombstone has settings: %+v", got)
	}
}

// TestOverrideIsNoPublisher: nobody is its origin for long, so no member's end touches it.
func TestOverrideIsNoPublisher(t *testing.T) {
	h := newHarness(t, true, 2, 3)
	r := h.foreign(2, "", java, instance)
	r.Key.Publisher = model.Publisher{Kind: model.KindOverride, ID: instance.Key().String()}
	h.receiveRecord(2, r)
	h.leave(2)
	h.pass(10 * time.Second)
	if got := h.store.Record(r.Key); got.Unclaimed != model.Vouched {
		t.Errorf("an override is unclaimed: %+v", got)
	}
}
