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
	h := braked(t, limits, 2)
	var keys []model.RecordKey
	for i := range 12 {
		in := member(i)
		h.Register(h.now, orders, in, model.Client{IP: in.IP})
		keys = append(keys, model.RecordKey{Publisher: session.BeatPublisher(in.IP, int(in.Port)), Service: orders})
	}
	mine := slices.DeleteFunc(slices.Clone(keys), func(k model.RecordKey) bool {
		to, _ := h.Responsible(k)
		return to != self
	})
	if len(mine) < 4 {
		t.Fatalf("this member is responsible for %d of 12: choose other addresses", len(mine))
	}
	silent, again := mine[:len(mine)-1], mine[len(mine)-1]
	beat := func(keys []model.RecordKey) {
		for _, k := range keys {
			h.Beat(h.now, k, self)
		}
	}
	for range 3 {
		h.pass(5 * time.Second)
		beat(keys)
	}
	others := slices.DeleteFunc(slices.Clone(keys), func(k model.RecordKey) bool { return slices.Contains(mine, k) })
	for range 8 {
		h.pass(5 * time.Second)
		beat(others)
	}
	if p := h.BrakeState(h.now); h.living(keys) != 12 || p.Held != len(mine) {
		t.Fatalf("%d of 12 are left, %+v; want %d held", h.living(keys), p, len(mine))
	}
	for _, k := range mine {
		if h.store.Record(k).Instances[0].Healthy {
			t.Error("one that is held is shown as healthy")
		}
	}
	h.Beat(h.now, again, self)
	if p := h.BrakeState(h.now); p.Held != len(silent) || !h.store.Record(again).Instances[0].Healthy {
		t.Errorf("one beats again: %+v", p)
	}
	for range 62 {
		h.pass(5 * time.Second)
		beat(append(others, again))
	}
	if h.living(silent) != 0 || h.living(keys) != 12-len(silent) {
		t.Errorf("%d of %d silent ones are left 5 minutes later, %d in all", h.living(silent), len(silent), h.living(keys))
	}
}

// TestBeatsConfirmed: silent publishers whose ports refuse are let go at the rate, also when a probe finds that out later.
func TestBeatsConfirmed(t *testing.T) {
	h := braked(t, limits)
	var keys []model.RecordKey
	for i := range 12 {
		in := member(i)
		h.Register(h.now, orders, in, model.Client{IP: in.IP})
		keys = append(keys, model.RecordKey{Publisher: session.BeatPublisher(in.IP, int(in.Port)), Service: orders})
	}
	h.pass(50 * time.Second)
	if p := h.BrakeState(h.now); p.Held != 12 {
		t.Fatalf("%+v, want all held: they were silent for 50 s", p)
	}
	h.ports = answers(session.PortRefused)
	h.pass(65 * time.Second)
	if n := h.living(keys); n != 0 {
		t.Errorf("%d of 12 are left a minute after their ports began to refuse", n)
	}
	if p := h.BrakeState(h.now); p.Confirmed == 0 || p.Held != 0 {
		t.Errorf("%+v", p)
	}
}

// TestHeldAcrossMoves: whoever takes a shard over holds on, and does not begin the time anew.
func TestHeldAcrossMoves(t *testing.T) {
	h := braked(t, limits, 2)
	const all, dead = 30, 12
	var records []*model.Record
	for i := range all {
		in := member(i)
		r := h.foreign(2, "c"+strconv.Itoa(i), java, in)
		records = append(records, r)
		h.receiveRecord(2, r)
	}
	h.pass(15 * time.Second)
	since := h.now.Mono
	for _, r := range records[:dead] {
		h.receiveRecord(2, r.WithUnclaimed(model.CausePublisher, since))
	}
	keys := make([]model.RecordKey, all)
	for i, r := range records {
		keys[i] = r.Key
	}
	h.pass(2 * time.Minute)
	if p := h.BrakeState(h.now); p.Held != 0 || h.living(keys) != all {
		t.Fatalf("another is their origin, and a member: %+v, %d of %d live", p, h.living(keys), all)
	}
	h.leave(2) // now all of its records are ours to watch, those of the dead and those of the living
	h.pass(time.Second)
	for _, r := range records[dead:] { // which come here
		id := "here" + r.Key.Publisher.ID
		h.open(id, java)
		h.publish(id, r.Instances...)
	}
	left := func() int { return h.store.Instances() }
	h.pass(5*time.Minute - 3*time.Second)
	if left() != all {
		t.Fatalf("%d of %d are left before the grace of a lost member is over", left(), all)
	}
	h.pass(10 * time.Second)
	p := h.BrakeState(h.now)
	if left() != all || !p.Active || p.Held != dead {
		t.Fatalf("%d of %d are left, %+v; want %d held", left(), all, p, dead)
	}
	h.pass(5 * time.Minute)
	if left() != all-dead {
		t.Errorf("%d of %d are left, want %d", left(), all, all-dead)
	}
}

// TestHeldAcrossPauses: a pause of the process ends nobody.
func TestHeldAcrossPauses(t *testing.T) {
	h := braked(t, limits, 2)
	keys := h.crowd(20)
	h.pass(15 * time.Second)
	h.die(0, 8)
	h.pass(time.Minute)
	h.now.Mono += 10 * time.Minute
	h.now.Wall += 600_000
	h.react(h.Paused(h.now, 10*time.Minute))
	h.pass(5 * time.Minute)
	if n := h.living(keys); n != 20 {
		t.Errorf("%d of 20 are left 5 minutes after a pause of 10", n)
	}
}

// TestHeldUnderCut: a cut that begins while records are held makes the trouble ours.
func TestHeldUnderCut(t *testing.T) {
	h := braked(t, limits, 2)
	keys := h.crowd(20)
	h.pass(15 * time.Second)
	h.die(0, 8)
	h.pass(time.Minute)
	h.mute[2] = true
	h.pass(10 * time.Minute)
	if n, p := h.living(keys), h.BrakeState(h.now); n != 20 || p.Held != 0 || p.Active {
		t.Errorf("%d of 20 are left behind a cut, %+v", n, p)
	}
	h.mute[2] = false
	h.pass(4*time.Minute + 50*time.Second)
	if n := h.living(keys); n != 20 {
		t.Errorf("%d of 20 are left before the heal is 5 minutes old", n)
	}
	h.pass(6 * time.Minute)
	if n := h.living(keys); n != 12 {
		t.Errorf("%d of 20 are left in the end, want 12", n)
	}
}
