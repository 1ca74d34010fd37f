package registrycluster

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrlevent "sigs.k8s.io/controller-runtime/pkg/event"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
)

var key = types.NamespacedName{Namespace: "ns", Name: "registry"}

// lease of a pod, renewed at a time on the member's clock.
func lease(pod string, renewed time.Time, change ...func(*coordinationv1.Lease)) coordinationv1.Lease {
	uid := types.UID("uid-of-" + pod)
	l := coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ns", Name: pod, UID: "lease-" + uid,
			Annotations:     map[string]string{wellknown.AnnotationPodUID: string(uid), wellknown.AnnotationPeerAddress: pod + ":9849"},
			OwnerReferences: []metav1.OwnerReference{{Kind: "Pod", UID: uid}},
		},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: new("inc-" + pod), RenewTime: &metav1.MicroTime{Time: renewed}},
	}
	for _, f := range change {
		f(&l)
	}
	return l
}

func names(members []member) []string {
	var out []string
	for _, m := range members {
		out = append(out, m.Name)
	}
	return out
}

// A member is gone when its renewals stop, whatever its clock says.
func TestLeasesAgeByTheOperatorsClock(t *testing.T) {
	clock := &leaseClock{}
	pods := []corev1.Pod{readyPod("a", noon), readyPod("b", noon), readyPod("c", noon)}
	look := func(after time.Duration, leases ...coordinationv1.Lease) []string {
		now := noon.Add(after)
		return names(liveMembers(now, leases, clock.observe(now, key, leases), pods, 10*time.Second))
	}
	// b's clock is an hour ahead, c's an hour behind.
	a, b, c := noon, noon.Add(time.Hour), noon.Add(-time.Hour)
	steps := []struct {
		after  time.Duration
		leases []coordinationv1.Lease
		want   []string
	}{
		{0, []coordinationv1.Lease{lease("a", a), lease("b", b), lease("c", c)}, []string{"a", "b", "c"}},
		{9 * time.Second, []coordinationv1.Lease{lease("a", a.Add(8)), lease("b", b), lease("c", c.Add(8))}, []string{"a", "b", "c"}},
		{10 * time.Second, []coordinationv1.Lease{lease("a", a.Add(8)), lease("b", b), lease("c", c.Add(8))}, []string{"a", "c"}},
		{18 * time.Second, []coordinationv1.Lease{lease("a", a.Add(9)), lease("b", b.Add(1)), lease("c", c.Add(8))}, []string{"a", "b", "c"}},
		{19 * time.Second, []coordinationv1.Lease{lease("a", a.Add(9)), lease("b", b.Add(1)), lease("c", c.Add(8))}, []string{"a", "b"}},
	}
	for _, s := range steps {
		if diff := cmp.Diff(s.want, look(s.after, s.leases...)); diff != "" {
			t.Errorf("after %s (-want +got):\n%s", s.after, diff)
		}
	}
	clock.drop(key)
	if len(clock.seen) != 0 {
		t.Errorf("%d Leases remembered of a cluster that is gone", len(clock.seen))
	}
}

