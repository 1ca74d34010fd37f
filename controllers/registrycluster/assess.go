package registrycluster

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
	"github.com/muster-registry/muster/controllers/apply"
	"github.com/muster-registry/muster/controllers/desired"
)

// convergedAfter is how long no member may have had a dirty peer.
const convergedAfter = 10 * time.Second

// verdict is what is said of a condition.
type verdict struct {
	status  metav1.ConditionStatus
	reason  string
	message string
}

// outcome is what became of the plan.
type outcome struct {
	changes []apply.Change
	err     error
}

// assess writes into the object's status what was seen and done.
func assess(c *musterv1alpha1.RegistryCluster, in inputs, done outcome) {
	s := &c.Status
	settled := settledBefore(c)
	if !paused(c) {
		s.ObservedGeneration = c.Generation
	}
	s.Selector = desired.Selector(c.Name)
	s.Endpoints = endpoints(c, in.service)
	s.Replicas, s.ReadyReplicas = 0, 0
	if d := in.deployment; d != nil {
		s.Replicas, s.ReadyReplicas = d.Status.Replicas, d.Status.ReadyReplicas
	}
	s.Members, s.Version = nil, versions(in.members)
	for _, m := range in.members {
		s.Members = append(s.Members, m.Member)
	}
	s.MemberCount = int32(len(s.Members))
	progressing := progress(c, in.deployment, settled, done)
	setCondition(c, musterv1alpha1.ConditionAvailable, availability(c))
	setCondition(c, musterv1alpha1.ConditionProgressing, progressing)
	setCondition(c, musterv1alpha1.ConditionDegraded, degradation(c, in, progressing, done.err))
	setCondition(c, musterv1alpha1.ConditionMembersConverged, convergence(c, in.members))
	setCondition(c, musterv1alpha1.ConditionProtectionActive, protection(c, in.members))
	setCondition(c, musterv1alpha1.ConditionPaused, pause(c))
}

// assessUnseen is assess when the cluster could not be read: what is not known any more is not said.
func assessUnseen(c *musterv1alpha1.RegistryCluster, failure error) {
	for _, t := range musterv1alpha1.ConditionTypes() {
		if meta.FindStatusCondition(c.Status.Conditions, t) == nil {
			setCondition(c, t, verdict{metav1.ConditionUnknown, musterv1alpha1.ReasonReconcileFailed, "nothing could be read yet"})
		}
	}
	setCondition(c, musterv1alpha1.ConditionDegraded, failed(failure))
}

func setCondition(c *musterv1alpha1.RegistryCluster, condition string, v verdict) {
	meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{
		Type: condition, Status: v.status, Reason: v.reason, Message: v.message, ObservedGeneration: c.Generation,
	})
}

func availability(c *musterv1alpha1.RegistryCluster) verdict {
	if n := c.Status.ReadyReplicas; n > 0 {
		return verdict{metav1.ConditionTrue, musterv1alpha1.ReasonMembersReady, fmt.Sprintf("%d of %d members ready", n, desired.Replicas(c))}
	}
	return verdict{metav1.ConditionFalse, musterv1alpha1.ReasonNoMemberReady, "no member is ready"}
}

// settledBefore reports whether this generation of the spec was carried out once. A member missing from then on is a
// loss and no progress.
func settledBefore(c *musterv1alpha1.RegistryCluster) bool {
	p := meta.FindStatusCondition(c.Status.Conditions, musterv1alpha1.ConditionProgressing)
	return p != nil && p.Status == metav1.ConditionFalse && p.Reason == musterv1alpha1.ReasonSettled &&
		p.ObservedGeneration == c.Generation
}

