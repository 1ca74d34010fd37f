package session_test

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/session"
)

// limits are the defaults of the design, with a rate that a test can watch.
var limits = session.Brake{
	ServicePercent: 30, RegistryPercent: 20, MinInstances: 10, Window: time.Minute, PerSecond: 2, MaxHold: 5 * time.Minute,
}

// serviceOnly are those of a service among many: the registry as a whole is not judged.
func serviceOnly() session.Brake {
	l := limits
	l.RegistryPercent = 100
	return l
}

func braked(t testing.TB, l session.Brake, peers ...model.Incarnation) *harness {
	with := graces
	with.Brake = l
	return newHarnessWith(t, with, true, peers...)
}

// die ends connections of a crowd, from one to before another.
func (h *harness) die(from, to int) {
	for i := from; i < to; i++ {
		h.Close(h.now, "c"+strconv.Itoa(i))
	}
}

func (h *harness) living(keys []model.RecordKey) int {
	n := 0
	for _, k := range keys {
		if h.lives(k) {
			n++
		}
	}
	return n
}

// refusing answers for records whose process is gone, and accepts for all others.
func refusing(dead []model.RecordKey) func(model.RecordKey) session.PortAnswer {
	return func(k model.RecordKey) session.PortAnswer {
		if slices.Contains(dead, k) {
			return session.PortRefused
		}
		return session.PortAccepted
	}
}

// TestThirdDies is L3: a third of all publishers die in the same second. The brake says so, lets go what probes confirm
// at its rate and nothing else, and ends by itself.
func TestThirdDies(t *testing.T) {
	h := braked(t, limits, 2, 3)
	keys := h.crowd(60)
	h.pass(15 * time.Second)
	dead, alive := keys[:20], keys[20:]
	h.portOf = refusing(dead)
	h.die(0, 20)
	h.pass(time.Second)
	p := h.BrakeState(h.now)
	if !p.Active || !p.Registry || p.Services != 1 || p.Held == 0 {
		t.Fatalf("a second after a third has died: %+v", p)
	}
	before := h.living(dead)
	if before < 16 {
		t.Fatalf("%d of 20 are left after a second: the rate is 2", before)
	}
	for h.BrakeState(h.now).Active {
		h.pass(time.Second)
		left := h.living(dead)
		if h.BrakeState(h.now).Active && before-left > 3 {
			t.Errorf("%d ended within a second, the rate is 2", before-left)
		}
		if before = left; h.now.Mono > 2*time.Hour {
			t.Fatalf("it never lets go: %+v", h.BrakeState(h.now))
		}
	}
	h.pass(15 * time.Second)
	if n := h.living(dead); n != 0 {
		t.Errorf("%d ghosts when it is over", n)
	}
	if n := h.living(alive); n != len(alive) {
		t.Errorf("%d of %d survivors are there", n, len(alive))
	}
	if p := h.BrakeState(h.now); p.Held != 0 || p.Release != 0 || p.Confirmed < 6 || p.Released != 0 {
		t.Errorf("when it is over: %+v", p)
	}
}

// TestNobodyConfirms: ports that answer, or say nothing, confirm no end. What was held for long enough goes all the same,
// at the rate: a brake that never lets go keeps ghosts for ever.
func TestNobodyConfirms(t *testing.T) {
	for name, tc := range map[string]struct {
		first, now session.PortAnswer
		grace      time.Duration
	}{
		"ports answer":               {session.PortAccepted, session.PortAccepted, 40 * time.Second},
		"answered once, silent now":  {session.PortAccepted, session.PortSilent, 40 * time.Second},
		"never answered":             {session.PortSilent, session.PortSilent, 5 * time.Second},
		"refused always":             {session.PortRefused, session.PortRefused, 5 * time.Second},
		"nobody had time to ask":     {session.PortUnknown, session.PortUnknown, 40 * time.Second},
		"answered once, not told us": {session.PortAccepted, session.PortUnknown, 40 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			h := braked(t, limits, 2)
			h.ports = answers(tc.first)
			keys := h.crowd(20)
			h.pass(15 * time.Second)
			h.ports = answers(tc.now)
			h.die(0, 8)
			h.pass(tc.grace + time.Second)
			if n := h.living(keys); n != 20 {
				t.Fatalf("%d of 20 are left when their grace is over", n)
			}
			p := h.BrakeState(h.now)
			if !p.Active || p.Held != 8 || p.Release < 5*time.Minute-2*time.Second || p.Release > 5*time.Minute {
				t.Fatalf("%+v, want 8 held for 5 minutes at most", p)
			}
			h.pass(5*time.Minute - 5*time.Second)
			if n := h.living(keys); n != 20 {
				t.Fatalf("%d of 20 are left before the 5 minutes are over", n)
			}
			if p := h.BrakeState(h.now); p.Release <= 0 || p.Release > 5*time.Second {
				t.Errorf("shortly before the end it lasts %v", p.Release)
			}
			h.pass(6 * time.Second)
			if n := h.living(keys); n == 20 || n == 12 {
				t.Errorf("%d of 20 are left, want them to go one after another", n)
			}
			h.pass(5 * time.Second)
			if n := h.living(keys); n != 12 {
				t.Errorf("%d of 20 are left, want 12", n)
			}
			h.pass(time.Minute)
			if p := h.BrakeState(h.now); p.Active || p.Held != 0 || p.Released != 8 {
				t.Errorf("a minute after the last: %+v", p)
			}
		})
	}
}