func TestLiveMembers(t *testing.T) {
	pods := []corev1.Pod{readyPod("a", noon)}
	for name, tc := range map[string]struct {
		lease coordinationv1.Lease
		want  []string
	}{
		"its pod's":              {lease("a", noon), []string{"a"}},
		"released":               {lease("a", noon, func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = new("") }), nil},
		"no holder":              {lease("a", noon, func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = nil }), nil},
		"of a pod that is gone":  {lease("z", noon), nil},
		"that names another pod": {lease("z", noon, func(l *coordinationv1.Lease) { l.Annotations[wellknown.AnnotationPodUID] = "uid-of-a" }), nil},
		"owned by nobody":        {lease("a", noon, func(l *coordinationv1.Lease) { l.OwnerReferences = nil }), nil},
	} {
		t.Run(name, func(t *testing.T) {
			leases := []coordinationv1.Lease{tc.lease}
			got := liveMembers(noon, leases, (&leaseClock{}).observe(noon, key, leases), pods, 10*time.Second)
			if diff := cmp.Diff(tc.want, names(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCleanFor(t *testing.T) {
	says := func(dirty, changed string) coordinationv1.Lease {
		return lease("a", noon, func(l *coordinationv1.Lease) {
			l.Annotations[wellknown.AnnotationDirtyPeers], l.Annotations[wellknown.AnnotationDirtyChanged] = dirty, changed
		})
	}
	at := func(d time.Duration) string { return noon.Add(d).Format(time.RFC3339Nano) }
	for name, tc := range map[string]struct {
		first, then coordinationv1.Lease
		want        time.Duration
	}{
		"its word for the past":        {says("false", at(-time.Minute)), says("false", at(-time.Minute)), time.Minute + 5*time.Second},
		"not for the future":           {says("false", at(time.Hour)), says("false", at(time.Hour)), 5 * time.Second},
		"a change that we saw":         {says("true", at(-time.Minute)), says("false", at(-time.Hour)), 0},
		"dirty and clean between":      {says("false", at(-time.Minute)), says("false", at(-2*time.Second)), 0},
		"a member that never was":      {says("", ""), says("", ""), 5 * time.Second},
		"no time that one could parse": {says("false", "soon"), says("false", "soon"), 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			clock := &leaseClock{}
			clock.observe(noon, key, []coordinationv1.Lease{tc.first})
			now := noon.Add(5 * time.Second)
			leases := []coordinationv1.Lease{tc.then}
			got := liveMembers(now, leases, clock.observe(now, key, leases), []corev1.Pod{readyPod("a", noon)}, 10*time.Second)
			if len(got) != 1 || got[0].cleanFor != tc.want {
				t.Errorf("clean for %v, want %s", got, tc.want)
			}
		})
	}
}

func TestNextLook(t *testing.T) {
	c := &musterv1alpha1.RegistryCluster{}
	for name, tc := range map[string]struct {
		members []member
		want    time.Duration
	}{
		"nobody there":             {nil, 10 * time.Second},
		"all clean for long":       {quiet(member{}), 10 * time.Second},
		"one clean for a while":    {append(quiet(member{}), member{cleanFor: 7 * time.Second}), 3 * time.Second},
		"one nearly there":         {[]member{{cleanFor: 10*time.Second - time.Millisecond}}, time.Second},
		"one that is dirty anyhow": {[]member{{dirty: true, cleanFor: 7 * time.Second}}, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			if got := nextLook(c, inputs{members: tc.members}); got != tc.want {
				t.Errorf("next look in %s, want %s", got, tc.want)
			}
		})
	}
}

// Renewals come every 2 s from each member, and none of them is a reason to look.
func TestSaysSomethingNew(t *testing.T) {
	old := lease("a", noon)
	for name, tc := range map[string]struct {
		now  coordinationv1.Lease
		want bool
	}{
		"a renewal":       {lease("a", noon.Add(2*time.Second), func(l *coordinationv1.Lease) { l.Annotations[wellknown.AnnotationSignature] = "s" }), false},
		"a new state":     {lease("a", noon, func(l *coordinationv1.Lease) { l.Annotations[wellknown.AnnotationState] = "leaving" }), true},
		"new incarnation": {lease("a", noon, func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = new("other") }), true},
		"a release":       {lease("a", noon, func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = nil }), true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := saysSomethingNew().Update(ctrlevent.UpdateEvent{ObjectOld: &old, ObjectNew: &tc.now}); got != tc.want {
				t.Errorf("= %v, want %v", got, tc.want)
			}
		})
	}
}

func TestPodMembers(t *testing.T) {
	pod := func(image string, change ...func(*corev1.Pod)) corev1.Pod {
		p := readyPod("a", noon)
		p.Spec.Containers = []corev1.Container{{Name: "sidecar", Image: "x:1"}, {Name: "registry", Image: image}}
		for _, f := range change {
			f(&p)
		}
		return p
	}
	one := func(state, version string) []member {
		return []member{{Member: musterv1alpha1.Member{Name: "a", Address: "10.0.0.1:9849", State: state, Version: version}, podUID: "uid-of-a"}}
	}
	for name, tc := range map[string]struct {
		pod  corev1.Pod
		want []member
	}{
		"ready":      {pod("host:5000/muster:v1"), one("complete", "v1")},
		"no tag":     {pod("host:5000/muster"), one("complete", "")},
		"a digest":   {pod("muster:v1@sha256:0"), one("complete", "v1")},
		"starting":   {pod("muster:v1", func(p *corev1.Pod) { p.Status.Conditions = nil }), one("starting", "v1")},
		"leaving":    {pod("muster:v1", func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: noon} }), one("leaving", "v1")},
		"no address": {pod("muster:v1", func(p *corev1.Pod) { p.Status.PodIP = "" }), nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, podMembers([]corev1.Pod{tc.pod}), cmp.AllowUnexported(member{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