// progress compares what runs with what is asked for. A Deployment that was written just now, or could not be, says
// nothing about this generation yet.
func progress(c *musterv1alpha1.RegistryCluster, d *appsv1.Deployment, settled bool, done outcome) verdict {
	want := desired.Replicas(c)
	stalled := apply.Stalled{}
	written := slices.ContainsFunc(done.changes, func(ch apply.Change) bool { return ch.Kind == "Deployment" })
	switch {
	case paused(c):
		return verdict{metav1.ConditionFalse, musterv1alpha1.ReasonPausedByAnnotation, "the operator changes nothing"}
	case errors.As(done.err, &stalled):
		return verdict{metav1.ConditionFalse, stalled.Reason, stalled.Message}
	case d == nil || written || done.err != nil && !settled:
		return verdict{metav1.ConditionTrue, musterv1alpha1.ReasonRollingOut, "the spec is being applied"}
	}
	if stuck := deploymentCondition(d, appsv1.DeploymentProgressing); stuck != nil && stuck.Status == corev1.ConditionFalse {
		return verdict{metav1.ConditionFalse, musterv1alpha1.ReasonRolloutStuck, stuck.Message}
	}
	s := d.Status
	yes := func(reason, format string, args ...any) verdict {
		return verdict{metav1.ConditionTrue, reason, fmt.Sprintf(format, args...)}
	}
	switch {
	case s.ObservedGeneration < d.Generation || s.Replicas > 0 && s.UpdatedReplicas < s.Replicas:
		return yes(musterv1alpha1.ReasonRollingOut, "%d of %d members replaced", s.UpdatedReplicas, want)
	case s.Replicas != want:
		return yes(musterv1alpha1.ReasonScaling, "%d of %d members", s.Replicas, want)
	case s.ReadyReplicas < want && !settled:
		return yes(musterv1alpha1.ReasonMembersStarting, "%d of %d members ready", s.ReadyReplicas, want)
	}
	return verdict{metav1.ConditionFalse, musterv1alpha1.ReasonSettled, fmt.Sprintf("%d members as asked for", want)}
}

// degradation looks for the most urgent trouble.
func degradation(c *musterv1alpha1.RegistryCluster, in inputs, progressing verdict, failure error) verdict {
	yes := func(reason, format string, args ...any) verdict {
		return verdict{metav1.ConditionTrue, reason, fmt.Sprintf(format, args...)}
	}
	if failure != nil {
		return failed(failure)
	}
	if refused := deploymentCondition(in.deployment, appsv1.DeploymentReplicaFailure); refused != nil && refused.Status == corev1.ConditionTrue {
		return yes(musterv1alpha1.ReasonPodsFailing, "%s: %s", refused.Reason, refused.Message)
	}
	if failing := failingPod(in.pods); failing != "" {
		return yes(musterv1alpha1.ReasonPodsFailing, "%s", failing)
	}
	if progressing.reason == musterv1alpha1.ReasonRolloutStuck {
		return yes(musterv1alpha1.ReasonMembersMissing, "%s", progressing.message)
	}
	if ready, want := c.Status.ReadyReplicas, desired.Replicas(c); progressing.status == metav1.ConditionFalse && ready < want {
		return yes(musterv1alpha1.ReasonMembersMissing, "%d of %d members ready", ready, want)
	}
	if name := silentPod(c, in); name != "" {
		return yes(musterv1alpha1.ReasonMemberSilent, "pod %s is ready and does not renew its Lease", name)
	}
	for _, m := range in.members {
		// one that is only starting has not seen the source yet, and serves nothing
		if m.frozen && m.State != musterv1alpha1.MemberStarting {
			return yes(musterv1alpha1.ReasonViewFrozen, "member %s serves a frozen view: it cannot reach the source of membership", m.Name)
		}
	}
	return verdict{metav1.ConditionFalse, musterv1alpha1.ReasonAsExpected, "nothing is wrong"}
}

// failed maps the error of a reconcile. Waiting is no trouble, and a conflict is over with the next look.
func failed(failure error) verdict {
	stalled, waiting := apply.Stalled{}, apply.Waiting{}
	switch {
	case errors.As(failure, &stalled):
		return verdict{metav1.ConditionTrue, stalled.Reason, stalled.Message}
	case errors.As(failure, &waiting):
		return verdict{metav1.ConditionFalse, musterv1alpha1.ReasonAsExpected, failure.Error()}
	}
	return verdict{metav1.ConditionTrue, musterv1alpha1.ReasonReconcileFailed, failure.Error()}
}

// silentPod finds a pod that has been ready for longer than a Lease lives and has none.
func silentPod(c *musterv1alpha1.RegistryCluster, in inputs) string {
	if c.Spec.Membership.Source == musterv1alpha1.MembershipEndpointSlice {
		return ""
	}
	for i := range in.pods {
		p := &in.pods[i]
		since := readySince(p)
		if since.IsZero() || p.DeletionTimestamp != nil || in.now.Sub(since) < desired.Timeouts(c).MemberGoneAfter.Duration {
			continue
		}
		if !slices.ContainsFunc(in.members, func(m member) bool { return m.podUID == p.UID }) {
			return p.Name
		}
	}
	return ""
}

