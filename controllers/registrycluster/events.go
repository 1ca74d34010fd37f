package registrycluster

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/controllers/apply"
)

// event is one entry of the catalogue below; every Event of the operator is made here.
type event struct {
	kind   string // corev1.EventTypeNormal or Warning
	reason string
	action string
	note   string
}

func childrenChanged(changes []apply.Change) event {
	var said []string
	for _, c := range changes {
		said = append(said, strings.ToLower(c.Verb)+" "+c.Kind+" "+c.Name)
	}
	return event{corev1.EventTypeNormal, "ChildrenChanged", "Apply", strings.Join(said, ", ")}
}

func peerKeyStep(step string) event {
	return event{corev1.EventTypeNormal, "PeerKey" + step, "RotatePeerKey", map[string]string{
		stepCreated:   "made the key by which the members know each other",
		stepAnnounced: "a new peer key is announced; it is used when all members trust it",
		stepSwitched:  "all members trust the new peer key; they present it from now on",
		stepFinished:  "all members present the new peer key; the old one is trusted no more",
	}[step]}
}

func becameAvailable(note string) event {
	return event{corev1.EventTypeNormal, "Available", "Observe", note}
}

func becameUnavailable(note string) event {
	return event{corev1.EventTypeWarning, "Unavailable", "Observe", note}
}

func degraded(reason, note string) event {
	return event{corev1.EventTypeWarning, reason, "Observe", note}
}

func recovered() event {
	return event{corev1.EventTypeNormal, "Recovered", "Observe", "nothing is wrong any more"}
}

func rolloutStarted(reason, note string) event {
	return event{corev1.EventTypeNormal, reason, "Rollout", note}
}

func rolloutSettled(note string) event {
	return event{corev1.EventTypeNormal, musterv1alpha1.ReasonSettled, "Rollout", note}
}

func protectionBegan(reason, note string) event {
	return event{corev1.EventTypeWarning, reason, "Protect", note}
}

func protectionEnded() event {
	return event{corev1.EventTypeNormal, "ProtectionEnded", "Protect", "no member holds expiries back any more"}
}

func pausedNow() event {
	return event{corev1.EventTypeNormal, "Paused", "Pause", "the operator changes nothing any more"}
}

func resumed() event {
	return event{corev1.EventTypeNormal, "Resumed", "Pause", "the operator acts on changes again"}
}

// whatWasDone are the events of the writes.
func whatWasDone(changes []apply.Change, rot rotation) []event {
	var out []event
	if len(changes) > 0 {
		out = append(out, childrenChanged(changes))
	}
	for _, c := range changes {
		// The step counts when it is written, not when it is decided.
		if rot.step != "" && c.Kind == "Secret" {
			out = append(out, peerKeyStep(rot.step))
		}
	}
	return out
}

// transitions are the events of conditions that changed.
func transitions(before, after *musterv1alpha1.RegistryClusterStatus) []event {
	var out []event
	changed := func(condition string) (now *metav1.Condition, was metav1.ConditionStatus, yes bool) {
		now = meta.FindStatusCondition(after.Conditions, condition)
		old := meta.FindStatusCondition(before.Conditions, condition)
		if now == nil {
			return nil, "", false
		}
		if old == nil {
			return now, metav1.ConditionUnknown, now.Status != metav1.ConditionUnknown
		}
		return now, old.Status, old.Status != now.Status || old.Reason != now.Reason
	}
	if now, was, yes := changed(musterv1alpha1.ConditionAvailable); yes {
		switch {
		case now.Status == metav1.ConditionTrue:
			out = append(out, becameAvailable(now.Message))
		case was == metav1.ConditionTrue:
			out = append(out, becameUnavailable(now.Message))
		}
	}
	if now, was, yes := changed(musterv1alpha1.ConditionProgressing); yes {
		switch {
		case now.Status == metav1.ConditionTrue && was != metav1.ConditionTrue:
			out = append(out, rolloutStarted(now.Reason, now.Message))
		case now.Reason == musterv1alpha1.ReasonSettled:
			out = append(out, rolloutSettled(now.Message))
		}
	}
	if now, was, yes := changed(musterv1alpha1.ConditionDegraded); yes {
		switch {
		case now.Status == metav1.ConditionTrue:
			out = append(out, degraded(now.Reason, now.Message))
		case was == metav1.ConditionTrue:
			out = append(out, recovered())
		}
	}
	if now, was, yes := changed(musterv1alpha1.ConditionProtectionActive); yes {
		switch {
		case now.Status == metav1.ConditionTrue:
			out = append(out, protectionBegan(now.Reason, now.Message))
		case was == metav1.ConditionTrue && now.Status == metav1.ConditionFalse:
			out = append(out, protectionEnded())
		}
	}
	if now, was, yes := changed(musterv1alpha1.ConditionPaused); yes {
		switch {
		case now.Status == metav1.ConditionTrue:
			out = append(out, pausedNow())
		case was == metav1.ConditionTrue:
			out = append(out, resumed())
		}
	}
	return out
}

// record hands the events to the recorder, which merges repeated ones. A note may hold 1,024 bytes.
func (r *Reconciler) record(c *musterv1alpha1.RegistryCluster, all []event) {
	for _, e := range all {
		note := e.note
		if len(note) > 1000 {
			note = strings.ToValidUTF8(note[:1000], "") + "..."
		}
		r.events.Eventf(c, nil, e.kind, e.reason, e.action, "%s", note)
	}
}
