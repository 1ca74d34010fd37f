package session_test

import (
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
	"github.com/muster-registry/muster/registry/session"
)

// TestBeatsStop is the line of the table for publishers that beat.
func TestBeatsStop(t *testing.T) {
	for name, tc := range map[string]struct {
		first, now session.PortAnswer
		metadata   map[string]string
		unhealthy  time.Duration
		removed    time.Duration
	}{
		"port answers":   {first: session.PortAccepted, now: session.PortAccepted, unhealthy: 15 * time.Second, removed: 30 * time.Second},
		"never answered": {first: session.PortSilent, now: session.PortSilent, unhealthy: 15 * time.Second, removed: 30 * time.Second},
		"always refused": {first: session.PortRefused, now: session.PortRefused, unhealthy: 15 * time.Second, removed: 30 * time.Second},
		"refuted":        {first: session.PortAccepted, now: session.PortRefused, unhealthy: 15 * time.Second, removed: 16 * time.Second},
		"its own timeouts": {
			first: session.PortAccepted, now: session.PortAccepted, unhealthy: 20 * time.Second, removed: 60 * time.Second,
			metadata: map[string]string{model.MetaBeatTimeout: "20000", model.MetaDeleteAfter: "60000"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, true, 2, 3)
			h.ports = answers(tc.first)
			in := instance
			in.Metadata = model.MetadataOf(tc.metadata)
			key, _ := h.beats(self, in)
			for range 4 {
				h.pass(5 * time.Second)
				if h.Beat(h.now, key, 2) == nil {
					t.Fatal("a beat of one who is registered is unknown")
				}
			}
			h.ports = answers(tc.now)
			start := h.now.Mono
			for h.lives(key) && h.store.Record(key).Instances[0].Healthy {
				h.pass(250 * time.Millisecond)
			}
			if got := h.now.Mono - start; got < tc.unhealthy || got > tc.unhealthy+slack {
				t.Errorf("unhealthy after %v, want %v", got, tc.unhealthy)
			}
			h.lasts(key, forever)
			if got := h.now.Mono - start; got < tc.removed || got > tc.removed+slack {
				t.Errorf("removed after %v, want %v", got, tc.removed)
			}
			if h.Beat(h.now, key, self) != nil {
				t.Error("a beat of one who was removed is known: it would never register again")
			}
		})
	}
}

// TestBeatsReturn: a beat makes an unhealthy instance healthy, in a new version that others hear of.
func TestBeatsReturn(t *testing.T) {
	h := newHarness(t, true, 2)
	key, _ := h.beats(self, instance)
	h.pass(20 * time.Second)
	if h.store.Record(key).Instances[0].Healthy {
		t.Fatal("healthy after 20 s of silence")
	}
	before := h.store.Record(key).Version
	h.Beat(h.now, key, self)
	if r := h.store.Record(key); !r.Instances[0].Healthy || r.Version.Compare(before) <= 0 {
		t.Errorf("after a beat: %+v", r)
	}
	after := h.store.Record(key).Version
	for range 20 {
		h.pass(5 * time.Second)
		h.Beat(h.now, key, self)
	}
	if v := h.store.Record(key).Version; v != after {
		t.Error("a beat that changes nothing is stamped")
	}
}

// TestSilenceIsOurs: beats that may have gone where they cannot be heard from say nothing of their publisher (P2, P3).
func TestSilenceIsOurs(t *testing.T) {
	for name, fault := range map[string]func(h *harness, key model.RecordKey){
		"the taker cannot be reached": func(h *harness, _ model.RecordKey) { h.mute[2] = true },
		"the taker is gone":           func(h *harness, _ model.RecordKey) { h.leave(2) },
		"another cannot be reached":   func(h *harness, _ model.RecordKey) { h.mute[3] = true },
		"responsibility moved": func(h *harness, key model.RecordKey) {
			for i := model.Incarnation(10); ; i++ {
				h.members = append(h.members, model.Member{Incarnation: i, State: model.StateComplete})
				h.engine.PeerUp(h.now, i)
				h.view()
				if to, _ := h.Responsible(key); to != self {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, true, 2, 3)
			key, _ := h.beats(self, instance)
			h.pass(12 * time.Second)
			h.Beat(h.now, key, 2)
			fault(h, key)
			h.pass(60 * time.Second)
			r := h.store.Record(key)
			if r.Deleted || r.Unclaimed != model.CauseOurs || !r.Instances[0].Healthy {
				t.Errorf("after a minute: deleted %v, cause %d, instances %+v", r.Deleted, r.Unclaimed, r.Instances)
			}
			h.Beat(h.now, key, self)
			if r := h.store.Record(key); r.Unclaimed != model.Vouched || r.Version.Origin != self {
				t.Errorf("after a beat: cause %d, origin %v", r.Unclaimed, r.Version.Origin)
			}
		})
	}
}

