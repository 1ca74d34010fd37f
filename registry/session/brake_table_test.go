package session_test

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/session"
)

// TestBeatsAreHeld: publishers that beat count, and are held, as all others; those that beat again are let go at once.
func TestBeatsAreHeld(t *testing.T) {
	b := braked(t, limits, 2)
	var keys []model.RecordKey
	for i := range 12 {
		in := member(i)
		b.Register(b.now, orders, in, model.Client{IP: in.IP})
		keys = append(keys, model.RecordKey{Publisher: session.BeatPublisher(in.IP, int(in.Port)), Service: orders})
	}
	mine := slices.DeleteFunc(slices.Clone(keys), func(k model.RecordKey) bool {
		to, _ := b.Responsible(k)
		return to != self
	})
	if len(mine) < 4 {
		t.Fatalf("this member is responsible for %d of 12: choose other addresses", len(mine))
	}
	silent, again := mine[:len(mine)-1], mine[len(mine)-1]
	beat := func(keys []model.RecordKey) {
		for _, k := range keys {
			b.Beat(b.now, k, self)
		}
	}
	for range 3 {
		b.pass(5 * time.Second)
		beat(keys)
	}
	others := slices.DeleteFunc(slices.Clone(keys), func(k model.RecordKey) bool { return slices.Contains(mine, k) })
	for range 8 {
		b.pass(5 * time.Second)
		beat(others)
	}
	if p := b.BrakeState(b.now); b.living(keys) != 12 || p.Held != len(mine) {
		t.Fatalf("%d of 12 are left, %+v; want %d held", b.living(keys), p, len(mine))
	}
	for _, k := range mine {
		if b.store.Record(k).Instances[0].Healthy {
			t.Error("one that is held is shown as healthy")
		}
	}
	b.Beat(b.now, again, self)
	if p := b.BrakeState(b.now); p.Held != len(silent) || !b.store.Record(again).Instances[0].Healthy {
		t.Errorf("one beats again: %+v", p)
	}
	for range 62 {
		b.pass(5 * time.Second)
		beat(append(others, again))
	}
	if b.living(silent) != 0 || b.living(keys) != 12-len(silent) {
		t.Errorf("%d of %d silent ones are left 5 minutes later, %d in all", b.living(silent), len(silent), b.living(keys))
	}
}

// TestBeatsConfirmed: silent publishers whose ports refuse are let go at the rate, also when a probe finds that out later.
func TestBeatsConfirmed(t *testing.T) {
	b := braked(t, limits)
	var keys []model.RecordKey
	for i := range 12 {
		in := member(i)
		b.Register(b.now, orders, in, model.Client{IP: in.IP})
		keys = append(keys, model.RecordKey{Publisher: session.BeatPublisher(in.IP, int(in.Port)), Service: orders})
	}
	b.pass(50 * time.Second)
	if p := b.BrakeState(b.now); p.Held != 12 {
		t.Fatalf("%+v, want all held: they were silent for 50 s", p)
	}
	b.ports = answers(session.PortRefused)
	b.pass(65 * time.Second)
	if n := b.living(keys); n != 0 {
		t.Errorf("%d of 12 are left a minute after their ports began to refuse", n)
	}
	if p := b.BrakeState(b.now); p.Confirmed == 0 || p.Held != 0 {
		t.Errorf("%+v", p)
	}
}

// TestHeldAcrossMoves: whoever takes a shard over holds on, and does not begin the time anew.
func TestHeldAcrossMoves(t *testing.T) {
	b := braked(t, limits, 2)
	const all, dead = 30, 12
	var records []*model.Record
	for i := range all {
		in := member(i)
		r := b.foreign(2, "c"+strconv.Itoa(i), java, in)
		records = append(records, r)
		b.receiveRecord(2, r)
	}
	b.pass(15 * time.Second)
	since := b.now.Mono
	for _, r := range records[:dead] {
		b.receiveRecord(2, r.WithUnclaimed(model.CausePublisher, since))
	}
	keys := make([]model.RecordKey, all)
	for i, r := range records {
		keys[i] = r.Key
	}
	b.pass(2 * time.Minute)
	if p := b.BrakeState(b.now); p.Held != 0 || b.living(keys) != all {
		t.Fatalf("another is their origin, and a member: %+v, %d of %d live", p, b.living(keys), all)
	}
	b.leave(2) // now all of its records are ours to watch, those of the dead and those of the living
	b.pass(time.Second)
	for _, r := range records[dead:] { // which come here
		id := "here" + r.Key.Publisher.ID
		b.open(id, java)
		b.publish(id, r.Instances...)
	}
	left := func() int { return b.store.Instances() }
	b.pass(5*time.Minute - 3*time.Second)
	if left() != all {
		t.Fatalf("%d of %d are left before the grace of a lost member is over", left(), all)
	}
	b.pass(10 * time.Second)
	p := b.BrakeState(b.now)
	if left() != all || !p.Active || p.Held != dead {
		t.Fatalf("%d of %d are left, %+v; want %d held", left(), all, p, dead)
	}
	b.pass(5 * time.Minute)
	if left() != all-dead {
		t.Errorf("%d of %d are left, want %d", left(), all, all-dead)
	}
}

// TestHeldAcrossPauses: a pause of the process ends nobody.
func TestHeldAcrossPauses(t *testing.T) {
	b := braked(t, limits, 2)
	keys := b.crowd(20)
	b.pass(15 * time.Second)
	b.die(0, 8)
	b.pass(time.Minute)
	b.now.Mono += 10 * time.Minute
	b.now.Wall += 600_000
	b.react(b.Paused(b.now, 10*time.Minute))
	b.pass(5 * time.Minute)
	if n := b.living(keys); n != 20 {
		t.Errorf("%d of 20 are left 5 minutes after a pause of 10", n)
	}
}

// TestHeldUnderCut: a cut that begins while records are held makes the trouble ours.
func TestHeldUnderCut(t *testing.T) {
	b := braked(t, limits, 2)
	keys := b.crowd(20)
	b.pass(15 * time.Second)
	b.die(0, 8)
	b.pass(time.Minute)
	b.mute[2] = true
	b.pass(10 * time.Minute)
	if n, p := b.living(keys), b.BrakeState(b.now); n != 20 || p.Held != 0 || p.Active {
		t.Errorf("%d of 20 are left behind a cut, %+v", n, p)
	}
	b.mute[2] = false
	b.pass(4*time.Minute + 50*time.Second)
	if n := b.living(keys); n != 20 {
		t.Errorf("%d of 20 are left before the heal is 5 minutes old", n)
	}
	b.pass(6 * time.Minute)
	if n := b.living(keys); n != 12 {
		t.Errorf("%d of 20 are left in the end, want 12", n)
	}
}
