package membership_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/model"
)

// member is incarnation inc of pod uid.
func member(inc model.Incarnation, uid string) model.Member {
	return model.Member{Incarnation: inc, Name: uid, UID: uid, Address: uid + ":9849", State: model.StateComplete}
}

func with(m model.Member, s model.MemberState) model.Member {
	m.State = s
	return m
}

func alive(ms ...model.Member) membership.Listing {
	l := membership.Listing{Reachable: true}
	for _, m := range ms {
		l.Entries = append(l.Entries, membership.Entry{Member: m, Alive: true})
	}
	return l
}

// addresses is what a file or an EndpointSlice lists.
func addresses(uids ...string) membership.Listing {
	l := membership.Listing{Reachable: true}
	for _, u := range uids {
		l.Entries = append(l.Entries, membership.Entry{Member: model.Member{Address: u + ":9849"}, Alive: true})
	}
	return l
}

func dead(l membership.Listing) membership.Listing {
	for i := range l.Entries {
		l.Entries[i].Alive = false
	}
	return l
}

func released(l membership.Listing) membership.Listing {
	for i := range l.Entries {
		l.Entries[i].Alive, l.Entries[i].Left = false, true
	}
	return l
}

func unreachable(l membership.Listing) membership.Listing {
	l.Reachable = false
	return l
}

// track is a tracker with a clock, and the view written as text.
type track struct {
	t   *membership.Tracker
	now model.Time
}

func (k *track) wait(d time.Duration) {
	k.now.Mono += d
	k.t.Tick(k.now)
}

func (k *track) list(l membership.Listing)  { k.t.SetListing(k.now, l) }
func (k *track) up(m model.Member)          { k.t.PeerUp(k.now, m) }
func (k *track) down(inc model.Incarnation) { k.t.PeerDown(k.now, inc) }
func (k *track) left(inc model.Incarnation) { k.t.Left(k.now, inc) }
func (k *track) refuse(a string, n int)     { k.dial(a, true, n) }
func (k *track) silent(a string, n int)     { k.dial(a, false, n) }
func (k *track) dial(a string, r bool, n int) {
	for range n {
		k.t.Dialled(k.now, a+":9849", r)
		k.wait(time.Second)
	}
}

// view is "uid" or "uid/state" for those not complete, sorted by incarnation, "frozen" at the end.
func (k *track) view() string {
	var out []string
	for _, m := range k.t.View().Members {
		s := m.UID + "#" + strings.TrimLeft(m.Incarnation.String(), "0")
		if m.State != model.StateComplete {
			s += "/" + m.State.String()
		}
		out = append(out, s)
	}
	if k.t.View().Frozen {
		out = append(out, "frozen")
	}
	return strings.Join(out, " ")
}

