package replication_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
)

func TestDeltas(t *testing.T) {
	p := joined(3)
	k := key(1, "a")
	var want *model.Record
	sent := p.count(func() {
		want = p.register(0, k, 80)
		p.settle()
	})
	if sent[replication.KindDelta] != 2 || len(sent) != 1 {
		t.Errorf("a registration was told by messages %v, want one delta to each peer", sent)
	}
	for _, n := range p.nodes {
		n.holds(t, want)
	}
	gone := p.remove(2, k)
	p.settle()
	for _, n := range p.nodes {
		n.holds(t, gone)
	}
	p.agree(t)
}

// TestCoalescing: a slow peer gets the newest state of each record, once, in the order of first change (L1).
func TestCoalescing(t *testing.T) {
	p := joined(2)
	p.register(0, key(2, "b"), 80)
	var last *model.Record
	for port := range 100 {
		last = p.register(0, key(1, "a"), 81+port)
	}
	var keys []model.RecordKey
	p.watch = func(_, _ *node, m replication.Message) {
		for _, e := range m.Entries {
			keys = append(keys, e.Record.Key)
		}
	}
	p.settle()
	if len(keys) != 2 || keys[0] != key(2, "b") || keys[1] != key(1, "a") {
		t.Errorf("records on their way: %v, want b and then a", keys)
	}
	p.nodes[1].holds(t, last)
}

// TestWritersOvertake: two writers of one record may queue what they wrote in the other order; the newer one travels.
func TestWritersOvertake(t *testing.T) {
	p := joined(2)
	n, k := p.nodes[0], key(1, "a")
	var second *model.Record
	n.onChange = func() {
		if second == nil { // the first is in the store, and not queued yet
			second = &model.Record{}
			second = p.register(0, k, 81)
		}
	}
	p.register(0, k, 80)
	p.settle()
	p.nodes[1].holds(t, second)
}

// TestManyRecords: what waits is cut into messages.
func TestManyRecords(t *testing.T) {
	p := joined(2)
	const records = 1234
	for i := range records {
		p.register(0, key(i, "a"), 80)
	}
	most := 0
	p.watch = func(_, _ *node, m replication.Message) { most = max(most, len(m.Entries)) }
	sent := p.count(p.settle)
	if sent[replication.KindDelta] != 3 || most != 500 {
		t.Errorf("%d records took %v, at most %d in one", records, sent, most)
	}
	p.agree(t)
}

// TestLargeRecords: a message has a megabyte of records, whatever makes them large, and one that is larger travels alone.
func TestLargeRecords(t *testing.T) {
	const mega = 1 << 20
	text := func(n int) string { return strings.Repeat("x", n) }
	large := map[int]int{14: 2}
	tests := map[string]struct {
		record func(i int) model.Record
		most   int // in one message
	}{
		"small":     {func(int) model.Record { return model.Record{} }, 30},
		"agents":    {func(int) model.Record { return model.Record{Client: &model.Client{Agent: text(mega / 10)}} }, 9},
		"addresses": {func(int) model.Record { return model.Record{Instances: []model.Instance{{IP: text(mega / 10)}}} }, 9},
		"settings": {func(int) model.Record {
			return model.Record{Rare: &model.Rare{Settings: &model.Settings{Metadata: model.NewMetadata(model.Pair{Value: text(mega / 20)})}}}
		}, 9},
		"who moves a lot": {func(int) model.Record {
			return model.Record{Rare: &model.Rare{Supersedes: make([]model.Superseded, mega/640)}}
		}, 9},
		"who is moved to": {func(int) model.Record {
			return model.Record{Deleted: true, Rare: &model.Rare{Successor: &model.Publisher{ID: text(mega / 10)}}}
		}, 9},
		"each over that":   {func(int) model.Record { return model.Record{Client: &model.Client{App: text(2 * mega)}} }, 1},
		"one in the midst": {func(i int) model.Record { return model.Record{Client: &model.Client{App: text(large[i] * mega)}} }, 15},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := joined(2)
			a := p.nodes[0]
			for i := range 30 {
				k := key(i, "a")
				r := test.record(i)
				r.Key, r.Version = k, model.Version{Stamp: model.Stamp(i + 1), Origin: a.id}
				a.engine.Update(p.time(a), k, func(*model.Record) *model.Record { return &r })
			}
			most := 0
			p.watch = func(_, _ *node, m replication.Message) {
				size := 0
				for _, e := range m.Entries {
					size += e.Record.Size()
				}
				if size > mega && len(m.Entries) > 1 {
					t.Errorf("%d records of %d bytes are in one message", len(m.Entries), size)
				}
				most = max(most, len(m.Entries))
			}
			p.settle()
			if most != test.most {
				t.Errorf("at most %d records are in one message, want %d", most, test.most)
			}
			p.agree(t)
		})
	}
}

