package lease_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/muster-registry/muster/api/wellknown"
	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/membership/lease"
	"github.com/muster-registry/muster/registry/membership/peerkey"
	"github.com/muster-registry/muster/registry/model"
)

// runner is one source that runs in a bubble of synthetic time.
type runner struct {
	t      *testing.T
	source *lease.Source
	cancel context.CancelFunc
	done   chan error

	mu    sync.Mutex // guards all below
	last  membership.Listing
	count int
}

func (w *world) run(self model.Member) *runner {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	r := &runner{t: w.t, source: lease.New(w.options(self)), cancel: cancel, done: make(chan error, 1)}
	_ = r.source.Announce(ctx, self, false) // a cut is what some tests begin with
	go func() {
		r.done <- r.source.Run(ctx, func(l membership.Listing) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.last, r.count = l, r.count+1
		})
	}()
	synctest.Wait()
	return r
}

func (r *runner) stop() {
	r.cancel()
	if err := <-r.done; err != nil {
		r.t.Errorf("run: %v", err)
	}
}

func wait(d time.Duration) {
	<-time.After(d) // of the bubble
	synctest.Wait()
}

// listed is "name#incarnation", "!" or "left" behind those not alive, and whether the source can be reached.
func (r *runner) listed() string {
	var out []string
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.last.Entries {
		s := e.Name + "#" + strings.TrimLeft(e.Incarnation.String(), "0")
		switch {
		case e.Left:
			s += " left"
		case !e.Alive:
			s += "!"
		}
		out = append(out, s)
	}
	if !r.last.Reachable {
		out = append(out, "unreachable")
	}
	return strings.Join(out, " ")
}

func (r *runner) listings() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

func (r *runner) want(listed string) {
	r.t.Helper()
	if got := r.listed(); got != listed {
		r.t.Errorf("listed %q, want %q", got, listed)
	}
}

func pod(inc model.Incarnation, name string) model.Member {
	return model.Member{
		Incarnation: inc, Name: name, UID: "uid-" + name, Address: "10.0.0.1:9849", ClientPort: 8848, Zone: "zone-1",
		Version: "v1.2.3", State: model.StateStarting,
	}
}

func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newWorld(t)) })
}

// TestProtectionIsSaid: with the renewals, and its end in full minutes.
func TestProtectionIsSaid(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		scope := ""
		o := w.options(pod(1, "a"))
		o.Protection = func() (string, time.Duration) { return scope, 90 * time.Second }
		source := lease.New(o)
		said := func() string {
			if err := source.Announce(t.Context(), pod(1, "a"), false); err != nil {
				t.Fatal(err)
			}
			a := w.get("a").Annotations
			return a[wellknown.AnnotationProtection] + " " + a[wellknown.AnnotationProtectionUntil]
		}
		if got := said(); got != " " {
			t.Errorf("while nothing is held: %q", got)
		}
		scope = wellknown.ProtectionServices
		if got := said(); got != "services 2000-01-01T00:02:00Z" {
			t.Errorf("while services are: %q", got)
		}
		scope = ""
		if got := said(); got != " " {
			t.Errorf("after that: %q", got)
		}
	})
}

func TestWhatALeaseSays(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		r := w.run(pod(1, "a"))
		defer r.stop()
		self := pod(1, "a")
		self.State = model.StateComplete
		wait(time.Second)
		if err := r.source.Announce(t.Context(), self, true); err != nil {
			t.Fatal(err)
		}
		presents, trusts, err := peerkey.Fingerprints(w.keys)
		if err != nil {
			t.Fatal(err)
		}
		l := w.get("a")
		got := maps.Clone(l.Annotations)
		delete(got, wellknown.AnnotationSignature)
		if d := cmp.Diff(map[string]string{
			wellknown.AnnotationPodUID: "uid-a", wellknown.AnnotationPeerAddress: "10.0.0.1:9849", wellknown.AnnotationClientPort: "8848",
			wellknown.AnnotationZone: "zone-1", wellknown.AnnotationVersion: "v1.2.3", wellknown.AnnotationState: "complete",
			wellknown.AnnotationPresents: presents, wellknown.AnnotationTrusts: strings.Join(trusts, ","),
			wellknown.AnnotationDirtyPeers: "true", wellknown.AnnotationDirtyChanged: "2000-01-01T00:00:01Z",
			wellknown.AnnotationViewFrozen: "false", wellknown.AnnotationProtection: "", wellknown.AnnotationProtectionUntil: "",
		}, got); d != "" {
			t.Errorf("annotations (-want +got):\n%s", d)
		}
		if got := l.Labels[wellknown.LabelCluster] + " " + l.Labels[wellknown.LabelClusterUID]; got != "demo cluster-uid" {
			t.Errorf("labels name cluster %q", got)
		}
		if d := cmp.Diff([]metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "a", UID: "uid-a"}}, l.OwnerReferences); d != "" {
			t.Errorf("owner (-want +got):\n%s", d)
		}
		if got := *l.Spec.HolderIdentity; got != model.Incarnation(1).String() {
			t.Errorf("holder = %s", got)
		}
	})
}

