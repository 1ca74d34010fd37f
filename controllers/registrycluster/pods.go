package registrycluster

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
	"github.com/muster-registry/muster/controllers/desired"
)

// podMembers is what can be said of the members where they write no Leases: the pods behind the internal Service, with
// their readiness for a state and the tag of their image for a version.
func podMembers(pods []corev1.Pod) []member {
	var members []member
	for i := range pods {
		p := &pods[i]
		if p.Status.PodIP == "" || p.Status.Phase != corev1.PodRunning {
			continue
		}
		members = append(members, member{
			Member: musterv1alpha1.Member{
				Name:    p.Name,
				Address: net.JoinHostPort(p.Status.PodIP, strconv.Itoa(wellknown.PortPeer)),
				Zone:    p.Labels[corev1.LabelTopologyZone],
				State:   podState(p),
				Version: imageTag(p),
			},
			podUID: p.UID,
		})
	}
	return sortMembers(members)
}

func podState(p *corev1.Pod) string {
	switch {
	case p.DeletionTimestamp != nil:
		return musterv1alpha1.MemberLeaving
	case readySince(p).IsZero():
		return musterv1alpha1.MemberStarting
	}
	return musterv1alpha1.MemberComplete
}

func imageTag(p *corev1.Pod) string {
	for i := range p.Spec.Containers {
		if p.Spec.Containers[i].Name != desired.ContainerName {
			continue
		}
		name, _, _ := strings.Cut(p.Spec.Containers[i].Image, "@")
		if at := strings.LastIndex(name, ":"); at > strings.LastIndex(name, "/") {
			return name[at+1:]
		}
	}
	return ""
}

// readySince is when the pod became ready; zero if it is not.
func readySince(p *corev1.Pod) time.Time {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return c.LastTransitionTime.Time
		}
	}
	return time.Time{}
}

// failingPod says of the first pod that needs help what is wrong with it.
func failingPod(pods []corev1.Pod) string {
	for i := range pods {
		p := &pods[i]
		if p.DeletionTimestamp != nil {
			continue
		}
		for _, s := range p.Status.ContainerStatuses {
			if w := s.State.Waiting; w != nil && hopeless(w.Reason) {
				return fmt.Sprintf("pod %s: %s: %s", p.Name, w.Reason, w.Message)
			}
		}
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
				return fmt.Sprintf("pod %s: %s: %s", p.Name, c.Reason, c.Message)
			}
		}
	}
	return ""
}

// hopeless are the reasons of a waiting container that mean more than that it has not started yet.
func hopeless(reason string) bool {
	return slices.Contains([]string{
		"CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName",
		"CreateContainerConfigError", "CreateContainerError", "RunContainerError",
	}, reason)
}

// configsInUse are the ConfigMaps that a pod mounts, or would mount after a rollback.
func configsInUse(pods []corev1.Pod, sets []appsv1.ReplicaSet) map[string]bool {
	used := map[string]bool{}
	note := func(spec *corev1.PodSpec) {
		for _, v := range spec.Volumes {
			if v.ConfigMap != nil {
				used[v.ConfigMap.Name] = true
			}
		}
	}
	for i := range pods {
		note(&pods[i].Spec)
	}
	for i := range sets {
		note(&sets[i].Spec.Template.Spec)
	}
	return used
}
