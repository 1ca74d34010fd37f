package registrycluster

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
	"github.com/muster-registry/muster/controllers/apply"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// deployment of three as its controller reports it.
func deployment(change ...func(*appsv1.Deployment)) *appsv1.Deployment {
	d := &appsv1.Deployment{Status: appsv1.DeploymentStatus{Replicas: 3, UpdatedReplicas: 3, ReadyReplicas: 3}}
	for _, f := range change {
		f(d)
	}
	return d
}

func readyPod(name string, since time.Time) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-of-" + name)}}
	p.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: "10.0.0.1",
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(since)}},
	}
	return p
}

func waitingPod(reason string) corev1.Pod {
	return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
		State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}},
	}}}}
}

func quiet(m ...member) []member {
	for i := range m {
		m[i].cleanFor = time.Hour
	}
	return m
}

func TestAssess(t *testing.T) {
	settled := metav1.Condition{Type: "Progressing", Status: "False", Reason: "Settled", ObservedGeneration: 2}
	type conditions map[string]string
	fine := conditions{
		"Available": "True/MembersReady", "Progressing": "False/Settled", "Degraded": "False/AsExpected",
		"MembersConverged": "True/InSync", "ProtectionActive": "False/NothingHeld", "Paused": "False/NotPaused",
	}
	with := func(more conditions) conditions {
		all := conditions{}
		for k, v := range fine {
			all[k] = v
		}
		for k, v := range more {
			all[k] = v
		}
		return all
	}
	slices := func(c *musterv1alpha1.RegistryCluster) {
		c.Spec.Membership.Source = musterv1alpha1.MembershipEndpointSlice
	}
	alive := quiet(member{}, member{}, member{})
	for name, tc := range map[string]struct {
		before  *metav1.Condition
		cluster func(*musterv1alpha1.RegistryCluster)
		in      inputs
		done    outcome
		want    conditions
	}{
		"all is well": {in: inputs{deployment: deployment(), members: alive}, want: fine},
		"nothing there yet": {in: inputs{}, want: with(conditions{
			"Available": "False/NoMemberReady", "Progressing": "True/RollingOut", "MembersConverged": "Unknown/NoMembers",
			"ProtectionActive": "Unknown/NoMembers",
		})},
		"the Deployment was written just now": {
			before: &settled, in: inputs{deployment: deployment(), members: alive},
			done: outcome{changes: []apply.Change{{Kind: "Deployment"}}}, want: with(conditions{"Progressing": "True/RollingOut"}),
		},
		"not seen by its controller yet": {
			in:   inputs{deployment: deployment(func(d *appsv1.Deployment) { d.Generation = 2 }), members: alive},
			want: with(conditions{"Progressing": "True/RollingOut"}),
		},
		"one of them is old": {
			in:   inputs{deployment: deployment(func(d *appsv1.Deployment) { d.Status.UpdatedReplicas = 2 }), members: alive},
			want: with(conditions{"Progressing": "True/RollingOut"}),
		},
		"too few": {
			before: &settled, in: inputs{deployment: deployment(func(d *appsv1.Deployment) { d.Status.Replicas, d.Status.UpdatedReplicas = 2, 2 }), members: alive},
			want: with(conditions{"Progressing": "True/Scaling"}),
		},
		"starting": {
			in:   inputs{deployment: deployment(func(d *appsv1.Deployment) { d.Status.ReadyReplicas = 1 }), members: alive},
			want: with(conditions{"Progressing": "True/MembersStarting"}),
		},
		"lost one": {
			before: &settled, in: inputs{deployment: deployment(func(d *appsv1.Deployment) { d.Status.ReadyReplicas = 2 }), members: alive},
			want: with(conditions{"Degraded": "True/MembersMissing"}),
		},
		"stuck": {in: inputs{deployment: deployment(func(d *appsv1.Deployment) {
			d.Status.ReadyReplicas = 2
			d.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionFalse}}
		}), members: alive}, want: with(conditions{"Progressing": "False/RolloutStuck", "Degraded": "True/MembersMissing"})},
		"pods are refused": {in: inputs{deployment: deployment(func(d *appsv1.Deployment) {
			d.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue}}
		}), members: alive}, want: with(conditions{"Degraded": "True/PodsFailing"})},
		"a pod that crashes":      {in: inputs{deployment: deployment(), members: alive, pods: []corev1.Pod{waitingPod("CrashLoopBackOff")}}, want: with(conditions{"Degraded": "True/PodsFailing"})},
		"a pod that just starts":  {in: inputs{deployment: deployment(), members: alive, pods: []corev1.Pod{waitingPod("ContainerCreating")}}, want: fine},
		"a ready pod, no Lease":   {in: inputs{deployment: deployment(), members: alive, pods: []corev1.Pod{readyPod("p", noon.Add(-10*time.Second))}}, want: with(conditions{"Degraded": "True/MemberSilent"})},
		"a ready pod, just ready": {in: inputs{deployment: deployment(), members: alive, pods: []corev1.Pod{readyPod("p", noon.Add(-9*time.Second))}}, want: fine},
		"a frozen view":           {in: inputs{deployment: deployment(), members: quiet(member{}, member{frozen: true})}, want: with(conditions{"Degraded": "True/ViewFrozen"})},
		"a starting member":       {in: inputs{deployment: deployment(), members: quiet(member{}, member{frozen: true, Member: musterv1alpha1.Member{State: musterv1alpha1.MemberStarting}})}, want: fine},
		"a dirty peer":            {in: inputs{deployment: deployment(), members: append(quiet(member{}), member{dirty: true})}, want: with(conditions{"MembersConverged": "False/DirtyPeers"})},
		"clean for 9 s":           {in: inputs{deployment: deployment(), members: append(quiet(member{}), member{Member: musterv1alpha1.Member{Name: "a"}, cleanFor: 9 * time.Second})}, want: with(conditions{"MembersConverged": "False/RecentlyDirty"})},
		"clean for 10 s":          {in: inputs{deployment: deployment(), members: append(quiet(member{}), member{Member: musterv1alpha1.Member{Name: "a"}, cleanFor: 10 * time.Second})}, want: fine},
		"services are protected":  {in: inputs{deployment: deployment(), members: quiet(member{}, member{protection: "services"})}, want: with(conditions{"ProtectionActive": "True/ServicesProtected"})},
		"the registry is as well": {in: inputs{deployment: deployment(), members: quiet(member{protection: "registry"}, member{protection: "services"})}, want: with(conditions{"ProtectionActive": "True/RegistryProtected"})},
		"no Leases by choice": {
			cluster: slices, in: inputs{deployment: deployment(), members: alive, pods: []corev1.Pod{readyPod("p", noon.Add(-time.Hour))}},
			want: with(conditions{"MembersConverged": "Unknown/NotReported", "ProtectionActive": "Unknown/NotReported"}),
		},
		"stalled": {
			before: &settled, in: inputs{deployment: deployment(), members: alive}, done: outcome{err: apply.Stalled{Reason: "NameTaken"}},
			want: with(conditions{"Progressing": "False/NameTaken", "Degraded": "True/NameTaken"}),
		},
		"waiting": {before: &settled, in: inputs{deployment: deployment(), members: alive}, done: outcome{err: apply.Waiting{For: "x"}}, want: fine},
		"trouble in a settled one": {
			before: &settled, in: inputs{deployment: deployment(), members: alive}, done: outcome{err: errors.New("timeout")},
			want: with(conditions{"Degraded": "True/ReconcileFailed"}),
		},
		"trouble with a new spec": {
			in: inputs{deployment: deployment(), members: alive}, done: outcome{err: errors.New("timeout")},
			want: with(conditions{"Progressing": "True/RollingOut", "Degraded": "True/ReconcileFailed"}),
		},
		"paused": {cluster: func(c *musterv1alpha1.RegistryCluster) {
			c.Annotations = map[string]string{wellknown.AnnotationPaused: "true"}
		}, in: inputs{deployment: deployment(), members: alive}, want: with(conditions{"Progressing": "False/PausedByAnnotation", "Paused": "True/PausedByAnnotation"})},
	} {
		t.Run(name, func(t *testing.T) {
			c := &musterv1alpha1.RegistryCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "registry", Generation: 2}}
			if tc.before != nil {
				c.Status.Conditions = []metav1.Condition{*tc.before}
			}
			if tc.cluster != nil {
				tc.cluster(c)
			}
			tc.in.now = noon
			assess(c, tc.in, tc.done)
			got := conditions{}
			for _, condition := range c.Status.Conditions {
				got[condition.Type] = string(condition.Status) + "/" + condition.Reason
				if condition.ObservedGeneration != 2 {
					t.Errorf("%s: generation %d", condition.Type, condition.ObservedGeneration)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// When nothing could be read, what was said before stays, but for the trouble itself.
func TestAssessUnseen(t *testing.T) {
	c := &musterv1alpha1.RegistryCluster{}
	c.Status.Members = []musterv1alpha1.Member{{Name: "a"}}
	c.Status.Conditions = []metav1.Condition{{Type: "Available", Status: "True", Reason: "MembersReady", Message: "3 of 3"}}
	assessUnseen(c, errors.New("connection refused"))
	if got := meta.FindStatusCondition(c.Status.Conditions, "Available"); got.Message != "3 of 3" {
		t.Errorf("Available: %v", got)
	}
	for condition, want := range map[string]metav1.ConditionStatus{"Degraded": "True", "MembersConverged": "Unknown", "Progressing": "Unknown", "Paused": "Unknown"} {
		if got := meta.FindStatusCondition(c.Status.Conditions, condition); got == nil || got.Status != want || got.Reason != "ReconcileFailed" {
			t.Errorf("%s: %v, want %s", condition, got, want)
		}
	}
	if len(c.Status.Members) != 1 {
		t.Error("members forgotten")
	}
}

func TestStatusFields(t *testing.T) {
	c := &musterv1alpha1.RegistryCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "registry"}}
	service := &corev1.Service{}
	service.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}, {Hostname: "lb.example.com"}, {IP: "2001:db8::1"}}
	in := inputs{deployment: deployment(), service: service, members: []member{
		{Member: musterv1alpha1.Member{Name: "a", Version: "v2"}},
		{Member: musterv1alpha1.Member{Name: "b", Version: "v1"}},
		{Member: musterv1alpha1.Member{Name: "c", Version: "v2"}},
		{Member: musterv1alpha1.Member{Name: "d"}},
	}}
	assess(c, in, outcome{})
	want := &musterv1alpha1.Endpoints{
		HTTP: "registry.ns.svc:8848", GRPC: "registry.ns.svc:9848",
		External: []string{"192.0.2.1:8848", "lb.example.com:8848", "[2001:db8::1]:8848"},
	}
	if diff := cmp.Diff(want, c.Status.Endpoints); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}
	if c.Status.Version != "v1,v2" || c.Status.MemberCount != 4 || c.Status.Replicas != 3 || c.Status.ReadyReplicas != 3 {
		t.Errorf("status %+v", c.Status)
	}
}