// A steady state writes nothing but renewals, reads nothing but the watch, and tells nothing but that the own renewals
// come back.
func TestSteadyState(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.run(pod(1, "a")), w.run(pod(2, "b"))
		defer a.stop()
		defer b.stop()
		wait(4 * time.Second)
		a.want("b#2")
		w.api.counts()
		listings := a.listings()
		wait(time.Minute)
		if d := cmp.Diff(map[string]int{"update": 60}, w.api.counts()); d != "" {
			t.Errorf("calls of two members in a minute (-want +got):\n%s", d)
		}
		if more := a.listings() - listings; more != 30 {
			t.Errorf("%d listings for 30 renewals of its own, and nothing else", more)
		}
	})
}

// TestReaderIsTold: a member with a new incarnation waits for a listing that was made for that one, also when nobody else
// changes (R4).
func TestReaderIsTold(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a := w.run(pod(1, "a"))
		defer a.stop()
		wait(4 * time.Second)
		if err := a.source.Announce(t.Context(), pod(7, "a"), false); err != nil {
			t.Fatal(err)
		}
		wait(4 * time.Second)
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.last.Reader != 7 || !a.last.Reachable {
			t.Errorf("the last listing was made for %v, reachable %v", a.last.Reader, a.last.Reachable)
		}
	})
}

func TestSilentMemberAges(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.run(pod(1, "a")), w.run(pod(2, "b"))
		defer a.stop()
		wait(4 * time.Second)
		b.stop()
		wait(8 * time.Second)
		a.want("b#2")
		wait(6 * time.Second)
		a.want("b#2!")
	})
}

func TestLeave(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.run(pod(1, "a")), w.run(pod(2, "b"))
		defer a.stop()
		defer b.stop()
		wait(4 * time.Second)
		if err := b.source.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		wait(0)
		a.want("b#2 left")
		before := w.get("b")
		if before.Spec.HolderIdentity != nil {
			t.Errorf("holder = %q, want none", *before.Spec.HolderIdentity)
		}
		wait(10 * time.Second)
		if d := cmp.Diff(before, w.get("b")); d != "" {
			t.Errorf("written after the farewell:\n%s", d)
		}
	})
}

// P13: a watch that looks alive and carries nothing freezes the view, and is given up; nobody ages meanwhile.
func TestMuteWatch(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.run(pod(1, "a")), w.run(pod(2, "b"))
		defer a.stop()
		wait(4 * time.Second)
		w.api.counts()
		w.api.set(func() { w.api.blind = true })
		b.stop()
		wait(4 * time.Second)
		if n := w.api.counts()["list"]; n != 0 {
			t.Errorf("listed %d times within 4 s, want the watch to be trusted that long", n)
		}
		wait(5 * time.Minute)
		a.want("b#2 unreachable")
		if got := w.get("a").Annotations[wellknown.AnnotationViewFrozen]; got != "true" {
			t.Errorf("view-frozen = %q, want true", got)
		}
		if w.api.counts()["list"] == 0 {
			t.Error("the mute watch was not given up")
		}
		w.api.set(func() { w.api.blind = false })
		wait(10 * time.Second)
		a.want("b#2")
		wait(10 * time.Second)
		a.want("b#2!")
	})
}

// R6: a container that restarts while the API is down begins with the last view.
func TestRestartWhileTheAPIIsDown(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		stateOfA := w.state
		a := w.run(pod(1, "a"))
		w.state = t.TempDir()
		b := w.run(pod(2, "b"))
		defer b.stop()
		wait(4 * time.Second)
		a.stop()
		w.api.sever()
		w.state = stateOfA
		again := w.run(pod(11, "a"))
		defer again.stop()
		wait(10 * time.Second)
		again.want("b#2 unreachable")
		w.api.mend()
		wait(10 * time.Second)
		again.want("b#2")
		if got := *w.get("a").Spec.HolderIdentity; got != model.Incarnation(11).String() {
			t.Errorf("holder = %s, want the new incarnation", got)
		}
	})
}

func TestDamagedStateIsNoState(t *testing.T) {
	for name, text := range map[string]string{
		"another cluster's": `{"clusterUID":"other","members":[{"incarnation":"0000000000000002","state":"complete"}]}`,
		"damaged":           `{"clusterUID":`,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				if err := os.WriteFile(filepath.Join(w.state, "view.json"), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				w.api.sever()
				a := w.run(pod(1, "a"))
				defer a.stop()
				wait(5 * time.Second)
				a.want("unreachable")
			})
		})
	}
}

func TestNoRights(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}, "a", nil)
	bubble(t, func(t *testing.T, w *world) {
		w.api.set(func() { w.api.refuse = forbidden })
		r := w.run(pod(1, "a"))
		err := <-r.done
		if err == nil {
			t.Fatal("runs without rights")
		}
		for _, part := range []string{`namespace "default"`, "create", "watch", "coordination.k8s.io"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q is not in: %v", part, err)
			}
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("more than one line: %v", err)
		}
	})
	bubble(t, func(t *testing.T, w *world) { // one that serves is not stopped for it
		r := w.run(pod(1, "a"))
		defer r.stop()
		wait(4 * time.Second)
		w.api.set(func() { w.api.refuse = forbidden })
		wait(time.Minute)
		r.want("unreachable")
		w.api.set(func() { w.api.refuse = nil })
		wait(10 * time.Second)
		r.want("")
	})
}

