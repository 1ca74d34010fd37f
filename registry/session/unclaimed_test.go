package session_test

import (
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/session"
)

// forever is longer than any grace.
const forever = 20 * time.Minute

// slack is what ticks, rechecks and probes may add.
const slack = 1500 * time.Millisecond

func answers(a session.PortAnswer) func() session.PortAnswer {
	return func() session.PortAnswer { return a }
}

// TestLostConnection is the table of the design for publishers with a connection, cell by cell.
func TestLostConnection(t *testing.T) {
	for name, tc := range map[string]struct {
		first  session.PortAnswer // what the port answers in its first minute
		now    session.PortAnswer // and after the loss
		agent  string
		ours   bool
		cut    bool // a member cannot be reached
		noAsk  bool // probing is off
		want   time.Duration
		forced bool // it stays until the heal, and this long after it
	}{
		"publisher's, port answers":                       {first: session.PortAccepted, now: session.PortAccepted, agent: java, want: 40 * time.Second},
		"publisher's, port answers, Python":               {first: session.PortAccepted, now: session.PortAccepted, agent: python, want: 40 * time.Second},
		"publisher's, never answered":                     {first: session.PortSilent, now: session.PortSilent, agent: java, want: 5 * time.Second},
		"publisher's, never answered, Python":             {first: session.PortSilent, now: session.PortSilent, agent: python, want: 35 * time.Second},
		"publisher's, always refused":                     {first: session.PortRefused, now: session.PortRefused, agent: java, want: 5 * time.Second},
		"publisher's, refuted":                            {first: session.PortAccepted, now: session.PortRefused, agent: java, want: 0},
		"publisher's, refuted, Python":                    {first: session.PortAccepted, now: session.PortRefused, agent: python, want: 0},
		"publisher's, answered once, silent now":          {first: session.PortAccepted, now: session.PortSilent, agent: java, want: 40 * time.Second},
		"publisher's, nobody may ask":                     {noAsk: true, agent: java, want: 40 * time.Second},
		"ours, port answers":                              {first: session.PortAccepted, now: session.PortAccepted, agent: java, ours: true, want: 5 * time.Minute},
		"ours, never answered":                            {first: session.PortSilent, now: session.PortSilent, agent: java, ours: true, want: 5 * time.Minute},
		"ours, refuted":                                   {first: session.PortAccepted, now: session.PortRefused, agent: java, ours: true, want: 45 * time.Second},
		"ours, answered once, silent now":                 {first: session.PortAccepted, now: session.PortSilent, agent: java, ours: true, want: 5 * time.Minute},
		"publisher's, a member unreachable":               {first: session.PortAccepted, now: session.PortAccepted, agent: java, cut: true, forced: true, want: 5 * time.Minute},
		"ours, a member unreachable":                      {first: session.PortAccepted, now: session.PortAccepted, agent: java, ours: true, cut: true, forced: true, want: 5 * time.Minute},
		"ours, a member unreachable, never":               {first: session.PortSilent, now: session.PortSilent, agent: java, ours: true, cut: true, forced: true, want: 5 * time.Minute},
		"ours, a member unreachable, refuted":             {first: session.PortAccepted, now: session.PortRefused, agent: java, ours: true, cut: true, want: 45 * time.Second},
		"publisher's, a member unreachable, port refuted": {first: session.PortAccepted, now: session.PortRefused, agent: java, cut: true, want: 45 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, !tc.noAsk, 2, 3)
			h.ports = answers(tc.first)
			h.open("c", tc.agent)
			key := h.publish("c", instance)
			h.pass(15 * time.Second)
			h.mute[3] = tc.cut
			h.pass(4 * time.Second)
			h.ports = answers(tc.now)
			if tc.ours {
				h.CloseOurselves()
			}
			h.Close(h.now, "c")
			if tc.forced {
				if got := h.lasts(key, forever); got != forever {
					t.Fatalf("removed after %v, while a member cannot be reached", got)
				}
				h.mute[3] = false
			}
			if got := h.lasts(key, forever); got < tc.want || got > tc.want+slack {
				t.Errorf("removed after %v, want %v", got, tc.want)
			}
			if tomb := h.store.Record(key); tomb == nil || tomb.Version.Origin != self {
				t.Errorf("left behind: %+v", tomb)
			}
		})
	}
}