// TestLargeSuccessors: what goes ahead of a tombstone travels once, and what that makes of a message is cut as well.
func TestLargeSuccessors(t *testing.T) {
	const mega, moves = 1 << 20, 10
	tests := map[string]struct {
		successor func(i int) string
		messages  int
	}{
		"one of all":   {func(int) string { return "new" }, 1},
		"one for each": {func(i int) string { return fmt.Sprint("new-", i) }, moves},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := joined(2)
			a, b := p.nodes[0], p.nodes[1]
			var gone []*model.Record
			for i := range moves {
				to := key(1, test.successor(i))
				p.write(0, to, func(v model.Version, _ *model.Record) *model.Record {
					return &model.Record{Key: to, Version: v, Client: &model.Client{App: strings.Repeat("x", mega*2/3)}}
				})
				gone = append(gone, p.write(0, key(1, fmt.Sprint("old-", i)), func(v model.Version, _ *model.Record) *model.Record {
					return &model.Record{Key: key(1, fmt.Sprint("old-", i)), Version: v, Deleted: true, Rare: model.NewSuccession(nil, &to.Publisher)}
				}))
			}
			p.settle()
			sent, last, known := 0, 0, map[model.RecordKey]bool{}
			p.watch = func(_, to *node, m replication.Message) {
				if to != b || len(m.Entries) == 0 {
					return
				}
				sent++
				if m.Last {
					last++
				}
				size := 0
				for _, e := range m.Entries {
					known[e.Record.Key] = true
					if size += e.Record.Size(); e.Record.Successor() != nil && !known[model.RecordKey{Publisher: *e.Record.Successor(), Service: e.Record.Key.Service}] {
						t.Errorf("%v is ahead of its successor", e.Record.Key)
					}
				}
				if size > 2*mega {
					t.Errorf("a message of %d bytes", size)
				}
			}
			a.engine.SendRecords(b.id, replication.Message{Kind: replication.KindRepair}, gone)
			p.pass(2 * time.Second)
			if sent != test.messages || last != 1 || !a.engine.Drained() {
				t.Errorf("%d messages, %d of them the last one, all acknowledged: %v", sent, last, a.engine.Drained())
			}
			for _, r := range gone {
				if !known[r.Key] {
					t.Errorf("%v was not sent", r.Key)
				}
			}
		})
	}
}