// TestBelowTheShare: what may happen at once is not held back.
func TestBelowTheShare(t *testing.T) {
	for name, tc := range map[string]struct {
		limits     session.Brake
		all, die   int
		wantActive bool
	}{
		"at the share of a service":     {serviceOnly(), 20, 6, false},
		"above it":                      {serviceOnly(), 20, 7, true},
		"at the share of the registry":  {limits, 20, 4, false},
		"above that":                    {limits, 20, 5, true},
		"too few to be judged":          {limits, 9, 9, false},
		"as few as are judged":          {limits, 10, 3, true},
		"no brake":                      {session.Brake{}, 20, 20, false},
		"all of them, of those all may": {session.Brake{ServicePercent: 100, RegistryPercent: 100, MinInstances: 1, Window: time.Minute, PerSecond: 1}, 20, 20, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := braked(t, tc.limits, 2)
			keys := h.crowd(tc.all)
			h.pass(15 * time.Second)
			h.die(0, tc.die)
			h.pass(42 * time.Second)
			p := h.BrakeState(h.now)
			if p.Active != tc.wantActive {
				t.Errorf("%+v, want active %v", p, tc.wantActive)
			}
			if left := h.living(keys); tc.wantActive && left != tc.all || !tc.wantActive && left != tc.all-tc.die {
				t.Errorf("%d of %d are left after %d have died", left, tc.all, tc.die)
			}
		})
	}
}

// TestTheyComeBack: the network was away, and not they. Nobody has ended, and the brake lets go at once.
func TestTheyComeBack(t *testing.T) {
	h := braked(t, limits, 2)
	keys := h.crowd(20)
	h.pass(15 * time.Second)
	h.die(0, 10)
	h.pass(3 * time.Minute)
	if p := h.BrakeState(h.now); p.Held != 10 {
		t.Fatalf("%+v, want 10 held", p)
	}
	for i := range 10 {
		id := "again" + strconv.Itoa(i)
		h.open(id, java)
		h.publish(id, member(i))
	}
	if n := h.store.Instances(); n != 20 {
		t.Errorf("%d instances, want 20", n)
	}
	h.pass(2 * time.Second)
	if p := h.BrakeState(h.now); p.Active || p.Held != 0 {
		t.Errorf("when all are back: %+v", p)
	}
	if h.living(keys[10:]) != 10 {
		t.Error("one that was never away has ended")
	}
}

// TestRollout: clients that never deregister are replaced one after another. New ones make up for the old: nothing is
// held back, though all of the service ends within two minutes.
func TestRollout(t *testing.T) {
	h := braked(t, limits, 2)
	keys := h.crowd(20)
	h.pass(15 * time.Second)
	for i := range 20 {
		id := "new" + strconv.Itoa(i)
		h.open(id, java)
		in := member(i)
		in.Port = 81
		h.publish(id, in)
		h.die(i, i+1)
		h.pass(5 * time.Second)
		if p := h.BrakeState(h.now); p.Active {
			t.Fatalf("after %d of 20: %+v", i+1, p)
		}
	}
	h.pass(45 * time.Second)
	if n := h.living(keys); n != 0 || h.store.Instances() != 20 {
		t.Errorf("%d old ones are left, %d instances", n, h.store.Instances())
	}
}

// TestOneAfterAnother: those that have ended count for a window, and then no more.
func TestOneAfterAnother(t *testing.T) {
	h := braked(t, serviceOnly(), 2)
	keys := h.crowd(20)
	h.pass(15 * time.Second)
	h.die(0, 5)
	h.pass(42 * time.Second)
	if n := h.living(keys); n != 15 {
		t.Fatalf("%d of 20 are left, want 15", n)
	}
	h.die(5, 9) // 9 of 20 within a window
	h.pass(42 * time.Second)
	if n := h.living(keys); n != 15 || !h.BrakeState(h.now).Active {
		t.Fatalf("%d of 20 are left, want the next 4 held: %+v", n, h.BrakeState(h.now))
	}
	h.pass(20 * time.Second) // 4 of 15: below the share, but above half of it
	if n := h.living(keys); n != 15 {
		t.Fatalf("%d of 20 are left: it lets go and grips again", n)
	}
	h.pass(5 * time.Minute)
	if n := h.living(keys); n != 11 {
		t.Errorf("%d of 20 are left, want 11", n)
	}
}