func TestTracker(t *testing.T) {
	a, b, c := member(1, "a"), member(2, "b"), member(3, "c")
	b2 := member(12, "b")
	lease, slices, file := membership.PolicyLease(), membership.PolicyEndpointSlice(), membership.PolicyFile()
	tests := map[string]struct {
		policy membership.Policy
		run    func(k *track)
		want   string
		gone   []model.Incarnation
	}{
		"before any listing the view is frozen": {lease, func(k *track) {}, "a#1 frozen", nil},
		"standalone is never frozen":            {membership.PolicyStandalone(), func(k *track) { k.up(b); k.list(alive(c)) }, "a#1", nil},
		"lease: listed means member": {lease, func(k *track) {
			k.list(alive(a, b, c))
		}, "a#1 b#2 c#3", nil},
		"lease: a silent member stays, the witness vouches": {lease, func(k *track) {
			k.list(alive(a, b))
			k.up(b)
			k.down(2)
			k.wait(time.Hour)
		}, "a#1 b#2", nil},
		"lease: aged out and no stream is gone": {lease, func(k *track) {
			k.list(alive(a, b))
			k.list(dead(alive(b)))
		}, "a#1", []model.Incarnation{2}},
		"lease: a live stream vetoes age": {lease, func(k *track) {
			k.list(alive(a, b))
			k.up(b)
			k.list(dead(alive(b)))
			k.wait(time.Hour)
		}, "a#1 b#2", nil},
		"lease: a stream that ended vetoes for three more seconds": {lease, func(k *track) {
			k.list(alive(b))
			k.up(b)
			k.list(dead(alive(b)))
			k.down(2)
			k.wait(2900 * time.Millisecond)
		}, "a#1 b#2", nil},
		"lease: and no longer": {lease, func(k *track) {
			k.list(alive(b))
			k.up(b)
			k.list(dead(alive(b)))
			k.down(2)
			k.wait(3 * time.Second)
		}, "a#1", []model.Incarnation{2}},
		"lease: a deleted Lease of a member that speaks is vetoed too": {lease, func(k *track) {
			k.list(alive(b))
			k.up(b)
			k.list(alive())
		}, "a#1 b#2", nil},
		"lease: a released one is gone at once, stream or not": {lease, func(k *track) {
			k.list(alive(b))
			k.up(b)
			k.list(released(alive(b)))
		}, "a#1", []model.Incarnation{2}},
		"a leave notice removes at once though the listing lags": {lease, func(k *track) {
			k.list(alive(b, c))
			k.up(b)
			k.left(2)
			k.list(alive(b, c))
		}, "a#1 c#3", []model.Incarnation{2}},
		"who was gone does not come back with the same incarnation": {lease, func(k *track) {
			k.list(alive(b))
			k.list(dead(alive(b)))
			k.list(alive(b))
			k.up(b)
		}, "a#1", []model.Incarnation{2}},
		"but with a new one": {lease, func(k *track) {
			k.list(alive(b))
			k.list(dead(alive(b)))
			k.list(alive(b2))
		}, "a#1 b#c", []model.Incarnation{2}},
		"the listing shows a new incarnation": {lease, func(k *track) {
			k.list(alive(b, c))
			k.up(b)
			k.list(alive(b2, c))
		}, "a#1 c#3 b#c", []model.Incarnation{2}},
		"the handshake shows it first, the listing lags": {lease, func(k *track) {
			k.list(alive(b))
			k.up(b2)
			k.list(alive(b))
		}, "a#1 b#c", []model.Incarnation{2}},
		"the listing begins with the old one, the new one already speaks": {lease, func(k *track) {
			k.up(b2)
			k.list(alive(b))
		}, "a#1 b#c", nil},
		"an unlisted peer waits": {lease, func(k *track) {
			k.list(alive(a))
			k.up(b)
		}, "a#1", nil},
		"until it is listed": {lease, func(k *track) {
			k.list(alive(a))
			k.up(b)
			k.list(alive(b))
		}, "a#1 b#2", nil},
		"frozen: nobody leaves": {lease, func(k *track) {
			k.list(alive(b, c))
			k.up(b)
			k.list(unreachable(alive()))
			k.down(2)
			k.wait(time.Hour)
		}, "a#1 b#2 c#3 frozen", nil},
		"frozen: nobody enters": {lease, func(k *track) {
			k.list(alive(b))
			k.list(unreachable(alive(b, c)))
			k.up(c)
		}, "a#1 b#2 frozen", nil},
		"frozen: but a leave notice counts": {lease, func(k *track) {
			k.list(alive(b, c))
			k.list(unreachable(alive()))
			k.left(2)
		}, "a#1 c#3 frozen", []model.Incarnation{2}},
		"frozen: and a new incarnation of a known pod is admitted (R6)": {lease, func(k *track) {
			k.list(alive(b))
			k.list(unreachable(alive()))
			k.up(b2)
		}, "a#1 b#c frozen", []model.Incarnation{2}},
		"frozen: also of one that has left in an orderly way": {lease, func(k *track) {
			k.list(alive(b))
			k.list(unreachable(alive()))
			k.left(2)
			k.up(b2)
		}, "a#1 b#c frozen", []model.Incarnation{2}},
		"frozen at the start: the last view is taken (R6)": {lease, func(k *track) {
			k.list(unreachable(alive(member(9, "a"), b, c)))
		}, "a#1 b#2 c#3 frozen", nil},
		"frozen at the start: addresses of the last view are admitted by the handshake, others are not (R6)": {slices, func(k *track) {
			k.list(unreachable(addresses("b")))
			k.up(b)
			k.up(c)
		}, "a#1 b#2 frozen", nil},
		"and corrected when the source is back": {lease, func(k *track) {
			k.list(unreachable(alive(b, c)))
			k.list(alive(b2))
		}, "a#1 b#c", []model.Incarnation{2, 3}},
		"a leaving member stays in the view": {lease, func(k *track) {
			k.list(alive(b))
			k.list(alive(with(b, model.StateLeaving)))
		}, "a#1 b#2/leaving", nil},
		"a state never falls, whatever lags": {lease, func(k *track) {
			k.list(alive(with(b, model.StateStarting)))
			k.up(with(b, model.StateLeaving))
			k.list(alive(b))
		}, "a#1 b#2/leaving", nil},
		"own former incarnations are nobody": {lease, func(k *track) {
			k.list(alive(member(9, "a"), b))
			k.t.SetSelf(k.now, member(11, "a"))
			k.list(alive(a, b))
		}, "b#2 a#b", []model.Incarnation{1}},
		"endpointslice: an address alone is nobody": {slices, func(k *track) {
			k.list(addresses("a", "b"))
		}, "a#1", nil},
		"endpointslice: the handshake admits, before it serves too": {slices, func(k *track) {
			k.list(dead(addresses("b")))
			k.up(b)
		}, "a#1 b#2", nil},
		"endpointslice: listed and serving stays without a stream": {slices, func(k *track) {
			k.list(addresses("b"))
			k.up(b)
			k.down(2)
			k.refuse("b", 60)
		}, "a#1 b#2", nil},
		"endpointslice: not serving without a stream is gone": {slices, func(k *track) {
			k.list(addresses("b"))
			k.up(b)
			k.list(dead(addresses("b")))
			k.down(2)
			k.wait(3 * time.Second)
		}, "a#1", []model.Incarnation{2}},
		"endpointslice: a pod with the address of a former one": {slices, func(k *track) {
			l := addresses("b")
			l.Entries[0].UID = "b"
			k.list(l)
			k.up(b)
			k.down(2)
			l = addresses("b")
			l.Entries[0].UID = "d"
			k.list(l)
			d := member(4, "d")
			d.Address = b.Address
			k.up(d)
			k.wait(3 * time.Second)
		}, "a#1 d#4", []model.Incarnation{2}},
		"file: refused for ten seconds is gone": {file, func(k *track) {
			k.list(addresses("b"))
			k.up(b)
			k.down(2)
			k.refuse("b", 11)
		}, "a#1", []model.Incarnation{2}},
		"file: refused for nine is not": {file, func(k *track) {
			k.list(addresses("b"))
			k.up(b)
			k.down(2)
			k.refuse("b", 10)
		}, "a#1 b#2", nil},
		"file: silence in between begins the row again": {file, func(k *track) {
			k.list(addresses("b"))
			k.up(b)
			k.down(2)
			k.refuse("b", 9)
			k.silent("b", 1)
			k.refuse("b", 9)
		}, "a#1 b#2", nil},
		"file: two refusals around an own pause are no row (R4)": {file, func(k *track) {
			k.list(addresses("b"))
			k.up(b)
			k.down(2)
			k.refuse("b", 1)
			k.wait(40 * time.Second)
			k.refuse("b", 1)
		}, "a#1 b#2", nil},
		"file: a silent one stays": {file, func(k *track) {
			k.list(addresses("b"))
			k.up(b)
			k.down(2)
			k.silent("b", 3600)
		}, "a#1 b#2", nil},
		"file: a delisted one stays while it speaks": {file, func(k *track) {
			k.list(addresses("b"))
			k.up(b)
			k.list(addresses("a"))
			k.wait(time.Hour)
		}, "a#1 b#2", nil},
		"file: and no longer": {file, func(k *track) {
			k.list(addresses("b"))
			k.up(b)
			k.list(addresses("a"))
			k.down(2)
			k.wait(3 * time.Second)
		}, "a#1", []model.Incarnation{2}},
		"two processes of one pod speak, none listed yet: the later one counts": {lease, func(k *track) {
			k.list(alive(a))
			k.up(b2)
			k.up(member(5, "b"))
			k.list(alive(b2))
		}, "a#1 b#5", []model.Incarnation{12}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			k := &track{t: membership.NewTracker(tc.policy, a)}
			tc.run(k)
			if d := cmp.Diff(tc.want, k.view()); d != "" {
				t.Errorf("view (-want +got):\n%s", d)
			}
			for _, inc := range []model.Incarnation{1, 2, 3, 4, 5, 12} {
				want := false
				for _, g := range tc.gone {
					want = want || g == inc
				}
				if got := k.t.WasGone(inc); got != want {
					t.Errorf("WasGone(%d) = %v, want %v", inc, got, want)
				}
			}
		})
	}
}

