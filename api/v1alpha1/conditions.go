package v1alpha1

// Conditions of a RegistryCluster. Each one is always present, with a reason, a message and the generation it was
// computed for.
const (
	// ConditionAvailable is True while at least one member answers clients.
	ConditionAvailable = "Available"
	// ConditionProgressing is True while the running members are not yet those that the spec asks for.
	ConditionProgressing = "Progressing"
	// ConditionDegraded is True while something is wrong that does not go away by waiting for a rollout.
	ConditionDegraded = "Degraded"
	// ConditionMembersConverged is True when no member has had a peer it does not agree with for 10 s.
	ConditionMembersConverged = "MembersConverged"
	// ConditionProtectionActive is True while a member holds expiries back, because too many would happen at once.
	ConditionProtectionActive = "ProtectionActive"
	// ConditionPaused is True while the operator changes nothing, because an annotation says so.
	ConditionPaused = "Paused"
)

// ConditionTypes lists the conditions in the order in which the operator writes them.
func ConditionTypes() []string {
	return []string{
		ConditionAvailable, ConditionProgressing, ConditionDegraded, ConditionMembersConverged, ConditionProtectionActive,
		ConditionPaused,
	}
}

// Reasons of Available.
const (
	// ReasonMembersReady (True): the message says how many of the members are ready.
	ReasonMembersReady = "MembersReady"
	// ReasonNoMemberReady (False): no pod is ready, clients live on what they hold.
	ReasonNoMemberReady = "NoMemberReady"
)

// Reasons of Progressing.
const (
	// ReasonSettled (False): every member runs what the spec asks for and is ready.
	ReasonSettled = "Settled"
	// ReasonRollingOut (True): members are being replaced, one surge pod at a time.
	ReasonRollingOut = "RollingOut"
	// ReasonScaling (True): there are more or fewer members than the spec asks for.
	ReasonScaling = "Scaling"
	// ReasonMembersStarting (True): the pods are there and not all of them are complete yet.
	ReasonMembersStarting = "MembersStarting"
	// ReasonRolloutStuck (False): the Deployment gave up waiting for its new pods.
	ReasonRolloutStuck = "RolloutStuck"
)

// Reasons of Degraded, the most urgent first. Those marked stalled need somebody to change something: the operator
// does not try again until the object, or what stands in its way, changes.
const (
	// ReasonInvalidSpec (True, stalled): the spec passed admission and still cannot be carried out.
	ReasonInvalidSpec = "InvalidSpec"
	// ReasonNameTaken (True, stalled): an object of a name that the operator needs belongs to somebody else.
	ReasonNameTaken = "NameTaken"
	// ReasonRefused (True, stalled): the API server refused an object as invalid or forbidden.
	ReasonRefused = "Refused"
	// ReasonBrokenSecret (True, stalled): the Secret with the peer key cannot be read. Deleting it makes a new one,
	// and cuts the members off from each other until all of them have it.
	ReasonBrokenSecret = "BrokenSecret"
	// ReasonReconcileFailed (True): a request to the API server failed; it is tried again.
	ReasonReconcileFailed = "ReconcileFailed"
	// ReasonPodsFailing (True): a pod cannot start or keeps crashing; the message names one and says why.
	ReasonPodsFailing = "PodsFailing"
	// ReasonMembersMissing (True): a settled cluster has fewer ready members than its spec asks for.
	ReasonMembersMissing = "MembersMissing"
	// ReasonMemberSilent (True): a ready pod does not renew its Lease.
	ReasonMemberSilent = "MemberSilent"
	// ReasonViewFrozen (True): a member cannot reach the source of membership and serves its last view.
	ReasonViewFrozen = "ViewFrozen"
	// ReasonAsExpected (False): nothing of the above.
	ReasonAsExpected = "AsExpected"
)

// Reasons of ProtectionActive; and NoMembers and NotReported, as with MembersConverged.
const (
	// ReasonRegistryProtected (True): of all instances more would expire at once than spec.protection.registryPercent.
	ReasonRegistryProtected = "RegistryProtected"
	// ReasonServicesProtected (True): of some services more would than spec.protection.servicePercent.
	ReasonServicesProtected = "ServicesProtected"
	// ReasonNothingHeld (False): what is over its time ends.
	ReasonNothingHeld = "NothingHeld"
)

// Reasons of MembersConverged.
const (
	// ReasonInSync (True): no member has had a dirty peer for 10 s.
	ReasonInSync = "InSync"
	// ReasonDirtyPeers (False): a member has a peer it does not agree with; the message names it.
	ReasonDirtyPeers = "DirtyPeers"
	// ReasonRecentlyDirty (False): all agree, but not for 10 s yet.
	ReasonRecentlyDirty = "RecentlyDirty"
	// ReasonNoMembers (Unknown): there is no live member that could say.
	ReasonNoMembers = "NoMembers"
	// ReasonNotReported (Unknown): with membership.source endpointslice the members write no Leases, so nobody says.
	ReasonNotReported = "NotReported"
)

// Reasons of Paused.
const (
	// ReasonPausedByAnnotation (True): the annotation registry.muster.dev/paused is "true".
	ReasonPausedByAnnotation = "PausedByAnnotation"
	// ReasonNotPaused (False): the operator acts on changes.
	ReasonNotPaused = "NotPaused"
)

// States of a member, as its Lease says, or as its pod shows where there are no Leases.
const (
	// MemberStarting: it has not offered and merged with its peers yet, and is not ready.
	MemberStarting = "starting"
	// MemberComplete: it holds everything that it should, and answers.
	MemberComplete = "complete"
	// MemberLeaving: it hands over and stops.
	MemberLeaving = "leaving"
)