// TestOverflow: an outbox is bounded. What it drops leaves the peer dirty until the digests have repaired it.
func TestOverflow(t *testing.T) {
	p := joined(2)
	a, b := p.nodes[0], p.nodes[1]
	if !a.engine.Agreed(b.id) {
		t.Fatal("two empty members do not agree")
	}
	const bound = 100_000
	p.setCut(0, 1, true)
	k := key(1, "")
	for i := range bound + 10 {
		k.Publisher.ID = fmt.Sprint(i)
		k.Service.Name = fmt.Sprint(i % 100)
		r := &model.Record{Key: k, Version: model.Version{Stamp: model.Stamp(i + 1), Origin: a.id}}
		a.engine.Update(p.time(a), k, func(*model.Record) *model.Record { return r })
	}
	if a.engine.Agreed(b.id) {
		t.Error("the peer counts as agreed after its outbox overflowed")
	}
	p.setCut(0, 1, false)
	p.settle()
	if got := len(b.live()); got >= bound {
		t.Errorf("%d records were queued, the bound is %d", got, bound)
	}
	p.watch = func(from, to *node, m replication.Message) {
		if m.Kind == replication.KindRepair && from == a && a.engine.Agreed(to.id) {
			t.Error("the peer counts as agreed while it is repaired")
			p.watch = nil
		}
	}
	p.pass(7 * time.Second)
	if got := len(b.live()); got != bound+10 {
		t.Errorf("after the digests the peer holds %d records, want %d", got, bound+10)
	}
	if !a.engine.Agreed(b.id) || a.store.Sum() != b.store.Sum() {
		t.Error("the two do not agree after the repair")
	}
}

// TestStalledPeer: what is repeated waits once, however long nobody pulls (L1).
func TestStalledPeer(t *testing.T) {
	p := joined(2)
	a, b := p.nodes[0], p.nodes[1]
	p.setCut(0, 1, true)
	p.pass(10 * time.Minute)
	last := replication.Status{Protocol: replication.ProtocolVersion}
	for last.ViewHash = range uint64(100) {
		a.engine.SetStatus(last)
	}
	p.setCut(0, 1, false)
	sent := p.count(func() { p.carry(0, 1) })
	if sent[replication.KindStatus] != 1 || sent[replication.KindDigest] != 1 || len(sent) != 2 {
		t.Errorf("after ten minutes these wait: %v, want one status and one digest", sent)
	}
	if got, _ := b.engine.PeerStatus(a.id); got != last {
		t.Errorf("the peer is told %+v, the last is %+v", got, last)
	}
}

// TestSuccessorFirst: whoever pulls records in whatever order, a superseded record does not go before its publisher's
// newer one is there, over several moves (P7: never none).
func TestSuccessorFirst(t *testing.T) {
	move := func(p *pipe, from, to string) {
		older := p.nodes[0].store.Record(key(1, from))
		p.write(0, key(1, to), func(v model.Version, _ *model.Record) *model.Record {
			r := *older
			r.Key, r.Version = key(1, to), v
			r.Rare = model.NewSuccession([]model.Superseded{{Publisher: older.Key.Publisher, Version: older.Version}}, nil)
			return &r
		})
	}
	tests := map[string]func(p *pipe){
		"by offer and merge": func(p *pipe) {
			p.connect(1, 0)
			p.nodes[1].engine.Offer(p.nodes[0].id)
		},
		"by the digests": func(p *pipe) {
			p.connect(1, 0)
			p.pass(7 * time.Second)
		},
	}
	for name, reach := range tests {
		t.Run(name, func(t *testing.T) {
			p := joined(2)
			p.register(0, key(1, "a"), 80)
			p.settle()
			p.nodes[0].engine.PeerDown(p.nodes[1].id)
			p.nodes[1].engine.PeerDown(p.nodes[0].id)
			// ids rise, so that tombstones come first in the order of keys
			move(p, "a", "b")
			move(p, "b", "c")
			if got := len(p.nodes[0].live()); got != 1 {
				t.Fatalf("%d records live after two moves", got)
			}
			p.watch = func(_, to *node, m replication.Message) {
				if to != p.nodes[1] {
					return
				}
				for i := range m.Entries {
					// one record after the other, as the catalog shows them
					to.store.Apply(p.time(to), m.Entries[i].Record)
					if len(to.store.Snapshot(p.time(to), key(1, "").Service).Hosts) != 1 {
						t.Errorf("after %v the peer shows no instance, or two", m.Entries[i].Record.Key.Publisher)
					}
				}
			}
			reach(p)
			p.settle()
			p.agree(t)
		})
	}
}