// TestMayMiss: nobody in the view means nobody there only if the source says so after the last one went.
func TestMayMiss(t *testing.T) {
	self, b := member(1, "a"), member(2, "b")
	renewed := func(l membership.Listing, renewal int64) membership.Listing {
		l.Renewal = renewal
		return l
	}
	tests := map[string]struct {
		policy membership.Policy
		run    func(k *track)
		want   bool
	}{
		"nobody was ever there":                   {membership.PolicyLease(), func(k *track) { k.list(renewed(alive(), 1)) }, false},
		"silent since the last one went (R4)":     {membership.PolicyLease(), func(k *track) { k.list(renewed(alive(b), 1)); k.left(2) }, true},
		"an own renewal came back since":          {membership.PolicyLease(), func(k *track) { k.list(renewed(alive(b), 1)); k.left(2); k.list(renewed(alive(), 2)) }, false},
		"the renewal that showed it gone is none": {membership.PolicyLease(), func(k *track) { k.list(renewed(alive(b), 1)); k.list(renewed(dead(alive(b)), 2)); k.wait(time.Minute) }, true},
		"who only started does not count": {membership.PolicyLease(), func(k *track) {
			k.list(renewed(alive(with(b, model.StateStarting)), 1))
			k.list(renewed(alive(), 1))
		}, false},
		"where there are no renewals a clock must do": {membership.PolicyLease(), func(k *track) { k.list(dead(alive(b))); k.wait(5 * time.Second) }, false},
		"a source without renewals":                   {membership.PolicyFile(), func(k *track) { k.list(addresses("b")); k.up(b); k.down(2); k.refuse("b", 20) }, false},
		"reachable again, and one is listed: wait":    {membership.PolicyLease(), func(k *track) { k.list(renewed(dead(alive(b)), 1)) }, true},
		"and no more when it has had the time to say that it lives": {membership.PolicyLease(), func(k *track) {
			k.list(renewed(dead(alive(b)), 1))
			k.wait(5 * time.Second)
			k.list(renewed(dead(alive(b)), 2))
		}, false},
		"a clock alone says nothing (R4)": {membership.PolicyLease(), func(k *track) { k.list(renewed(dead(alive(b)), 1)); k.wait(5 * time.Second) }, true},
		"standalone has nobody to miss":   {membership.PolicyStandalone(), func(*track) {}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			k := &track{t: membership.NewTracker(tt.policy, self)}
			tt.run(k)
			if got := k.t.MayMiss(k.now); got != tt.want {
				t.Errorf("may miss somebody: %v, want %v; view %s", got, tt.want, k.view())
			}
		})
	}
}