// TestRegistrationIsHeld: the member that takes a registration vouches for it until the responsible one has its own
// version.
func TestRegistrationIsHeld(t *testing.T) {
	h := newHarness(t, true, 2, 3)
	key, in := h.beats(2, instance)
	if c := h.Counts(); c.Beats != 1 {
		t.Fatalf("vouches for %d registrations, want 1", c.Beats)
	}
	confirmed := h.store.Record(key).Restamped(h.store.Record(key).Version.Stamp+1, 2)
	h.receiveRecord(2, confirmed)
	if c := h.Counts(); c.Beats != 0 {
		t.Error("still vouches after the responsible member has confirmed: the two would stamp against each other")
	}
	h.pass(2 * time.Minute)
	if r := h.store.Record(key); r != confirmed {
		t.Errorf("another member's record was changed: %+v", r)
	}
	h.Register(h.now, orders, in, model.Client{})
	if r := h.store.Record(key); r != confirmed {
		t.Error("an identical registration again is a change")
	}
	in.Weight = 7
	h.Register(h.now, orders, in, model.Client{})
	if r := h.store.Record(key); r.Version.Origin != self || r.Instances[0].Weight != 7 {
		t.Errorf("a changed registration: %+v", r)
	}
}

// TestRegisteredAgainAfterACut: what the publisher says once more, unchanged, is newer than what it may have said elsewhere while
// this member heard nothing, though this member vouches for it all the time.
func TestRegisteredAgainAfterACut(t *testing.T) {
	for name, meanwhile := range map[string]func(*harness){
		"a peer was out of reach": func(h *harness) {
			h.mute[2] = true
			h.pass(4 * time.Second)
			h.mute[2] = false
		},
		"the source was out of reach": func(h *harness) {
			h.SetDoubt(true)
			h.pass(time.Second)
			h.SetDoubt(false)
		},
		"the member slept": func(h *harness) {
			h.react(h.Paused(h.now, 10*time.Second))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, true, 2, 3)
			key, in := h.beats(self, instance)
			before := h.store.Record(key)
			meanwhile(h)
			h.pass(time.Second)
			h.Register(h.now, orders, in, model.Client{IP: in.IP})
			again := h.store.Record(key)
			h.receiveRecord(3, before.Tombstone(model.Version{Said: before.Version.Said + 1, Stamp: before.Version.Said + 1, Origin: 3}))
			if again.Version.Said <= before.Version.Said || h.store.Record(key) != again {
				t.Errorf("said at %v, again at %v, and now it is %+v", before.Version.Said, again.Version.Said, h.store.Record(key))
			}
			h.Register(h.now, orders, in, model.Client{IP: in.IP})
			if h.store.Record(key) != again {
				t.Error("a third time is a change")
			}
		})
	}
}

// TestBeatingIsRescued: a record of a publisher that beats here comes back, whoever marked it or removed what it saw;
// an order of a live origin does end our vouching.
func TestBeatingIsRescued(t *testing.T) {
	for name, tc := range map[string]struct {
		sent func(r *model.Record) *model.Record
		want bool
	}{
		"marked by somebody":     {func(r *model.Record) *model.Record { return r.WithUnclaimed(model.CauseOurs, 0) }, true},
		"removed as it was seen": {func(r *model.Record) *model.Record { return r.Tombstone(r.Version) }, true},
		"deregistered at a live member": {func(r *model.Record) *model.Record {
			return r.Tombstone(model.Version{Stamp: r.Version.Stamp + 5, Origin: 2})
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, true, 2, 3)
			key, _ := h.beats(self, instance)
			h.pass(2 * time.Second)
			h.Beat(h.now, key, self)
			before := h.store.Record(key)
			h.receiveRecord(2, tc.sent(before))
			r := h.store.Record(key)
			if tc.want != (!r.Deleted && r.Unclaimed == model.Vouched && r.Version.Compare(before.Version) > 0) {
				t.Errorf("rescued: want %v, have %+v", tc.want, r)
			}
		})
	}
}