func TestProtectionMessage(t *testing.T) {
	held := func(name, scope, until string) member {
		return member{Member: musterv1alpha1.Member{Name: name}, protection: scope, protectionUntil: until}
	}
	for name, tc := range map[string]struct {
		members []member
		want    string
	}{
		"one of two": {
			[]member{held("a", "services", "2026-01-01T12:05:00Z"), held("b", "", "")},
			"services of which more than protection.servicePercent would expire at once are held back by a, until 2026-01-01T12:05:00Z at the latest",
		},
		"the last of them counts": {
			[]member{held("a", "registry", "2026-01-01T12:05:00Z"), held("b", "services", "2026-01-01T12:06:00Z")},
			"instances, of which more than protection.registryPercent would expire at once are held back by a, b, until 2026-01-01T12:06:00Z at the latest",
		},
		"many, and nothing held": {
			[]member{held("a", "services", ""), held("b", "services", ""), held("c", "services", ""), held("d", "services", ""), held("e", "services", "")},
			"services of which more than protection.servicePercent would expire at once are held back by a, b, c and 2 more",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := protection(&musterv1alpha1.RegistryCluster{}, tc.members).message; got != tc.want {
				t.Errorf("%s\nwant: %s", got, tc.want)
			}
		})
	}
}

// The same inputs assessed again change nothing, or the status would be written for ever.
func TestAssessIsStable(t *testing.T) {
	c := &musterv1alpha1.RegistryCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "registry"}}
	in := inputs{now: noon, deployment: deployment(), members: quiet(member{}, member{})}
	assess(c, in, outcome{})
	first := c.Status.DeepCopy()
	in.now = noon.Add(time.Hour)
	assess(c, in, outcome{})
	if diff := cmp.Diff(*first, c.Status); diff != "" {
		t.Errorf("(-first +second):\n%s", diff)
	}
}