// TestDrained: everything that was queued is taken in by the peer, and not only pulled.
func TestDrained(t *testing.T) {
	tests := map[string]func(p *pipe){
		"a delta":          func(p *pipe) { p.register(0, key(1, "a"), 80) },
		"an offer":         func(p *pipe) { p.nodes[0].engine.Offer(p.nodes[1].id) },
		"beats":            func(p *pipe) { p.nodes[0].engine.Relay(p.nodes[1].id, replication.Beat{ID: 1}) },
		"that it has left": func(p *pipe) { p.nodes[0].engine.Send(p.nodes[1].id, replication.Message{Kind: replication.KindLeave}) },
	}
	for name, queue := range tests {
		t.Run(name, func(t *testing.T) {
			p := joined(2)
			a, b := p.nodes[0], p.nodes[1]
			p.pass(time.Second)
			if !a.engine.Drained() {
				t.Fatal("not drained at the start")
			}
			queue(p)
			if a.engine.Drained() {
				t.Error("drained while it is queued")
			}
			ms := a.engine.Pull(p.time(a), b.id)
			if a.engine.Drained() {
				t.Error("drained while it is on its way")
			}
			for _, m := range ms {
				b.engine.Receive(p.time(b), a.id, m)
			}
			if a.engine.Drained() {
				t.Error("drained before the peer has said so")
			}
			p.pass(200 * time.Millisecond)
			if !a.engine.Drained() {
				t.Error("not drained after the acknowledgement")
			}
			b.engine.PeerDown(a.id)
			a.engine.PeerDown(b.id)
			if !a.engine.Drained() {
				t.Error("not drained without peers")
			}
		})
	}
}

// TestQuiet: acknowledging does not go on for ever, and two that agree exchange one number a round.
func TestQuiet(t *testing.T) {
	p := joined(2)
	p.register(0, key(1, "a"), 80)
	p.pass(5 * time.Second)
	sent := p.count(func() { p.pass(30 * time.Second) })
	if sent[replication.KindStatus] > 2*31 || sent[replication.KindDigest] > 2*11 || len(sent) != 2 {
		t.Errorf("30 quiet seconds took %v", sent)
	}
}

func TestOfferAndMerge(t *testing.T) {
	p := newPipe(2)
	mine, theirs := p.register(0, key(1, "a"), 80), p.register(1, key(2, "b"), 80)
	old := p.register(1, key(3, "c"), 80)
	p.now += time.Second
	newer := p.register(0, key(3, "c"), 81)
	p.connect(0, 1)
	p.nodes[0].engine.Offer(p.nodes[1].id)
	p.settle()
	for _, n := range p.nodes {
		n.holds(t, mine)
		n.holds(t, theirs)
		n.holds(t, newer)
	}
	if newer.Version.Compare(old.Version) <= 0 {
		t.Fatal("the newer registration has no higher version")
	}
	if got := merges(p.nodes[0]); got != 1 {
		t.Errorf("the offer was answered %d times", got)
	}

	t.Run("empty ones too", func(t *testing.T) {
		p := joined(2)
		p.nodes[0].engine.Offer(p.nodes[1].id)
		p.settle()
		if got := merges(p.nodes[0]); got != 1 {
			t.Errorf("the offer was answered %d times", got)
		}
	})
	t.Run("an answer to an older offer does not count", func(t *testing.T) {
		p := joined(2)
		a, b := p.nodes[0], p.nodes[1]
		a.engine.Offer(b.id)
		p.carry(0, 1)
		a.engine.Offer(b.id)
		p.carry(1, 0)
		if got := merges(a); got != 0 {
			t.Error("the answer to the first offer ended the second")
		}
		p.settle()
		if got := merges(a); got != 1 {
			t.Errorf("the second offer was answered %d times", got)
		}
	})
	t.Run("in chunks", func(t *testing.T) {
		p := newPipe(2)
		for i := range 1200 {
			p.register(i%2, key(i, "a"), 80)
		}
		p.connect(0, 1)
		p.nodes[0].engine.Offer(p.nodes[1].id)
		last := 0
		p.watch = func(_, _ *node, m replication.Message) {
			if m.Last && (m.Kind == replication.KindOffer || m.Kind == replication.KindMerged) {
				last++
			}
		}
		sent := p.count(p.settle)
		if sent[replication.KindOffer] != 2 || sent[replication.KindMerged] != 3 || last != 2 || merges(p.nodes[0]) != 1 {
			t.Errorf("took %v, %d of them the last; want 2 and 3", sent, last)
		}
		p.agree(t)
	})
	t.Run("nobody there", func(t *testing.T) {
		newPipe(1).nodes[0].engine.Offer(9)
	})
}