func TestTargets(t *testing.T) {
	a, b, c := member(1, "a"), member(2, "b"), member(3, "c")
	k := &track{t: membership.NewTracker(membership.PolicyLease(), a)}
	k.list(alive(a, b))
	k.list(unreachable(alive(c)))
	if d := cmp.Diff([]string{"b:9849"}, k.t.Targets()); d != "" {
		t.Errorf("frozen: the last reachable listing is dialled (-want +got):\n%s", d)
	}
	k.list(dead(alive(b, c)))
	if d := cmp.Diff([]string{"b:9849", "c:9849"}, k.t.Targets()); d != "" {
		t.Errorf("those that are gone have to hear it (-want +got):\n%s", d)
	}
	k.list(released(alive(b)))
	if d := cmp.Diff([]string{}, k.t.Targets()); d != "" {
		t.Errorf("a released one is not dialled (-want +got):\n%s", d)
	}
}

func TestViewKeepsItsPointer(t *testing.T) {
	k := &track{t: membership.NewTracker(membership.PolicyLease(), member(1, "a"))}
	k.list(alive(member(2, "b")))
	before := k.t.View()
	k.wait(time.Second)
	k.list(alive(member(2, "b")))
	k.up(member(2, "b"))
	if k.t.View() != before {
		t.Error("nothing changed, but the view is another")
	}
	k.left(2)
	if k.t.View() == before {
		t.Error("a member left, but the view is the same")
	}
}