func TestTransitions(t *testing.T) {
	status := func(pairs ...string) *musterv1alpha1.RegistryClusterStatus {
		s := &musterv1alpha1.RegistryClusterStatus{}
		for i := 0; i < len(pairs); i += 3 {
			s.Conditions = append(s.Conditions, metav1.Condition{Type: pairs[i], Status: metav1.ConditionStatus(pairs[i+1]), Reason: pairs[i+2]})
		}
		return s
	}
	for name, tc := range map[string]struct {
		before, after *musterv1alpha1.RegistryClusterStatus
		want          []string
	}{
		"the first look":     {status(), status("Available", "False", "NoMemberReady", "Progressing", "True", "RollingOut", "Degraded", "False", "AsExpected", "Paused", "False", "NotPaused"), []string{"RollingOut"}},
		"no change":          {status("Available", "True", "MembersReady"), status("Available", "True", "MembersReady"), nil},
		"available":          {status("Available", "False", "NoMemberReady"), status("Available", "True", "MembersReady"), []string{"Available"}},
		"no longer":          {status("Available", "True", "MembersReady"), status("Available", "False", "NoMemberReady"), []string{"Unavailable"}},
		"degraded":           {status("Degraded", "False", "AsExpected"), status("Degraded", "True", "PodsFailing"), []string{"PodsFailing"}},
		"degraded otherwise": {status("Degraded", "True", "PodsFailing"), status("Degraded", "True", "MembersMissing"), []string{"MembersMissing"}},
		"recovered":          {status("Degraded", "True", "PodsFailing"), status("Degraded", "False", "AsExpected"), []string{"Recovered"}},
		"a phase further":    {status("Progressing", "True", "RollingOut"), status("Progressing", "True", "MembersStarting"), nil},
		"settled":            {status("Progressing", "True", "RollingOut"), status("Progressing", "False", "Settled"), []string{"Settled"}},
		"protection":         {status("ProtectionActive", "False", "NothingHeld"), status("ProtectionActive", "True", "ServicesProtected"), []string{"ServicesProtected"}},
		"more of it":         {status("ProtectionActive", "True", "ServicesProtected"), status("ProtectionActive", "True", "RegistryProtected"), []string{"RegistryProtected"}},
		"protection is over": {status("ProtectionActive", "True", "RegistryProtected"), status("ProtectionActive", "False", "NothingHeld"), []string{"ProtectionEnded"}},
		"nobody can say":     {status("ProtectionActive", "True", "RegistryProtected"), status("ProtectionActive", "Unknown", "NoMembers"), nil},
		"paused":             {status("Paused", "False", "NotPaused"), status("Paused", "True", "PausedByAnnotation"), []string{"Paused"}},
		"resumed":            {status("Paused", "True", "PausedByAnnotation"), status("Paused", "False", "NotPaused"), []string{"Resumed"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, e := range transitions(tc.before, tc.after) {
				got = append(got, e.reason)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