// TestCutThatNobodyHasNoticed: a member falls silent a moment before the time of a record is over. It may have had word of the
// publisher, and the record stays as long as for any cut.
func TestCutThatNobodyHasNoticed(t *testing.T) {
	for name, tc := range map[string]struct {
		port  session.PortAnswer
		grace time.Duration
	}{
		"port answers":   {session.PortAccepted, 40 * time.Second},
		"never answered": {session.PortSilent, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, true, 2, 3)
			h.ports = answers(tc.port)
			h.open("c", java)
			key := h.publish("c", instance)
			h.pass(15 * time.Second)
			h.Close(h.now, "c")
			h.pass(tc.grace - 500*time.Millisecond)
			h.mute[3] = true
			if got := h.lasts(key, 10*time.Minute); got < 10*time.Minute {
				t.Fatalf("removed after %v", got)
			}
			h.mute[3] = false
			if got := h.lasts(key, forever); got < 5*time.Minute || got > 5*time.Minute+slack {
				t.Errorf("removed %v after the heal", got)
			}
		})
	}
}

// TestProbedOnce: every record is asked once, about 10 s after it came, so that one knows what its port answers at all.
func TestProbedOnce(t *testing.T) {
	h := newHarness(t, true, 2)
	h.open("c", java)
	key := h.publish("c", instance)
	h.pass(9 * time.Second)
	if h.probed != 0 || h.store.Record(key).Answered {
		t.Errorf("asked %d times in the first 9 s", h.probed)
	}
	h.pass(2 * time.Minute)
	if h.probed != 1 || !h.store.Record(key).Answered {
		t.Errorf("asked %d times, answered %v: want one time, and the answer kept", h.probed, h.store.Record(key).Answered)
	}
}

// TestProbedByWhoTakesOver: beats that another member took in belong to us from their next one on, and we ask their port.
func TestProbedByWhoTakesOver(t *testing.T) {
	h := newHarness(t, true, 2)
	r := h.foreign(2, "c", java, instance)
	r.Key.Publisher = session.BeatPublisher(instance.IP, int(instance.Port))
	h.receiveRecord(2, r)
	h.pass(time.Second)
	for range 6 {
		if h.Beat(h.now, r.Key, self) == nil {
			t.Fatal("a publisher that another member registered is not known")
		}
		h.pass(4 * time.Second)
	}
	if h.probed != 1 || !h.store.Record(r.Key).Answered {
		t.Errorf("asked %d times, answered %v: want one time, and the answer kept", h.probed, h.store.Record(r.Key).Answered)
	}
}

// TestAnswerOutlivesTheConnection: what is known of a port is known when its publisher comes back by another connection,
// unless that one publishes other instances.
func TestAnswerOutlivesTheConnection(t *testing.T) {
	other := instance
	other.Port++
	for name, tc := range map[string]struct {
		older, newer []model.Instance
		want         bool
	}{
		"the same":           {[]model.Instance{instance}, []model.Instance{instance}, true},
		"one more":           {[]model.Instance{instance}, []model.Instance{instance, other}, true},
		"one less":           {[]model.Instance{instance, other}, []model.Instance{instance}, false}, // which of them answered?
		"it never answered":  {[]model.Instance{instance}, []model.Instance{instance}, false},
		"another one's port": {[]model.Instance{other}, []model.Instance{instance}, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, true, 2)
			if name == "it never answered" {
				h.ports = func() session.PortAnswer { return session.PortSilent }
			}
			h.open("old", java)
			h.publish("old", tc.older...)
			h.pass(12 * time.Second)
			h.Close(h.now, "old")
			h.open("new", java)
			if key := h.publish("new", tc.newer...); h.store.Record(key).Answered != tc.want {
				t.Errorf("answered %v, want %v", h.store.Record(key).Answered, tc.want)
			}
		})
	}
}

// TestLostMember: what a member that is gone vouched for is unclaimed by our doing, here only and without a word, since
// every member sees the same. The first replica of the shard ends it.
func TestLostMember(t *testing.T) {
	h := newHarness(t, true, 2)
	r := h.foreign(2, "c", java, instance)
	h.receiveRecord(2, r)
	h.sent[2] = nil
	h.leave(2)
	got := h.store.Record(r.Key)
	if got.Unclaimed != model.CauseOurs || got.Since != h.now.Mono || got.Version != r.Version {
		t.Fatalf("a record of a member that is gone: %+v", got)
	}
	if d := h.lasts(r.Key, forever); d < 5*time.Minute || d > 5*time.Minute+slack {
		t.Errorf("removed after %v, want 5 m", d)
	}
	if tomb := h.store.Record(r.Key); tomb.Version != r.Version {
		t.Errorf("the tombstone kills %v, seen was %v: who removes for another kills exactly what it saw (P12)", tomb.Version, r.Version)
	}
}