// TestMarkedDuringAPause: a publisher that had beaten here up to a pause fell silent in it. The others say so, and who wakes does not
// know better before the next beat (R4).
func TestMarkedDuringAPause(t *testing.T) {
	slept := func(h *harness) {
		h.now.Mono += 40 * time.Second
		h.react(h.Paused(h.now, 40*time.Second))
	}
	takenForGone := func(h *harness) { // its clock stood still, too
		h.members[0].Incarnation = 77
		h.view()
	}
	marked := func(h *harness, r *model.Record) *model.Record { return r.WithUnclaimed(model.CauseOurs, h.now.Mono) }
	for name, tc := range map[string]struct {
		pause func(h *harness)
		beats bool // once more, after the pause
		sent  func(h *harness, r *model.Record) *model.Record
	}{
		"it fell silent elsewhere": {slept, false, func(h *harness, r *model.Record) *model.Record {
			return r.Restamped(r.Version.Stamp+1, 2).WithUnclaimed(model.CausePublisher, h.now.Mono)
		}},
		"nobody vouched for it":                      {slept, false, marked},
		"nobody vouched for it, and the clock stood": {takenForGone, false, marked},
		"it was removed":                             {slept, false, func(_ *harness, r *model.Record) *model.Record { return r.Tombstone(r.Version) }},
		"it beats again":                             {slept, true, marked},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, true, 2, 3)
			key, _ := h.beats(self, instance)
			h.pass(2 * time.Second)
			h.Beat(h.now, key, self)
			tc.pause(h)
			if tc.beats {
				h.pass(time.Second)
				h.Beat(h.now, key, self)
			}
			h.receiveRecord(2, tc.sent(h, h.store.Record(key)))
			if r := h.store.Record(key); tc.beats != (!r.Deleted && r.Unclaimed == model.Vouched) {
				t.Errorf("beats: %v, and after a word of the others it is %+v", tc.beats, r)
			}
		})
	}
}

// TestClockRanBehind: a registration taken behind a cut, on a clock that others have left behind, is newer than an order or
// a registration from before it though their stamps are higher (P8). One from after it counts.
func TestClockRanBehind(t *testing.T) {
	const ahead = time.Minute
	later := func(s model.Stamp, d time.Duration) model.Stamp { return s.Later(d.Milliseconds()) }
	for name, tc := range map[string]struct {
		ordered time.Duration // after the registration
		live    bool          // it is no order, but a registration
		stands  bool
	}{
		"deregistered before":                     {ordered: -10 * time.Second, stands: true},
		"deregistered after":                      {ordered: 2 * time.Second},
		"registered before, with something else":  {ordered: -10 * time.Second, live: true, stands: true},
		"registered after, with something else":   {ordered: 2 * time.Second, live: true},
		"deregistered before, as all clocks know": {ordered: -10*time.Second - ahead, stands: true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, true, 2, 3)
			key, in := h.beats(self, instance)
			mine := h.store.Record(key)
			h.pass(5 * time.Second)
			said := later(mine.Version.Said, ahead+tc.ordered)
			other := mine.Tombstone(model.Version{Said: said, Stamp: said, Origin: 2})
			if tc.live {
				changed := *mine
				changed.Version, changed.Instances = other.Version, []model.Instance{in}
				changed.Instances[0].Weight = 7
				other = &changed
			}
			h.receive(2, replication.Message{
				Kind: replication.KindDelta, Stamp: later(mine.Version.Said, ahead+5*time.Second), Entries: []replication.Entry{{Record: other}},
			})
			r := h.store.Record(key)
			if stands := r.SameContent(mine.Instances); stands != tc.stands {
				t.Errorf("the registration stands: want %v, have %+v", tc.stands, r)
			}
			if tc.stands && (r.Version.Origin != self || r.Version.Compare(other.Version) <= 0 || r.Version.Said > later(mine.Version.Said, ahead)) {
				t.Errorf("its version is %+v, after %+v", r.Version, other.Version)
			}
			h.Beat(h.now, key, self)
			if again := h.store.Record(key); tc.stands && again != r {
				t.Errorf("a beat changes it again: %+v", again)
			}
		})
	}
}

