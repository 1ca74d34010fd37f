package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
)

// Bounds of what is printed about something that does not come up.
const (
	logTail    = 15
	mostEvents = 15
	mostLogs   = 4
)

// notUp is the state of something that is not there yet, with the pod that holds it up; it is fatal when no waiting helps.
func (d *demo) notUp(ctx context.Context, ns, state string) (string, bool, error) {
	var pods corev1.PodList
	if err := d.kube.objects.List(ctx, &pods, client.InNamespace(ns)); err != nil {
		return "", false, err
	}
	for _, p := range pods.Items {
		reason, hopeless := trouble(p)
		switch {
		case hopeless && isPull(reason):
			return "", false, fatal{fmt.Errorf("pod %s/%s on %s: %s.\n%s", ns, p.Name, p.Spec.NodeName, reason, d.missingImage())}
		case hopeless:
			return "", false, fatal{fmt.Errorf("pod %s/%s on %s: %s", ns, p.Name, p.Spec.NodeName, reason)}
		case reason != "":
			state += fmt.Sprintf("; %s: %s", p.Name, reason)
		}
	}
	return state, false, nil
}

func (d *demo) missingImage() string {
	switch {
	case d.kube.lab != nil:
		return "The lab's node has lost it: run `make demo` again."
	case d.push != "":
		return "The nodes cannot pull what was pushed: do they reach " + d.push + ", and is it public?"
	}
	return strings.TrimSpace(howImagesArrive()) + "\nThen run `make demo` again."
}

// crashes of a container that are no start-up race any more.
const tooManyRestarts = 3

// trouble says why a pod does not run, and whether waiting is in vain.
func trouble(p corev1.Pod) (reason string, hopeless bool) {
	if p.DeletionTimestamp != nil {
		return "", false
	}
	for _, c := range p.Status.ContainerStatuses {
		w := c.State.Waiting
		if w == nil || w.Reason == "ContainerCreating" || w.Reason == "PodInitializing" {
			continue
		}
		text := w.Reason
		if w.Message != "" {
			text += ": " + firstLine(w.Message)
		}
		switch w.Reason {
		case "CrashLoopBackOff":
			return text, c.RestartCount >= tooManyRestarts
		case "ErrImageNeverPull", "InvalidImageName", "ImagePullBackOff":
			return text, true
		}
		return text, false
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return "not scheduled: " + firstLine(c.Message), false
		}
	}
	return "", false
}

func isPull(reason string) bool { return strings.Contains(reason, "Image") }

// explain prints what the cluster says about itself when a step failed, and passes the error on.
func (d *demo) explain(ctx context.Context, cause error) error {
	if d.kube == nil || ctx.Err() != nil {
		return cause
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	d.say.title("It did not work. What the cluster says:")
	settled := false
	if rc, err := d.registryCluster(ctx); err == nil {
		d.say.plain(conditions(rc))
		settled = unsettled(rc, int(rc.Status.Replicas)) == ""
	}
	var heard noticed
	ofMembers := errors.As(cause, &heard)
	logs := 0
	for _, ns := range []string{operatorNamespace, namespace} {
		var pods corev1.PodList
		if err := d.kube.objects.List(ctx, &pods, client.InNamespace(ns)); err != nil {
			d.say.plain(fmt.Sprintf("pods of %s: %v", ns, err))
			continue
		}
		for _, p := range pods.Items {
			d.say.plain(podLine(p))
			telling := !ready(p) || ns == operatorNamespace && !settled || ofMembers && p.Labels[wellknown.LabelCluster] != ""
			if telling && logs < mostLogs {
				logs++
				d.printLog(ctx, p)
			}
		}
		d.printEvents(ctx, ns)
	}
	d.say.plain(fmt.Sprintf("\nMore:   %s --kubeconfig %s get pods -A   # describe, logs\nAgain:  make demo\nAfresh: %s",
		d.kubectl(), d.kube.kubeconfig, strings.Join(d.takeDown(), "\n        ")))
	return cause
}

func conditions(rc *musterv1alpha1.RegistryCluster) string {
	lines := []string{fmt.Sprintf("RegistryCluster %s/%s:", rc.Namespace, rc.Name)}
	for _, kind := range musterv1alpha1.ConditionTypes() {
		if c := meta.FindStatusCondition(rc.Status.Conditions, kind); c != nil {
			lines = append(lines, fmt.Sprintf("  %s=%s %s: %s", kind, c.Status, c.Reason, c.Message))
		}
	}
	if len(lines) == 1 {
		lines = append(lines, "  no conditions: the operator has not written any")
	}
	return strings.Join(lines, "\n")
}

func podLine(p corev1.Pod) string {
	text := fmt.Sprintf("pod %s/%s on %s: %s", p.Namespace, p.Name, p.Spec.NodeName, p.Status.Phase)
	if !ready(p) {
		text += ", not ready"
	}
	if n := restarts(p); n > 0 {
		text += ", " + plural(n, "restart")
	}
	if reason, _ := trouble(p); reason != "" {
		text += ": " + reason
	}
	return text
}

func ready(p corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// printLog shows the end of a pod's log, of the run before when it crashed.
func (d *demo) printLog(ctx context.Context, p corev1.Pod) {
	tail := int64(logTail)
	for _, previous := range []bool{true, false} {
		if previous && restarts(p) == 0 {
			continue
		}
		text, err := d.kube.set.CoreV1().Pods(p.Namespace).GetLogs(p.Name, &corev1.PodLogOptions{TailLines: &tail, Previous: previous}).DoRaw(ctx)
		if err != nil || len(text) == 0 {
			continue // a container that never started has none; its state above says why
		}
		for line := range strings.Lines(string(text)) {
			d.say.plain("  | " + strings.TrimRight(line, "\n"))
		}
	}
}

// printEvents shows the youngest warnings of a namespace.
func (d *demo) printEvents(ctx context.Context, ns string) {
	var list corev1.EventList
	if err := d.kube.objects.List(ctx, &list, client.InNamespace(ns)); err != nil {
		d.say.plain(fmt.Sprintf("events of %s: %v", ns, err))
		return
	}
	warnings := slices.DeleteFunc(list.Items, func(e corev1.Event) bool { return e.Type != corev1.EventTypeWarning })
	slices.SortFunc(warnings, func(a, b corev1.Event) int { return seenAt(a).Compare(seenAt(b)) })
	for _, e := range warnings[max(0, len(warnings)-mostEvents):] {
		d.say.plain(fmt.Sprintf("event %s %s/%s %s: %s", seenAt(e).Local().Format(time.TimeOnly), e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, firstLine(e.Message)))
	}
}

func seenAt(e corev1.Event) time.Time {
	switch {
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	case !e.EventTime.IsZero():
		return e.EventTime.Time
	}
	return e.CreationTimestamp.Time
}