// TestUnknownOrigin: a record of an origin that no view shows is unclaimed after a while; of one that has left, at once.
func TestUnknownOrigin(t *testing.T) {
	h := newHarness(t, true, 2, 3)
	stranger := h.foreign(99, "c", java, instance)
	h.receiveRecord(2, stranger)
	h.pass(9 * time.Second)
	if r := h.store.Record(stranger.Key); r.Unclaimed != model.Vouched {
		t.Errorf("unclaimed after 9 s: a view may lag")
	}
	h.pass(2 * time.Second)
	if r := h.store.Record(stranger.Key); r.Unclaimed != model.CauseOurs {
		t.Errorf("still vouched for by nobody that is known")
	}
	h.leave(3)
	late := h.foreign(3, "late", java, instance)
	h.receiveRecord(2, late)
	h.pass(250 * time.Millisecond)
	if r := h.store.Record(late.Key); r.Unclaimed != model.CauseOurs {
		t.Errorf("a record of a member that has left is still vouched for")
	}
}

// TestOthersClaims: whoever is neither the origin nor the first replica removes nothing.
func TestOthersClaims(t *testing.T) {
	h := newHarness(t, true, 2, 3)
	r := h.foreign(2, "c", java, instance).WithUnclaimed(model.CausePublisher, 0)
	h.receiveRecord(2, r)
	if d := h.lasts(r.Key, forever); d != forever {
		t.Errorf("removed after %v, while its origin is a member", d)
	}
}

// TestIncomplete: a member that is not complete knows too little to remove.
func TestIncomplete(t *testing.T) {
	h := newHarness(t, true, 2)
	h.open("c", java)
	key := h.publish("c", instance)
	h.pass(15 * time.Second)
	h.SetActive(false)
	h.Close(h.now, "c")
	if r := h.store.Record(key); r.Unclaimed != model.CauseOurs {
		t.Errorf("a connection that was lost while we were not complete says something of its publisher: cause %d", r.Unclaimed)
	}
	if d := h.lasts(key, forever); d != forever {
		t.Errorf("removed after %v by an incomplete member", d)
	}
}

// TestPauseAfterPause: what holds a long pause's removals back is not over with a short one that follows.
func TestPauseAfterPause(t *testing.T) {
	for name, then := range map[string]time.Duration{"alone": 0, "a short one follows": 2 * time.Second} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, true)
			h.ports = answers(session.PortSilent)
			h.open("c", java)
			key := h.publish("c", instance)
			h.pass(15 * time.Second)
			h.Close(h.now, "c")
			h.sleep(time.Minute)
			woke := h.now.Mono
			h.pass(3 * time.Second)
			if then > 0 {
				h.sleep(then)
			}
			h.lasts(key, forever)
			if d := h.now.Mono - woke; d < 35*time.Second || d > 36*time.Second {
				t.Errorf("removed %v after a pause of a minute, want 35 s", d)
			}
		})
	}
}

// TestDoubt: while the view may miss members, silence is ours.
func TestDoubt(t *testing.T) {
	h := newHarness(t, true, 2)
	h.open("c", java)
	key := h.publish("c", instance)
	h.pass(15 * time.Second)
	h.SetDoubt(true)
	h.Close(h.now, "c")
	if d := h.lasts(key, forever); d != forever {
		t.Fatalf("removed after %v, while members may be missing in the view", d)
	}
	h.SetDoubt(false)
	if d := h.lasts(key, forever); d < 5*time.Minute || d > 5*time.Minute+slack {
		t.Errorf("removed %v after the heal, want 5 m", d)
	}
}

// TestAnsweredOutlivesRemoval: what others remove of an open connection comes back with what is known of its port.
func TestAnsweredOutlivesRemoval(t *testing.T) {
	const other = 2
	h := newHarness(t, true, other)
	h.open("c", java)
	key := h.publish("c", instance)
	h.Verdict(h.now, key, session.PortAccepted)
	r := h.store.Record(key)
	h.receiveRecord(other, r.Tombstone(r.Version))
	if again := h.store.Record(key); again.Deleted || !again.Answered || again.Version == r.Version {
		t.Errorf("%+v, want it stamped again, answered", again)
	}
}
