package v1alpha1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Timeouts are the timeouts and graces of the design, one group for the file and for the RegistryCluster.
// All have defaults; the rules between them are checked at admission and by Validate. The rules ask whether a field is
// there only because the API server checks the group's own default, {}, before it fills in the fields.
//
// +kubebuilder:validation:XValidation:rule="!has(self.leaseRenewInterval) || !has(self.memberGoneAfter) || duration(self.leaseRenewInterval) + duration(self.leaseRenewInterval) + duration(self.leaseRenewInterval) <= duration(self.memberGoneAfter)",message="timeouts.leaseRenewInterval must be at most a third of timeouts.memberGoneAfter: two renewals may be lost"
// +kubebuilder:validation:XValidation:rule="!has(self.silentConnectionGrace) || !has(self.connectionGrace) || duration(self.silentConnectionGrace) <= duration(self.connectionGrace)",message="timeouts.silentConnectionGrace must not be longer than timeouts.connectionGrace"
// +kubebuilder:validation:XValidation:rule="!has(self.refutedGrace) || !has(self.memberLossGrace) || duration(self.refutedGrace) <= duration(self.memberLossGrace)",message="timeouts.refutedGrace must not be longer than timeouts.memberLossGrace"
// +kubebuilder:validation:XValidation:rule="!has(self.beatUnhealthyAfter) || !has(self.beatRemoveAfter) || duration(self.beatUnhealthyAfter) < duration(self.beatRemoveAfter)",message="timeouts.beatUnhealthyAfter must be shorter than timeouts.beatRemoveAfter"
// +kubebuilder:validation:XValidation:rule="!has(self.coldStartQuiet) || !has(self.coldStartLimit) || duration(self.coldStartQuiet) <= duration(self.coldStartLimit)",message="timeouts.coldStartQuiet must not be longer than timeouts.coldStartLimit"
// +kubebuilder:validation:XValidation:rule="!has(self.memberGoneAfter) || !has(self.memberLossGrace) || duration(self.memberGoneAfter) < duration(self.memberLossGrace)",message="timeouts.memberGoneAfter must be shorter than timeouts.memberLossGrace"
type Timeouts struct {
	// LeaseRenewInterval is the time between two renewals of a member's Lease.
	// +kubebuilder:default="2s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('500ms') && duration(self) <= duration('1m')",message="timeouts.leaseRenewInterval must be between 500ms and 1m"
	// +optional
	LeaseRenewInterval metav1.Duration `json:"leaseRenewInterval,omitempty"`
	// MemberGoneAfter is the age of a Lease without a renewal at which its member is gone.
	// +kubebuilder:default="10s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('3s') && duration(self) <= duration('5m')",message="timeouts.memberGoneAfter must be between 3s and 5m"
	// +optional
	MemberGoneAfter metav1.Duration `json:"memberGoneAfter,omitempty"`
	// BootstrapLimit is how long a new member waits for replicas that cannot be reached before it is ready without them.
	// +kubebuilder:default="30s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('10m')",message="timeouts.bootstrapLimit must be between 1s and 10m"
	// +optional
	BootstrapLimit metav1.Duration `json:"bootstrapLimit,omitempty"`
	// DrainGrace is the longest time a leaving member takes to hand over. The pod's termination grace follows from it.
	// +kubebuilder:default="60s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('5s') && duration(self) <= duration('1h')",message="timeouts.drainGrace must be between 5s and 1h"
	// +optional
	DrainGrace metav1.Duration `json:"drainGrace,omitempty"`
	// ConnectionGrace keeps the instances of a publisher that lost its connection while their ports answer.
	// Python clients register again after up to 30 s.
	// +kubebuilder:default="40s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('1h')",message="timeouts.connectionGrace must be between 0s and 1h"
	// +optional
	ConnectionGrace metav1.Duration `json:"connectionGrace,omitempty"`
	// SilentConnectionGrace is the same for instances whose ports never answered.
	// +kubebuilder:default="5s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('1h')",message="timeouts.silentConnectionGrace must be between 0s and 1h"
	// +optional
	SilentConnectionGrace metav1.Duration `json:"silentConnectionGrace,omitempty"`
	// MemberLossGrace keeps the instances of publishers whose member is gone: the trouble is ours.
	// +kubebuilder:default="5m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('30s') && duration(self) <= duration('24h')",message="timeouts.memberLossGrace must be between 30s and 24h"
	// +optional
	MemberLossGrace metav1.Duration `json:"memberLossGrace,omitempty"`
	// RefutedGrace is the same for instances whose port answered once and refuses now.
	// +kubebuilder:default="45s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('24h')",message="timeouts.refutedGrace must be between 0s and 24h"
	// +optional
	RefutedGrace metav1.Duration `json:"refutedGrace,omitempty"`
	// BeatUnhealthyAfter is the silence of a beating client after which its instances are unhealthy,
	// unless their metadata says otherwise (preserved.heart.beat.timeout).
	// +kubebuilder:default="15s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('1h')",message="timeouts.beatUnhealthyAfter must be between 1s and 1h"
	// +optional
	BeatUnhealthyAfter metav1.Duration `json:"beatUnhealthyAfter,omitempty"`
	// BeatRemoveAfter is the silence after which they are removed (preserved.ip.delete.timeout).
	// +kubebuilder:default="30s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('1h')",message="timeouts.beatRemoveAfter must be between 1s and 1h"
	// +optional
	BeatRemoveAfter metav1.Duration `json:"beatRemoveAfter,omitempty"`
	// TombstoneLifetime is how long a removal is remembered.
	// +kubebuilder:default="10m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('24h')",message="timeouts.tombstoneLifetime must be between 1m and 24h"
	// +optional
	TombstoneLifetime metav1.Duration `json:"tombstoneLifetime,omitempty"`
	// PushWindow merges the changes of a service after the first one has gone out.
	// +kubebuilder:default="50ms"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('5s')",message="timeouts.pushWindow must be between 0s and 5s"
	// +optional
	PushWindow metav1.Duration `json:"pushWindow,omitempty"`
	// ColdStartQuiet is the time without a new record after which a registry that started without any complete
	// member opens its reads.
	// +kubebuilder:default="6s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('10m')",message="timeouts.coldStartQuiet must be between 0s and 10m"
	// +optional
	ColdStartQuiet metav1.Duration `json:"coldStartQuiet,omitempty"`
	// ColdStartLimit opens the reads even if records keep coming.
	// +kubebuilder:default="35s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('10m')",message="timeouts.coldStartLimit must be between 0s and 10m"
	// +optional
	ColdStartLimit metav1.Duration `json:"coldStartLimit,omitempty"`
}

// DefaultTimeouts returns the values of the design. They are the defaults of the schema too (a test compares them).
func DefaultTimeouts() Timeouts {
	d := func(v time.Duration) metav1.Duration { return metav1.Duration{Duration: v} }
	return Timeouts{
		LeaseRenewInterval:    d(2 * time.Second),
		MemberGoneAfter:       d(10 * time.Second),
		BootstrapLimit:        d(30 * time.Second),
		DrainGrace:            d(60 * time.Second),
		ConnectionGrace:       d(40 * time.Second),
		SilentConnectionGrace: d(5 * time.Second),
		MemberLossGrace:       d(5 * time.Minute),
		RefutedGrace:          d(45 * time.Second),
		BeatUnhealthyAfter:    d(15 * time.Second),
		BeatRemoveAfter:       d(30 * time.Second),
		TombstoneLifetime:     d(10 * time.Minute),
		PushWindow:            d(50 * time.Millisecond),
		ColdStartQuiet:        d(6 * time.Second),
		ColdStartLimit:        d(35 * time.Second),
	}
}
