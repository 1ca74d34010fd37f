package main

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
)

func TestUnsettled(t *testing.T) {
	good := func() *musterv1alpha1.RegistryCluster {
		return &musterv1alpha1.RegistryCluster{
			ObjectMeta: metav1.ObjectMeta{Generation: 2},
			Status: musterv1alpha1.RegistryClusterStatus{
				ObservedGeneration: 2, ReadyReplicas: 3, MemberCount: 3,
				Conditions: []metav1.Condition{
					{Type: musterv1alpha1.ConditionAvailable, Status: metav1.ConditionTrue},
					{Type: musterv1alpha1.ConditionProgressing, Status: metav1.ConditionFalse, Message: "settled"},
				},
			},
		}
	}
	for name, c := range map[string]struct {
		change func(*musterv1alpha1.RegistryClusterStatus)
		want   string
	}{
		"settled":              {func(*musterv1alpha1.RegistryClusterStatus) {}, ""},
		"older status":         {func(s *musterv1alpha1.RegistryClusterStatus) { s.ObservedGeneration = 1 }, "the operator has not seen it yet"},
		"no conditions":        {func(s *musterv1alpha1.RegistryClusterStatus) { s.Conditions = nil }, "3 of 3 ready, 3 members"},
		"in a rollout":         {func(s *musterv1alpha1.RegistryClusterStatus) { s.Conditions[1].Status = metav1.ConditionTrue }, "3 of 3 ready, 3 members: settled"},
		"not available":        {func(s *musterv1alpha1.RegistryClusterStatus) { s.Conditions[0].Status = metav1.ConditionFalse }, "3 of 3 ready, 3 members: "},
		"a member too few":     {func(s *musterv1alpha1.RegistryClusterStatus) { s.MemberCount = 2 }, "3 of 3 ready, 2 members"},
		"a dead one's Lease":   {func(s *musterv1alpha1.RegistryClusterStatus) { s.MemberCount = 4 }, "3 of 3 ready, 4 members"},
		"one that is no ready": {func(s *musterv1alpha1.RegistryClusterStatus) { s.ReadyReplicas = 2 }, "2 of 3 ready, 3 members"},
	} {
		t.Run(name, func(t *testing.T) {
			rc := good()
			c.change(&rc.Status)
			if got := unsettled(rc, 3); got != c.want {
				t.Errorf("unsettled: %q, want %q", got, c.want)
			}
		})
	}
}

func TestTrouble(t *testing.T) {
	waiting := func(reason, message string, restarts int32) corev1.Pod {
		return corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			RestartCount: restarts, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
		}}}}
	}
	now := metav1.Now()
	leaving := waiting("ImagePullBackOff", "", 0)
	leaving.DeletionTimestamp = &now
	for name, c := range map[string]struct {
		pod      corev1.Pod
		reason   string
		hopeless bool
	}{
		"runs":                     {corev1.Pod{}, "", false},
		"starts":                   {waiting("ContainerCreating", "", 0), "", false},
		"a first pull that failed": {waiting("ErrImagePull", "no such host\nmore", 0), "ErrImagePull: no such host", false},
		"no image":                 {waiting("ImagePullBackOff", "", 0), "ImagePullBackOff", true},
		"no image, and it leaves":  {leaving, "", false},
		"a crash":                  {waiting("CrashLoopBackOff", "", 1), "CrashLoopBackOff", false},
		"crashes":                  {waiting("CrashLoopBackOff", "", 3), "CrashLoopBackOff", true},
		"no place": {corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/3 nodes are available"},
		}}}, "not scheduled: 0/3 nodes are available", false},
	} {
		t.Run(name, func(t *testing.T) {
			reason, hopeless := trouble(c.pod)
			if reason != c.reason || hopeless != c.hopeless {
				t.Errorf("trouble: %q, %v; want %q, %v", reason, hopeless, c.reason, c.hopeless)
			}
		})
	}
}