func merges(n *node) int {
	c := 0
	for _, in := range n.inputs {
		if in.Merged {
			c++
		}
	}
	return c
}

// TestAges: that nobody vouches travels as an age, so that neither clock ages a record (P8).
func TestAges(t *testing.T) {
	p := joined(2)
	a, b := p.nodes[0], p.nodes[1]
	b.wall = -time.Hour
	k := key(1, "a")
	p.register(0, k, 80)
	p.settle()
	p.setCut(0, 1, true)
	p.unclaim(0, k, model.CausePublisher)
	since := p.now
	p.now += 20 * time.Second
	p.setCut(0, 1, false)
	p.settle()
	if got, want := a.store.Record(k).Since, since+a.mono; got != want {
		t.Errorf("its holder counts from %v, want %v", got, want)
	}
	if got, want := b.store.Record(k).Since, since+b.mono; got != want {
		t.Errorf("the peer counts from %v of its own clock, want %v", got, want)
	}
	t.Run("an age below zero starts now", func(t *testing.T) {
		r := b.store.Record(k).Restamped(b.hlc.Next(p.time(b)), 1).WithUnclaimed(model.CauseOurs, 0)
		b.engine.Receive(p.time(b), a.id, replication.Message{
			Kind: replication.KindDelta, Entries: []replication.Entry{{Record: r, Age: -time.Hour}},
		})
		if got := b.store.Record(k).Since; got != p.time(b).Mono {
			t.Errorf("it counts from %v, now is %v", got, p.time(b).Mono)
		}
	})
}

// TestClocksMeet: whoever is an hour behind stamps what it writes above what it has seen (P8).
func TestClocksMeet(t *testing.T) {
	p := joined(2)
	p.nodes[0].wall = time.Hour
	k := key(1, "a")
	ahead := p.register(0, k, 80)
	p.settle()
	behind := p.register(1, k, 81)
	p.settle()
	if behind.Version.Compare(ahead.Version) <= 0 {
		t.Errorf("the update %v is lost against %v", behind.Version, ahead.Version)
	}
	p.agree(t)
}