// TestOrderOnAClockThatRanAhead: where an order on such a clock ends what another member vouches for, all who hold it keep it in that
// one's name, as one version, as long as it can say no.
func TestOrderOnAClockThatRanAhead(t *testing.T) {
	const ahead = time.Hour
	for name, tc := range map[string]struct {
		ordered time.Duration // after the registration
		by      model.Incarnation
		marked  bool           // nobody vouches for it
		then    func(*harness) // what happens between
		stands  bool
	}{
		"before, elsewhere":          {ordered: -10 * time.Second, by: 3, stands: true},
		"after, elsewhere":           {ordered: 2 * time.Second, by: 3},
		"by the one that vouches":    {ordered: -10 * time.Second, by: 2},
		"that one cannot be reached": {ordered: -10 * time.Second, by: 3, then: func(h *harness) { h.engine.PeerDown(2) }},
		"that one is gone":           {ordered: -10 * time.Second, by: 3, then: func(h *harness) { h.leave(2) }},
		"nobody vouches for it":      {ordered: -10 * time.Second, by: 3, marked: true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, true, 2, 3)
			said := model.Stamp(h.now.Wall << 16)
			key := model.RecordKey{Publisher: session.BeatPublisher("10.0.0.9", 8080), Service: orders}
			r := &model.Record{Key: key, Version: model.Version{Said: said, Stamp: said, Origin: 2}, Instances: []model.Instance{instance}}
			if tc.marked {
				r = r.WithUnclaimed(model.CauseOurs, time.Hour)
			}
			h.receiveRecord(2, r)
			h.pass(5 * time.Second)
			if tc.then != nil {
				tc.then(h)
			}
			if !h.lives(key) {
				t.Fatal("it is not there")
			}
			ordered := said.Later((ahead + tc.ordered).Milliseconds())
			h.receive(3, replication.Message{
				Kind: replication.KindDelta, Stamp: said.Later((ahead + 5*time.Second).Milliseconds()),
				Entries: []replication.Entry{{Record: r.Tombstone(model.Version{Said: ordered, Stamp: ordered, Origin: tc.by})}},
			})
			got := h.store.Record(key)
			if got.Deleted == tc.stands {
				t.Fatalf("the registration stands: want %v, have %+v", tc.stands, got)
			}
			if want := (model.Version{Said: ordered + 1, Stamp: ordered + 1, Origin: 2}); tc.stands && got.Version != want {
				t.Errorf("its version is %+v, want %+v", got.Version, want)
			}
		})
	}
}

// TestKeptInOurName: what others keep in our name, and we have ended, we deny.
func TestKeptInOurName(t *testing.T) {
	h := newHarness(t, true, 2, 3)
	key, _ := h.beats(self, instance)
	mine := h.store.Record(key)
	h.DeregisterPublisher(h.now, key)
	kept := *mine
	kept.Version.Said = h.store.Record(key).Version.Said + 1
	kept.Version.Stamp = kept.Version.Said
	h.receiveRecord(2, &kept)
	if r := h.store.Record(key); !r.Deleted || r.Version != kept.Version {
		t.Errorf("not denied: %+v", r)
	}
}

// TestVouchedForOnAnotherClock: who vouches for what was said here says nothing else, however far its clock is ahead.
func TestVouchedForOnAnotherClock(t *testing.T) {
	h := newHarness(t, true, 2, 3)
	key, _ := h.beats(self, instance)
	mine := h.store.Record(key)
	stamp := mine.Version.Stamp.Later(time.Minute.Milliseconds())
	h.receive(2, replication.Message{
		Kind: replication.KindDelta, Stamp: stamp, Entries: []replication.Entry{{Record: mine.Restamped(stamp, 2)}},
	})
	if r := h.store.Record(key); r.Version.Origin != 2 {
		t.Errorf("it is said again: %+v", r)
	}
}

