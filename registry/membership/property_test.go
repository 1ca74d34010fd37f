package membership_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/model"
)

// anyMember is one of five pods in one of four incarnations.
func anyMember(t *rapid.T) model.Member {
	pod := rapid.IntRange(0, 4).Draw(t, "pod")
	inc := model.Incarnation(10*(pod+1) + rapid.IntRange(0, 3).Draw(t, "restart"))
	state := rapid.SampledFrom([]model.MemberState{model.StateStarting, model.StateComplete, model.StateLeaving})
	return with(member(inc, string(rune('a'+pod))), state.Draw(t, "state"))
}

func anyListing(t *rapid.T, reachable bool) membership.Listing {
	l := membership.Listing{Reachable: reachable}
	seen := map[string]bool{}
	for range rapid.IntRange(0, 5).Draw(t, "entries") {
		m := anyMember(t)
		if seen[m.UID] {
			continue
		}
		seen[m.UID] = true
		e := membership.Entry{Member: m, Alive: rapid.Bool().Draw(t, "alive")}
		e.Left = !e.Alive && rapid.Bool().Draw(t, "left")
		if rapid.IntRange(0, 3).Draw(t, "anonymous") == 0 {
			e = membership.Entry{Member: model.Member{Address: m.Address}, Alive: e.Alive}
		}
		l.Entries = append(l.Entries, e)
	}
	return l
}

// step does one random thing to the tracker, and returns the incarnation that left by its own word, if any.
func step(t *rapid.T, k *track) (left model.Incarnation) {
	switch rapid.IntRange(0, 7).Draw(t, "step") {
	case 0, 1:
		k.list(anyListing(t, true))
	case 2:
		k.list(anyListing(t, false))
	case 3:
		k.up(anyMember(t))
	case 4:
		k.down(anyMember(t).Incarnation)
	case 5:
		m := anyMember(t)
		k.left(m.Incarnation)
		return m.Incarnation
	case 6:
		k.t.Dialled(k.now, anyMember(t).Address, rapid.Bool().Draw(t, "refused"))
	case 7:
		k.wait(time.Duration(rapid.IntRange(0, 20_000).Draw(t, "ms")) * time.Millisecond)
	}
	return 0
}

func TestTrackerProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := rapid.SampledFrom([]membership.Policy{
			membership.PolicyLease(), membership.PolicyEndpointSlice(), membership.PolicyFile(),
		}).Draw(t, "policy")
		k := &track{t: membership.NewTracker(policy, member(10, "a"))}
		wasGone := map[model.Incarnation]bool{}
		reached := false
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			before := k.t.View()
			left := step(t, k)
			after := k.t.View()
			checkView(t, k, wasGone)
			if before.Frozen && after.Frozen && reached {
				checkFrozen(t, before, after, left)
			}
			reached = reached || !after.Frozen
		}
	})
}

// checkView: self is in it, one process a pod, nobody who was gone, and who vanished from it is known to be gone.
func checkView(t *rapid.T, k *track, wasGone map[model.Incarnation]bool) {
	v := k.t.View()
	if !v.Has(10) {
		t.Fatalf("self is not in the view: %s", k.view())
	}
	pods := map[string]bool{}
	for _, m := range v.Members {
		if pods[m.UID] {
			t.Fatalf("two processes of pod %s: %s", m.UID, k.view())
		}
		pods[m.UID] = true
		if k.t.WasGone(m.Incarnation) {
			t.Fatalf("%d was gone and is in the view: %s", m.Incarnation, k.view())
		}
		wasGone[m.Incarnation] = false
	}
	for inc := range wasGone {
		if !v.Has(inc) && !k.t.WasGone(inc) {
			t.Fatalf("%d vanished, and nobody knows that it was gone: %s", inc, k.view())
		}
	}
}

// checkFrozen: nobody vanishes without a word, or a successor of the same pod, and no pod appears that was not there
// unless it is the next process of one that left.
func checkFrozen(t *rapid.T, before, after *model.View, left model.Incarnation) {
	pods := map[string]bool{}
	for _, m := range after.Members {
		pods[m.UID] = true
	}
	for _, m := range before.Members {
		if !pods[m.UID] && m.Incarnation != left {
			t.Fatalf("frozen, but pod %s vanished", m.UID)
		}
	}
	if len(after.Members) > len(before.Members)+1 {
		t.Fatalf("frozen, but the view grew from %d to %d", len(before.Members), len(after.Members))
	}
}

// Whatever happened before: once all streams are over and the source is back, the view is what the source lists.
func TestTrackerConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := &track{t: membership.NewTracker(membership.PolicyLease(), member(10, "a"))}
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			step(t, k)
		}
		for pod := range 5 {
			for restart := range 4 {
				k.down(model.Incarnation(10*(pod+1) + restart))
			}
		}
		k.list(membership.Listing{Reachable: true})
		k.wait(time.Minute)
		k.list(alive(member(10, "a"), member(99, "b"), member(98, "c")))
		if got, want := k.view(), "a#a c#62 b#63"; got != want {
			t.Fatalf("view = %s, want %s", got, want)
		}
	})
}

// A peer that renews is never aged out, however late and bunched the watch delivers, while one that stopped is, soon
// after the watch works again (P13).
func TestLeasesNeverAgeTheLiving(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := &kube{l: membership.NewLeases(10 * time.Second), holder: 2}
		k.listing()
		var own, other int64
		for range rapid.IntRange(1, 200).Draw(t, "renewals") {
			k.now.Mono += 2 * time.Second
			own, other = own+1, other+1
			if rapid.IntRange(0, 2).Draw(t, "delivered") == 0 {
				k.own, k.other = own, other
			}
			for _, e := range k.listing().Entries {
				if !e.Alive {
					t.Fatalf("b renews, but it is listed as dead after %v", k.now.Mono)
				}
			}
		}
		for range 8 {
			k.now.Mono += 2 * time.Second
			own++
			k.own, k.other = own, other
			k.listing()
		}
		for _, e := range k.listing().Entries {
			if e.Alive {
				t.Fatal("b has not renewed for 16 s in a watch that works, and is listed as alive")
			}
		}
	})
}