func TestStatus(t *testing.T) {
	p := newPipe(2)
	a, b := p.nodes[0], p.nodes[1]
	if _, ok := b.engine.PeerStatus(a.id); ok || b.engine.Connected(a.id) || b.engine.InReach(p.time(b), a.id) || b.engine.Agreed(a.id) {
		t.Error("something is known of a member without a stream")
	}
	a.engine.SetStatus(replication.Status{State: model.StateStarting})
	p.connect(0, 1)
	if _, ok := b.engine.PeerStatus(a.id); ok {
		t.Error("something is known before it was said")
	}
	p.settle()
	want := replication.Status{State: model.StateComplete, Complete: true, ReadsOpen: true, ViewHash: 7, Protocol: replication.ProtocolVersion}
	sent := p.count(func() {
		a.engine.SetStatus(want)
		a.engine.SetStatus(want)
		p.settle()
	})
	if got, ok := b.engine.PeerStatus(a.id); !ok || got != want {
		t.Errorf("the peer knows %+v, want %+v", got, want)
	}
	if sent[replication.KindStatus] != 1 {
		t.Errorf("one change was told %d times", sent[replication.KindStatus])
	}
	want.Connections = 3
	sent = p.count(func() {
		a.engine.SetStatus(want)
		p.settle()
	})
	if sent[replication.KindStatus] != 0 {
		t.Error("a number of connections was not worth a message of its own, but got one")
	}
	p.pass(time.Second)
	if got, ok := b.engine.PeerStatus(a.id); !ok || got != want {
		t.Errorf("a second later the peer knows %+v, want %+v", got, want)
	}
	p.setCut(0, 1, true)
	p.pass(2 * time.Second)
	if !b.engine.InReach(p.time(b), a.id) {
		t.Error("out of reach after two seconds of silence")
	}
	p.pass(time.Second)
	if b.engine.InReach(p.time(b), a.id) || !b.engine.Connected(a.id) {
		t.Error("in reach after three seconds of silence, or not connected")
	}
	b.engine.PeerDown(a.id)
	if b.engine.Connected(a.id) || b.engine.Pull(p.time(b), a.id) != nil || b.engine.Send(a.id, replication.Message{}) || b.engine.Relay(a.id, replication.Beat{}) {
		t.Error("a stream that is down still takes and gives")
	}
}

// TestNewStream: a new stream starts with a status and a digest; what the old one held is not sent twice, and nobody agrees by what
// the old one has shown.
func TestNewStream(t *testing.T) {
	p := joined(2)
	p.setCut(0, 1, true)
	want := p.register(0, key(1, "a"), 80)
	p.connect(0, 1)
	p.setCut(0, 1, false)
	p.watch = func(from, to *node, m replication.Message) {
		if m.Kind == replication.KindRepair && from.engine.Agreed(to.id) {
			t.Errorf("%v agrees before the repair", from.id)
		}
	}
	sent := p.count(p.settle)
	if sent[replication.KindDelta] != 0 || sent[replication.KindRepair] == 0 {
		t.Errorf("the new stream carried %v", sent)
	}
	p.nodes[1].holds(t, want)
	if !p.nodes[0].engine.Drained() {
		p.pass(time.Second)
	}
	if !p.nodes[0].engine.Drained() {
		t.Error("cursors of the old stream are left")
	}
}

// TestPassedOn: what is no record is handed to the member as it came.
func TestPassedOn(t *testing.T) {
	p := joined(2)
	a, b := p.nodes[0], p.nodes[1]
	for i := range 3 {
		a.engine.Relay(b.id, replication.Beat{ID: uint64(i)})
	}
	q := []replication.Question{{Older: key(1, "a"), Newer: key(1, "b")}}
	for _, m := range []replication.Message{
		{Kind: replication.KindBeatAnswers, Answers: []replication.BeatAnswer{{ID: 4, Known: true}}},
		{Kind: replication.KindAsk, Questions: q},
		{Kind: replication.KindAlive, Questions: q},
		{Kind: replication.KindGone},
		{Kind: replication.KindLeave},
	} {
		a.engine.Send(b.id, m)
	}
	b.inputs = nil
	p.settle()
	if len(b.inputs) != 6 {
		t.Fatalf("took in %d messages, want 6", len(b.inputs))
	}
	in := b.inputs
	if len(in[0].Beats) != 3 || in[0].Beats[2].ID != 2 {
		t.Errorf("beats that waited together came as %v", in[0].Beats)
	}
	if len(in[1].Answers) != 1 || len(in[2].Questions) != 1 || len(in[3].Alive) != 1 || !in[4].Gone || !in[5].Left {
		t.Errorf("took in %+v", in[1:])
	}
}
