package session_test

import (
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/session"
)

// TestBrakeHolds: whoever dies, comes back, deregisters or is replaced, in any order: no more than the share ends within
// a window unless a probe confirms it or its time is over; those that live stay; and in the end all that are dead are
// gone and the brake is off.
func TestBrakeHolds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := braked(t, limits, 2)
		w := &crowdWorld{harness: h, dead: map[model.RecordKey]death{}, alive: map[int]bool{}}
		h.portOf = w.port
		n := rapid.IntRange(5, 30).Draw(rt, "crowd")
		w.keys = h.crowd(n)
		for i := range n {
			w.alive[i] = true
		}
		w.pass(rt, 15*time.Second)
		for range rapid.IntRange(1, 12).Draw(rt, "events") {
			w.happen(rt)
			w.pass(rt, time.Duration(rapid.IntRange(0, 60).Draw(rt, "seconds"))*time.Second)
		}
		w.pass(rt, 40*time.Second+limits.MaxHold+limits.Window+20*time.Second)
		for k := range w.dead {
			if h.lives(k) {
				rt.Errorf("a ghost stays: %v", k)
			}
		}
		if p := h.BrakeState(h.now); p.Active || p.Held != 0 {
			rt.Errorf("the brake is on when nothing is going on: %+v", p)
		}
	})
}

// crowdWorld is a crowd of which some die.
type crowdWorld struct {
	*harness
	keys  []model.RecordKey
	alive map[int]bool
	dead  map[model.RecordKey]death
	ends  []end
}

type death struct {
	at      time.Duration
	refuses bool
	over    bool
}

// end is one that no probe confirmed and whose time was not over.
type end struct {
	at    time.Duration
	whole int // instances just before
}

func (w *crowdWorld) port(k model.RecordKey) session.PortAnswer {
	if d, dead := w.dead[k]; dead && d.refuses {
		return session.PortRefused
	}
	return session.PortAccepted
}

func (w *crowdWorld) happen(t *rapid.T) {
	for i := range w.keys {
		if !w.alive[i] || !rapid.Bool().Draw(t, "hit") {
			continue
		}
		switch rapid.IntRange(0, 3).Draw(t, "what") {
		case 0, 1:
			delete(w.alive, i)
			w.dead[w.keys[i]] = death{at: w.now.Mono, refuses: rapid.Bool().Draw(t, "refuses")}
			w.Close(w.now, "c"+strconv.Itoa(i))
		case 2: // reconnects
			w.Close(w.now, "c"+strconv.Itoa(i))
			w.open("c"+strconv.Itoa(i)+"'", java)
			w.publish("c"+strconv.Itoa(i)+"'", member(i))
			delete(w.alive, i)
		default:
			delete(w.alive, i)
			if err := w.Withdraw(w.now, "c"+strconv.Itoa(i), orders); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (w *crowdWorld) pass(t *rapid.T, d time.Duration) {
	for until := w.now.Mono + d; w.now.Mono < until; {
		before := w.store.Instances()
		w.harness.pass(250 * time.Millisecond)
		w.look(t, before)
	}
}

// look judges what has ended since the last one.
func (w *crowdWorld) look(t *rapid.T, before int) {
	for i, k := range w.keys {
		if w.alive[i] && !w.lives(k) {
			t.Fatalf("%v has ended, and lives", k)
		}
	}
	for k, d := range w.dead {
		if d.over || w.lives(k) {
			continue
		}
		d.over = true
		w.dead[k] = d
		if !d.refuses && w.now.Mono-d.at < 40*time.Second+limits.MaxHold {
			w.ends = append(w.ends, end{w.now.Mono, before})
		}
	}
	within, whole := 0, 0
	for _, e := range w.ends {
		if w.now.Mono-e.at < limits.Window {
			within, whole = within+1, max(whole, e.whole)
		}
	}
	if whole >= 2*limits.MinInstances && 100*within > limits.RegistryPercent*whole+100 {
		t.Fatalf("%d of %d ended within a window, unconfirmed", within, whole)
	}
}