// Somebody who may write Leases, but has no peer key, can take a member out of the list, and do nothing else.
func TestTampering(t *testing.T) {
	set := func(a, v string) func(*coordinationv1.Lease) {
		return func(l *coordinationv1.Lease) { l.Annotations[a] = v }
	}
	tests := map[string]func(*coordinationv1.Lease){
		"holder":         func(l *coordinationv1.Lease) { h := model.Incarnation(9).String(); l.Spec.HolderIdentity = &h },
		"release":        func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = nil },
		"renew time":     func(l *coordinationv1.Lease) { l.Spec.RenewTime.Time = l.Spec.RenewTime.Add(time.Hour) },
		"pod UID":        set(wellknown.AnnotationPodUID, "uid-c"),
		"address":        set(wellknown.AnnotationPeerAddress, "10.9.9.9:9849"),
		"client port":    set(wellknown.AnnotationClientPort, "1"),
		"zone":           set(wellknown.AnnotationZone, "zone-1v"),
		"state":          set(wellknown.AnnotationState, "complete"),
		"presents":       set(wellknown.AnnotationPresents, "00"),
		"dirty":          set(wellknown.AnnotationDirtyPeers, "true"),
		"frozen":         set(wellknown.AnnotationViewFrozen, "true"),
		"protection":     set(wellknown.AnnotationProtection, "registry"),
		"signature gone": func(l *coordinationv1.Lease) { delete(l.Annotations, wellknown.AnnotationSignature) },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				a, b, c := w.run(pod(1, "a")), w.run(pod(2, "b")), w.run(pod(3, "c"))
				defer a.stop()
				defer c.stop()
				wait(4 * time.Second)
				a.want("b#2 c#3")
				b.stop()
				l := w.get("b")
				change(l)
				if _, err := w.api.Update(t.Context(), l, metav1.UpdateOptions{}); err != nil {
					t.Fatal(err)
				}
				wait(0)
				a.want("c#3")
			})
		})
	}
}

// A new key is reported with the next renewal, and a Lease that it has signed counts for all that trust it.
func TestRotation(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		newer := filepath.Join(t.TempDir(), "peer")
		if err := peerkey.Write(newer); err != nil {
			t.Fatal(err)
		}
		a := w.run(pod(1, "a"))
		defer a.stop()
		old := w.keys
		w.keys = newer
		b := w.run(pod(2, "b"))
		defer b.stop()
		wait(4 * time.Second)
		a.want("")
		both := slices.Concat(read(t, old, wellknown.PeerCertFile), read(t, newer, wellknown.PeerCertFile))
		if err := os.WriteFile(filepath.Join(old, wellknown.PeerTrustedFile), both, 0o600); err != nil {
			t.Fatal(err)
		}
		wait(4 * time.Second)
		a.want("b#2")
		_, trusts, err := peerkey.Fingerprints(old)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.get("a").Annotations[wellknown.AnnotationTrusts]; got != strings.Join(trusts, ",") || len(trusts) != 2 {
			t.Errorf("trusts = %q, want %v", got, trusts)
		}
		if err := os.Remove(filepath.Join(old, wellknown.PeerKeyFile)); err != nil {
			t.Fatal(err)
		}
		wait(time.Minute)
		a.want("b#2") // while the key cannot be read the last one serves
	})
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// P8: the renew time rises whatever the clock does.
func TestRenewTimeRises(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		b := w.run(pod(2, "b"))
		wait(4 * time.Second)
		b.stop()
		ahead := w.get("b")
		ahead.Spec.RenewTime.Time = ahead.Spec.RenewTime.Add(time.Hour)
		if _, err := w.api.Update(t.Context(), ahead, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		again := w.run(pod(22, "b"))
		defer again.stop()
		wait(time.Minute)
		again.want("")
		if got := w.get("b").Spec.RenewTime; !got.After(ahead.Spec.RenewTime.Time) {
			t.Errorf("renew time fell from %v to %v", ahead.Spec.RenewTime, got)
		}
	})
}

func TestDeletedLeaseIsMadeAnew(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		a, b := w.run(pod(1, "a")), w.run(pod(2, "b"))
		defer a.stop()
		defer b.stop()
		wait(4 * time.Second)
		w.delete("b")
		wait(0)
		a.want("")
		wait(3 * time.Second)
		a.want("b#2")
	})
}

func TestForeignLeaseOfTheSameNameIsLeftAlone(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		theirs := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: namespace}}
		if _, err := w.api.Create(t.Context(), theirs, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		err := lease.New(w.options(pod(1, "a"))).Announce(t.Context(), pod(1, "a"), false)
		if err == nil || !strings.Contains(err.Error(), "default/a") {
			t.Errorf("error = %v, want one that names the Lease", err)
		}
		if l := w.get("a"); l.Spec.HolderIdentity != nil {
			t.Error("it was taken")
		}
	})
}
