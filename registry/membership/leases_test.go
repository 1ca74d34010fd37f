package membership_test

import (
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/model"
)

// kube is an API server with two Leases, and a reader of them with a clock of its own.
type kube struct {
	l          *membership.Leases
	now        model.Time
	own, other int64
	holder     model.Incarnation
	deleted    bool
}

func (k *kube) listing() membership.Listing {
	ls := []membership.Lease{{Name: "a", Member: member(1, "a"), Renewal: k.own, Own: true}}
	if !k.deleted {
		ls = append(ls, membership.Lease{Name: "b", Member: member(k.holder, "b"), Renewal: k.other})
	}
	return k.l.Observe(k.now, ls)
}

// run lets n renewal intervals of 2 s pass.
func (k *kube) run(n int, own, other bool) membership.Listing {
	var l membership.Listing
	for range n {
		k.now.Mono += 2 * time.Second
		if own {
			k.own++
		}
		if other {
			k.other++
		}
		l = k.listing()
	}
	return l
}

func TestLeases(t *testing.T) {
	type want struct{ reachable, listed, alive, left bool }
	live, cut := want{true, true, true, false}, want{false, true, true, false}
	tests := map[string]struct {
		run  func(k *kube) membership.Listing
		want want
	}{
		"both renew": {func(k *kube) membership.Listing { return k.run(100, true, true) }, live},
		"five renewals missing is not yet gone": {func(k *kube) membership.Listing {
			k.run(3, true, true)
			return k.run(5, true, false)
		}, live},
		"six are": {func(k *kube) membership.Listing {
			k.run(3, true, true)
			return k.run(6, true, false)
		}, want{true, true, false, false}},
		"own renewals do not come back: nobody ages, the source counts as cut (P13)": {func(k *kube) membership.Listing {
			k.run(3, true, true)
			return k.run(100, false, false)
		}, cut},
		"own renewals come back after a cut: ageing begins anew": {func(k *kube) membership.Listing {
			k.run(3, true, true)
			k.run(30, false, false)
			return k.run(5, true, false)
		}, live},
		"and ends": {func(k *kube) membership.Listing {
			k.run(3, true, true)
			k.run(30, false, false)
			return k.run(7, true, false)
		}, want{true, true, false, false}},
		"a pause of the reader ages nobody (R4)": {func(k *kube) membership.Listing {
			k.run(3, true, true)
			k.now.Mono += 40 * time.Second
			k.l.Listing(k.now)
			return k.run(1, true, false)
		}, live},
		"a cut revives nobody who was gone before": {func(k *kube) membership.Listing {
			k.run(3, true, true)
			k.run(6, true, false)
			k.run(30, false, false)
			return k.run(1, true, false)
		}, want{true, true, false, false}},
		"a renewal does": {func(k *kube) membership.Listing {
			k.run(6, true, false)
			return k.run(1, true, true)
		}, live},
		"time alone shows that the source is cut": {func(k *kube) membership.Listing {
			k.run(3, true, true)
			k.now.Mono += 6 * time.Second
			return k.l.Listing(k.now)
		}, cut},
		"a release counts at once, and names who released": {func(k *kube) membership.Listing {
			k.run(3, true, true)
			k.holder = 0
			return k.run(1, true, true)
		}, want{true, true, false, true}},
		"one that was never seen held is nobody": {func(k *kube) membership.Listing {
			k.holder = 0
			return k.run(1, true, true)
		}, want{true, false, false, false}},
		"taken again after a release": {func(k *kube) membership.Listing {
			k.run(1, true, true)
			k.holder = 0
			k.run(1, true, true)
			k.holder = 2
			return k.run(1, true, true)
		}, live},
		"an old reading put back revives nobody (S2)": {func(k *kube) membership.Listing {
			k.run(4, true, true)
			k.run(6, true, false)
			k.other -= 2
			return k.run(1, true, false)
		}, want{true, true, false, false}},
		"and releases nobody": {func(k *kube) membership.Listing {
			k.run(4, true, true)
			k.holder, k.other = 0, 1
			return k.run(1, true, false)
		}, live},
		"a deleted Lease is not listed": {func(k *kube) membership.Listing {
			k.run(3, true, true)
			k.deleted = true
			return k.run(1, true, true)
		}, want{true, false, false, false}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := tc.run(&kube{l: membership.NewLeases(10 * time.Second), holder: 2})
			g := want{reachable: got.Reachable}
			for _, e := range got.Entries {
				if e.Incarnation != 2 || e.UID != "b" {
					t.Errorf("listed %v, want only b's", e.Member)
				}
				g.listed, g.alive, g.left = true, e.Alive, e.Left
			}
			if g != tc.want {
				t.Errorf("got %+v, want %+v", g, tc.want)
			}
		})
	}
}

func TestLeasesBeforeTheOwnOneIsSeen(t *testing.T) {
	l := membership.NewLeases(10 * time.Second)
	got := l.Observe(model.Time{}, []membership.Lease{{Name: "b", Member: member(2, "b"), Renewal: 1}})
	if got.Reachable {
		t.Error("reachable though the own Lease was never seen")
	}
	if len(got.Entries) != 1 || !got.Entries[0].Alive {
		t.Errorf("entries = %v, want b alive", got.Entries)
	}
}

// TestLeasesReader: a listing says for which incarnation of its reader it is fresh: that one whose renewals came back.
func TestLeasesReader(t *testing.T) {
	l := membership.NewLeases(10 * time.Second)
	own := func(inc model.Incarnation, renewal int64) membership.Lease {
		return membership.Lease{Name: "a", Member: member(inc, "a"), Renewal: renewal, Own: true}
	}
	if got := l.Listing(model.Time{}).Reader; got != 0 {
		t.Errorf("before any reading: %v", got)
	}
	l.Observe(model.Time{}, []membership.Lease{own(1, 1)})
	if got := l.Listing(model.Time{Mono: time.Second}).Reader; got != 1 {
		t.Errorf("reader %v, want 1", got)
	}
	got := l.Observe(model.Time{Mono: 2 * time.Second}, []membership.Lease{own(7, 2)})
	if got.Reader != 7 || got.Renewal != 2 {
		t.Errorf("reader %v, renewal %d after it has a new incarnation, want 7 and 2", got.Reader, got.Renewal)
	}
}