// TestNeverAnOrder: whatever is held back, a publisher's own order is carried out at once.
func TestNeverAnOrder(t *testing.T) {
	l := limits
	l.KeepLast = true
	h := braked(t, l, 2)
	keys := h.crowd(20)
	beating, in := h.beats(self, instance)
	h.pass(15 * time.Second)
	h.Beat(h.now, beating, self)
	h.die(0, 10)
	h.pass(42 * time.Second)
	if p := h.BrakeState(h.now); p.Held < 10 {
		t.Fatalf("%+v, want 10 held at least", p)
	}
	for i := 10; i < 20; i++ {
		if err := h.Withdraw(h.now, "c"+strconv.Itoa(i), orders); err != nil {
			t.Fatal(err)
		}
	}
	h.Deregister(h.now, orders, in.Key())
	if h.living(keys[10:]) != 0 || h.lives(beating) {
		t.Error("an order was held back")
	}
}

// TestKeepLast: the last ones of a service are held back, however few they are, unless a probe confirms it; others are
// not.
func TestKeepLast(t *testing.T) {
	for name, tc := range map[string]struct {
		keep     bool
		all, die int
		now      session.PortAnswer
		want     time.Duration
	}{
		"the only one":             {keep: true, all: 1, die: 1, now: session.PortAccepted, want: 40*time.Second + 5*time.Minute},
		"the only one, refused":    {keep: true, all: 1, die: 1, now: session.PortRefused, want: 0},
		"all three":                {keep: true, all: 3, die: 3, now: session.PortAccepted, want: 40*time.Second + 5*time.Minute},
		"two of three":             {keep: true, all: 3, die: 2, now: session.PortAccepted, want: 40 * time.Second},
		"the only one, not wanted": {keep: false, all: 1, die: 1, now: session.PortAccepted, want: 40 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			l := limits
			l.KeepLast = tc.keep
			h := braked(t, l, 2)
			keys := h.crowd(tc.all)
			h.pass(15 * time.Second)
			h.ports = answers(tc.now)
			h.die(0, tc.die)
			for i := range tc.die {
				if i > 0 { // they go together
					if h.lives(keys[i]) {
						t.Errorf("one of %d outlives the first", tc.die)
					}
					continue
				}
				if got := h.lasts(keys[0], forever); got < tc.want || got > tc.want+slack {
					t.Errorf("ended after %v, want %v", got, tc.want)
				}
			}
		})
	}
}

// TestConfirmedAreExpectedNoMore: what a probe confirms shrinks the whole at once, so that the brake is off before a
// window is over.
func TestConfirmedAreExpectedNoMore(t *testing.T) {
	h := braked(t, serviceOnly(), 2)
	keys := h.crowd(40)
	h.pass(15 * time.Second)
	h.portOf = refusing(keys[:14])
	h.die(0, 14)
	h.pass(time.Second)
	if p := h.BrakeState(h.now); !p.Active {
		t.Fatalf("14 of 40 have died: %+v", p)
	}
	h.pass(9 * time.Second)
	if n, p := h.living(keys), h.BrakeState(h.now); n != 26 || p.Active {
		t.Errorf("10 s later %d are left, %+v", n, p)
	}
}

// TestGrownMeanwhile: a service is judged by what it has become, also when something was going on in it all the time.
func TestGrownMeanwhile(t *testing.T) {
	h := braked(t, limits, 2)
	keys := h.crowd(12)
	h.pass(15 * time.Second)
	h.die(0, 1)
	h.pass(10 * time.Second)
	for i := 12; i < 40; i++ {
		id := "c" + strconv.Itoa(i)
		h.open(id, java)
		keys = append(keys, h.publish(id, member(i)))
	}
	h.pass(20 * time.Second)
	h.die(1, 20)
	h.pass(42 * time.Second)
	if n, p := h.living(keys), h.BrakeState(h.now); !p.Active || n < 39 {
		t.Errorf("%d are left after 20 of 40 have died, %+v", n, p)
	}
}

// TestSmallerByOrder: a publisher that takes back most of what it had in one record has lost nothing.
func TestSmallerByOrder(t *testing.T) {
	h := braked(t, limits, 2)
	keys := h.crowd(19)
	h.open("batch", java)
	var many []model.Instance
	for i := range 20 {
		many = append(many, member(100+i))
	}
	h.publish("batch", many...)
	h.pass(15 * time.Second)
	h.die(0, 1)
	h.pass(5 * time.Second) // something is going on
	h.publish("batch", many[0])
	h.die(1, 3)
	h.pass(42 * time.Second)
	if n, p := h.living(keys), h.BrakeState(h.now); n != 16 || p.Active {
		t.Errorf("%d of 19 are left after 3 have died, %+v", n, p)
	}
}

// TestDoubtsArePruned: what is not in the catalog any more is in doubt no more, though nobody noted that it went.
func TestDoubtsArePruned(t *testing.T) {
	h := braked(t, limits, 2)
	keys := h.crowd(20)
	for i := range 8 {
		r := h.foreign(2, "c"+strconv.Itoa(i), java, member(50+i)).WithUnclaimed(model.CausePublisher, h.now.Mono)
		h.receiveRecord(2, r)
		h.store.Update(h.now, r.Key, func(cur *model.Record) *model.Record { return cur.Tombstone(cur.Version) })
	}
	h.pass(70 * time.Second)
	h.die(0, 1)
	h.pass(42 * time.Second)
	if p := h.BrakeState(h.now); p.Active || h.lives(keys[0]) {
		t.Errorf("one of 20 has died, and is held: %+v", p)
	}
}