// TestStampedByAnotherOrigin: two members that vouch for one publisher never answer a stamp with a stamp, also where
// neither is in the other's view yet (P14). The next beat decides.
func TestStampedByAnotherOrigin(t *testing.T) {
	for name, tc := range map[string]struct {
		origin model.Incarnation
		atOnce bool
	}{
		"a member":                  {2, false},
		"one that is in no view":    {9, false},
		"one that marks it as well": {2, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, true, 2, 3)
			key, _ := h.beats(self, instance)
			before := h.store.Record(key)
			other := before.Restamped(before.Version.Stamp+1, tc.origin)
			if tc.atOnce {
				other = other.WithUnclaimed(model.CauseOurs, 0)
			}
			h.receive(2, replication.Message{
				Kind: replication.KindDelta, Stamp: other.Version.Stamp, Entries: []replication.Entry{{Record: other}},
			})
			if r := h.store.Record(key); tc.atOnce != (r.Version.Origin == self) {
				t.Errorf("stamped again at once: want %v, have %+v", tc.atOnce, r)
			}
			h.Beat(h.now, key, self)
			if r := h.store.Record(key); r.Version.Origin != self || r.Unclaimed != model.Vouched {
				t.Errorf("a beat does not stamp it: %+v", r)
			}
		})
	}
}

// TestBeatsElsewhere: whoever beats at a member that is not in our view yet has not fallen silent, though it beats here no
// more.
func TestBeatsElsewhere(t *testing.T) {
	h := newHarness(t, true, 2, 3)
	key, _ := h.beats(self, instance)
	h.receiveRecord(2, h.store.Record(key).Restamped(h.store.Record(key).Version.Stamp+1, 9))
	h.pass(9 * time.Second)
	h.join(9)
	h.pass(time.Minute)
	if r := h.store.Record(key); r.Deleted || !r.Instances[0].Healthy || r.Version.Origin != 9 {
		t.Errorf("who beats at a newcomer is %+v", r)
	}
}

// TestDeregister is the publisher's own order: it kills what was registered before, wherever.
func TestDeregister(t *testing.T) {
	h := newHarness(t, true, 2)
	key, in := h.beats(self, instance)
	before := h.store.Record(key).Version
	h.Deregister(h.now, orders, in.Key())
	h.Deregister(h.now, orders, model.InstanceKey{IP: "10.9.9.9", Port: 1}) // unknown is no error
	if r := h.store.Record(key); !r.Deleted || r.Version.Compare(before) <= 0 {
		t.Errorf("after a deregistration: %+v", r)
	}
	h.pull()
	if len(h.told(2, replication.KindDelta)) == 0 {
		t.Error("nobody was told")
	}
}

// TestPause: all silence during a pause of the process was ours.
func TestPause(t *testing.T) {
	h := newHarness(t, true, 2, 3)
	key, _ := h.beats(self, instance)
	h.open("c", java)
	conn := h.publish("c", instance)
	h.pass(12 * time.Second)
	h.Beat(h.now, key, self)

	h.now.Mono += 40 * time.Second
	h.signals = nil
	h.react(h.Paused(h.now, 40*time.Second))
	h.pass(250 * time.Millisecond)
	if r := h.store.Record(key); r.Deleted || !r.Instances[0].Healthy {
		t.Errorf("who has beaten up to a pause is %+v after it", r)
	}
	if len(h.signals) == 0 || h.signals[0].Kind != session.SignalDetect {
		t.Error("connections are not asked for a sign of life after a pause")
	}
	// connections that are found closed were closed while nobody looked
	h.Close(h.now, "c")
	if r := h.store.Record(conn); r.Unclaimed != model.CauseOurs {
		t.Errorf("closed during a pause: cause %d, want ours", r.Unclaimed)
	}
	h.pass(34 * time.Second)
	if r := h.store.Record(key); r.Deleted || !r.Instances[0].Healthy || r.Unclaimed != model.Vouched {
		t.Error("unhealthy, though who lives may take 35 s to come back")
	}
	h.pass(2 * time.Second)
	if h.lives(key) {
		t.Error("who has been silent since the pause is listed for as long as that was")
	}
}
