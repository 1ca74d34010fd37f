package session_test

import (
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/session"
)

// strain passes time in which what comes in waits, and 10 s in which that still shows.
func (h *harness) strain(d time.Duration) {
	for end := h.now.Mono + d; h.now.Mono < end; {
		h.Strained(h.now, h.now.Mono+10*time.Second)
		h.pass(time.Second)
	}
}

// TestStrained: what is not heard while what comes in waits is nobody's silence (R4).
func TestStrained(t *testing.T) {
	t.Run("beats", func(t *testing.T) {
		h := newHarness(t, true, 2)
		key, _ := h.beats(self, instance)
		h.ports = answers(session.PortRefused)
		h.strain(time.Minute)
		h.pass(8 * time.Second)
		if r := h.store.Record(key); r.Deleted || !r.Instances[0].Healthy || r.Unclaimed != model.Vouched {
			t.Fatalf("a publisher that was not heard: %+v", r)
		}
		h.Beat(h.now, key, self)
		if got := h.lasts(key, forever); got < 15*time.Second || got > 31*time.Second {
			t.Errorf("it ended %v after the last beat that was heard, want 15 to 30 s", got)
		}
	})
	t.Run("a connection that is asked", func(t *testing.T) {
		h := newHarness(t, true, 2)
		h.open("c", java)
		key := h.publish("c", instance)
		h.deaf["c"] = true
		h.strain(time.Minute)
		h.pass(8 * time.Second)
		if !h.lives(key) || !h.Naming("c") {
			t.Error("it was closed while its answer may have waited")
		}
		h.pass(10 * time.Second)
		if h.Naming("c") {
			t.Error("it is still here when answers are read in time again")
		}
	})
	t.Run("a connection that ends", func(t *testing.T) {
		h := newHarness(t, true, 2)
		h.open("c", java)
		key := h.publish("c", instance)
		h.pass(15 * time.Second)
		h.strain(20 * time.Second)
		h.Close(h.now, "c")
		if r := h.store.Record(key); r.Unclaimed != model.CauseOurs {
			t.Errorf("its client may have waited in vain: unclaimed %v, want ours", r.Unclaimed)
		}
	})
	t.Run("what is held back", func(t *testing.T) {
		limits := graces
		limits.Brake = session.Brake{ServicePercent: 30, RegistryPercent: 20, MinInstances: 1, Window: time.Minute, PerSecond: 50, MaxHold: 5 * time.Minute}
		h := newHarnessWith(t, limits, true, 2)
		key, _ := h.beats(self, instance)
		h.ports = answers(session.PortSilent)
		h.pass(time.Minute)
		if !h.lives(key) {
			t.Fatal("the brake has not held it back")
		}
		h.strain(6 * time.Minute)
		h.pass(30 * time.Second)
		if !h.lives(key) {
			t.Error("a time in which nobody was heard counts as time of being held back")
		}
	})
}

// TestPeerIsStrained: publishers may have told a member what it has not read yet.
func TestPeerIsStrained(t *testing.T) {
	h := newHarness(t, true, 2, 3)
	h.open("c", java)
	moved := h.publish("c", instance)
	beating, _ := h.beats(self, model.Instance{IP: "10.0.0.9", Port: 80, Cluster: "DEFAULT", Weight: 1, Healthy: true, Enabled: true})
	h.pass(15 * time.Second)
	h.Beat(h.now, beating, self)
	h.strained[3] = true
	h.pass(2 * time.Second)
	h.Close(h.now, "c")
	h.pass(time.Minute)
	for _, key := range []model.RecordKey{moved, beating} {
		if r := h.store.Record(key); r.Deleted || r.Unclaimed != model.CauseOurs {
			t.Errorf("%s: deleted %v, unclaimed %v, want ours", key.Publisher.ID, r.Deleted, r.Unclaimed)
		}
	}
}