func convergence(c *musterv1alpha1.RegistryCluster, members []member) verdict {
	if c.Spec.Membership.Source == musterv1alpha1.MembershipEndpointSlice {
		return verdict{metav1.ConditionUnknown, musterv1alpha1.ReasonNotReported, "members report it in Leases, which membership.source endpointslice does without; ask their metrics"}
	}
	if len(members) == 0 {
		return verdict{metav1.ConditionUnknown, musterv1alpha1.ReasonNoMembers, "no member is alive"}
	}
	recent := ""
	for _, m := range members {
		if m.dirty {
			return verdict{metav1.ConditionFalse, musterv1alpha1.ReasonDirtyPeers, fmt.Sprintf("member %s has a peer that it does not agree with", m.Name)}
		}
		if m.cleanFor < convergedAfter {
			recent = m.Name
		}
	}
	if recent != "" {
		return verdict{metav1.ConditionFalse, musterv1alpha1.ReasonRecentlyDirty, fmt.Sprintf("member %s agrees with its peers, for less than %s", recent, convergedAfter)}
	}
	return verdict{metav1.ConditionTrue, musterv1alpha1.ReasonInSync, fmt.Sprintf("no member has had a dirty peer for %s", convergedAfter)}
}

// protection sums up what the members' Leases say of their brakes. Its text changes when members or full minutes do, and
// not with what is held.
func protection(c *musterv1alpha1.RegistryCluster, members []member) verdict {
	if c.Spec.Membership.Source == musterv1alpha1.MembershipEndpointSlice {
		return verdict{metav1.ConditionUnknown, musterv1alpha1.ReasonNotReported, "members report it in Leases, which membership.source endpointslice does without; ask their metrics"}
	}
	if len(members) == 0 {
		return verdict{metav1.ConditionUnknown, musterv1alpha1.ReasonNoMembers, "no member is alive"}
	}
	var names []string
	reason, what, until := musterv1alpha1.ReasonServicesProtected, "services of which more than protection.servicePercent", ""
	for _, m := range members {
		if m.protection == "" {
			continue
		}
		names, until = append(names, m.Name), max(until, m.protectionUntil)
		if m.protection == wellknown.ProtectionRegistry {
			reason, what = musterv1alpha1.ReasonRegistryProtected, "instances, of which more than protection.registryPercent"
		}
	}
	if len(names) == 0 {
		return verdict{metav1.ConditionFalse, musterv1alpha1.ReasonNothingHeld, "no member holds expiries back"}
	}
	message := fmt.Sprintf("%s would expire at once are held back by %s", what, someNames(names))
	if until != "" {
		message += ", until " + until + " at the latest"
	}
	return verdict{metav1.ConditionTrue, reason, message}
}

// someNames keeps a message short, however many members there are.
func someNames(names []string) string {
	const most = 3
	if more := len(names) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}

func pause(c *musterv1alpha1.RegistryCluster) verdict {
	if paused(c) {
		return verdict{metav1.ConditionTrue, musterv1alpha1.ReasonPausedByAnnotation, "the operator changes nothing until the annotation " + wellknown.AnnotationPaused + " is removed"}
	}
	return verdict{metav1.ConditionFalse, musterv1alpha1.ReasonNotPaused, "the operator acts on changes"}
}

func paused(c *musterv1alpha1.RegistryCluster) bool {
	return c.Annotations[wellknown.AnnotationPaused] == "true"
}

func deploymentCondition(d *appsv1.Deployment, t appsv1.DeploymentConditionType) *appsv1.DeploymentCondition {
	if d == nil {
		return nil
	}
	for i := range d.Status.Conditions {
		if d.Status.Conditions[i].Type == t {
			return &d.Status.Conditions[i]
		}
	}
	return nil
}

// versions that members run, sorted.
func versions(members []member) string {
	var all []string
	for _, m := range members {
		if m.Version != "" {
			all = append(all, m.Version)
		}
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ",")
}

func endpoints(c *musterv1alpha1.RegistryCluster, service *corev1.Service) *musterv1alpha1.Endpoints {
	host := c.Name + "." + c.Namespace + ".svc"
	at := func(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
	e := &musterv1alpha1.Endpoints{HTTP: at(host, wellknown.PortHTTP), GRPC: at(host, wellknown.PortHTTP+wellknown.GRPCPortOffset)}
	if service == nil {
		return e
	}
	for _, in := range service.Status.LoadBalancer.Ingress {
		for _, h := range []string{in.Hostname, in.IP} {
			if h != "" {
				e.External = append(e.External, at(h, wellknown.PortHTTP))
			}
		}
	}
	return e
}
