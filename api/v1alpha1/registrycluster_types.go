package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	configv1alpha1 "github.com/muster-registry/muster/api/config/v1alpha1"
)

// RegistryCluster is one service registry: a Deployment of stateless members that speak the Nacos naming protocols,
// and everything they need. Its name becomes the name of the Service that clients are given.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=rgc,categories=muster
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.replicas,statuspath=.status.replicas,selectorpath=.status.selector
// +kubebuilder:printcolumn:name="Ready",type=integer,JSONPath=`.status.readyReplicas`,description="members that answer clients"
// +kubebuilder:printcolumn:name="Desired",type=integer,JSONPath=`.spec.replicas`,description="members asked for"
// +kubebuilder:printcolumn:name="Members",type=integer,JSONPath=`.status.memberCount`,description="live members by their Leases"
// +kubebuilder:printcolumn:name="Converged",type=string,JSONPath=`.status.conditions[?(@.type=="MembersConverged")].status`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.status.version`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 52 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be the name of a Service (lower case letters, digits and dashes, a letter first) of at most 52 characters"
// +kubebuilder:validation:XValidation:rule="!self.metadata.name.endsWith('-internal')",message="metadata.name must not end in -internal: another RegistryCluster's internal Service has such a name"
type RegistryCluster struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what is asked for.
	// +kubebuilder:default={}
	// +optional
	Spec RegistryClusterSpec `json:"spec,omitzero"`
	// Status is what is there. Only the operator writes it.
	// +optional
	Status RegistryClusterStatus `json:"status,omitzero"`
}

// RegistryClusterList is a list of RegistryClusters.
//
// +kubebuilder:object:root=true
type RegistryClusterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []RegistryCluster `json:"items"`
}

// RegistryClusterSpec says what to run. Every field has a default: an empty spec is a registry of three members.
type RegistryClusterSpec struct {
	// Replicas is the number of members. With one member a node drain or a rollout of the node is an outage of a
	// few seconds, during which clients live on the lists they hold; nothing blocks the drain.
	// +kubebuilder:default=3
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	// +optional
	Replicas *int32 `json:"replicas,omitempty"`
	// Image of the registry. Without it the members run the operator's default image, and follow it when the operator
	// is upgraded.
	// +kubebuilder:validation:MinLength=1
	// +optional
	Image string `json:"image,omitempty"`
	// ImagePullPolicy as in a container. Empty = the default of Kubernetes for the image's tag.
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	// +optional
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`
	// ImagePullSecrets name Secrets of the same namespace.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	// +optional
	ImagePullSecrets []corev1.LocalObjectReference `json:"imagePullSecrets,omitempty"`
	// Resources of a member. From the limits the operator sets GOMEMLIMIT (90 % of the memory) and GOMAXPROCS.
	// An autoscaler needs the requests.
	// +kubebuilder:default={requests: {cpu: "100m", memory: "64Mi"}}
	// +optional
	Resources corev1.ResourceRequirements `json:"resources,omitzero"`
	// ReplicationFactor is how many members hold a copy of a record, in different zones where there are some: 0 = every
	// member, else at least 2. With a factor, memory and writes per member fall as members are added. It may be changed
	// at any time: the members are replaced one by one, and hand over their copies.
	// +kubebuilder:default=0
	// +kubebuilder:validation:XValidation:rule="self == 0 || self >= 2",message="replicationFactor must be 0 (a copy on every member) or at least 2: a single copy dies with its member"
	// +optional
	ReplicationFactor int32 `json:"replicationFactor,omitempty"`
	// Membership says how the members find each other.
	// +kubebuilder:default={}
	// +optional
	Membership Membership `json:"membership,omitzero"`
	// Timeouts and graces, all defaulted.
	// +kubebuilder:default={}
	// +optional
	Timeouts configv1alpha1.Timeouts `json:"timeouts,omitzero"`
	// Probing asks the ports of instances whether anybody is there: of those that nobody stands for or that are silent, and of new ones once.
	// +kubebuilder:default={}
	// +optional
	Probing Probing `json:"probing,omitzero"`
	// Protection holds back what would expire when that is too much at once.
	// +kubebuilder:default={}
	// +optional
	Protection Protection `json:"protection,omitzero"`
	// Rebalancing evens out the client connections over the members.
	// +kubebuilder:default={}
	// +optional
	Rebalancing Rebalancing `json:"rebalancing,omitzero"`
	// LogLevel of the members.
	// +kubebuilder:default=info
	// +kubebuilder:validation:Enum=debug;info;warn;error
	// +optional
	LogLevel string `json:"logLevel,omitempty"`
	// PodTemplate overrides parts of the members' pods.
	// +optional
	PodTemplate PodTemplate `json:"podTemplate,omitzero"`
	// Service is the one that clients are given.
	// +kubebuilder:default={type: ClusterIP}
	// +optional
	Service ClientService `json:"service,omitzero"`
}

// MembershipSource names a way in which members find each other.
//
// +kubebuilder:validation:Enum=lease;endpointslice
type MembershipSource string

// Sources of membership in Kubernetes.
const (
	// MembershipLease: each member owns a Lease and watches those of the others. A dead member is gone after 10 s.
	MembershipLease MembershipSource = "lease"
	// MembershipEndpointSlice: the addresses behind the internal Service, for places where pods may not write Leases.
	// Its bound is looser: a lost node is gone after about 40 s.
	MembershipEndpointSlice MembershipSource = "endpointslice"
)

// Membership says how the members find each other.
type Membership struct {
	// Source cannot be changed: members of two different sources would not see each other.
	// +kubebuilder:default=lease
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="membership.source cannot be changed: members of two sources would not see each other; make a new RegistryCluster"
	// +optional
	Source MembershipSource `json:"source,omitempty"`
}

// Probing is a bare TCP connect to the port of an instance; no byte is sent.
type Probing struct {
	// Enabled is true unless switched off.
	// +kubebuilder:default=true
	// +optional
	Enabled *bool `json:"enabled,omitempty"`
	// PerSecond bounds the connects that one member makes.
	// +kubebuilder:default=100
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	// +optional
	PerSecond int32 `json:"perSecond,omitempty"`
	// Deny lists CIDRs that are never probed. Link-local and loopback addresses never are.
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.all(c, isCIDR(c))",message="probing.deny must hold CIDRs such as 10.0.0.0/8"
	// +optional
	Deny []string `json:"deny,omitempty"`
}

// Protection says how much may expire at once: clients that fall silent without a word. When more would, the trouble is
// more likely the network's or the registry's: what no probe confirms is held back, and the rest goes at a limited rate.
// The condition ProtectionActive tells of it. An order of a client to remove its instance is never held back.
type Protection struct {
	// Enabled is true unless switched off.
	// +kubebuilder:default=true
	// +optional
	Enabled *bool `json:"enabled,omitempty"`
	// ServicePercent of a service's instances may be lost within a window.
	// +kubebuilder:default=30
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	// +optional
	ServicePercent int32 `json:"servicePercent,omitempty"`
	// RegistryPercent of all instances may be.
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	// +optional
	RegistryPercent int32 `json:"registryPercent,omitempty"`
	// MinInstances is how many a service, or the registry, must have to be judged by that.
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	// +optional
	MinInstances int32 `json:"minInstances,omitempty"`
	// Window over which losses are counted.
	// +kubebuilder:default="1m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('1h')",message="protection.window must be between 1s and 1h"
	// +optional
	Window metav1.Duration `json:"window,omitempty"`
	// PerSecond bounds what one member ends while more is held back: what probing confirms, and what was held long enough.
	// +kubebuilder:default=50
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	// +optional
	PerSecond int32 `json:"perSecond,omitempty"`
	// MaxHold is how long an instance is held back that nothing confirms.
	// +kubebuilder:default="5m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('24h')",message="protection.maxHold must be between 0s and 24h"
	// +optional
	MaxHold metav1.Duration `json:"maxHold,omitempty"`
	// KeepLast holds as long what would leave a service without any instance, however few it has.
	// +kubebuilder:default=false
	// +optional
	KeepLast bool `json:"keepLast,omitempty"`
}

// Rebalancing asks clients of a member that holds more than its share to connect elsewhere, after a scale-out mostly. A
// client is never asked twice within a minute.
type Rebalancing struct {
	// Enabled is true unless switched off.
	// +kubebuilder:default=true
	// +optional
	Enabled *bool `json:"enabled,omitempty"`
	// PerSecond bounds the clients that one member asks.
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	// +optional
	PerSecond int32 `json:"perSecond,omitempty"`
}

// PodTemplate overrides parts of the members' pods. What is not here is the operator's: ports, probes, volumes,
// the drain, and a container that meets the restricted Pod Security standard.
type PodTemplate struct {
	// Labels added to the pods. Those of the operator cannot be replaced.
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k in ['app.kubernetes.io/managed-by', 'app.kubernetes.io/name', 'app.kubernetes.io/instance', 'app.kubernetes.io/component']) && !k.startsWith('registry.muster.dev/'))",message="podTemplate.labels must not hold the operator's own: app.kubernetes.io/{managed-by,name,instance,component} and registry.muster.dev/*"
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
	// Annotations added to the pods.
	// +kubebuilder:validation:MaxProperties=64
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
	// Affinity of the pods. Members keep to different zones where nodes have one, unless a podAntiAffinity or
	// topologySpreadConstraints are set.
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`
	// Tolerations of the pods.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	// TopologySpreadConstraints replace the default, which is over nodes where there is a choice, and over zones (see affinity).
	// +listType=map
	// +listMapKey=topologyKey
	// +listMapKey=whenUnsatisfiable
	// +kubebuilder:validation:MaxItems=16
	// +optional
	TopologySpreadConstraints []corev1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`
	// PriorityClassName of the pods.
	// +optional
	PriorityClassName string `json:"priorityClassName,omitempty"`
	// SecurityContext of the pods, laid over the default (not root, user 65532, seccomp RuntimeDefault) field by field.
	// +optional
	SecurityContext *corev1.PodSecurityContext `json:"securityContext,omitempty"`
}

// ClientService is the Service that clients are given: HTTP on 8848, gRPC on 9848.
//
// +kubebuilder:validation:XValidation:rule="!has(self.nodePorts) || self.type != 'ClusterIP'",message="service.nodePorts needs service.type NodePort or LoadBalancer"
// +kubebuilder:validation:XValidation:rule="self.type != 'NodePort' || has(self.nodePorts)",message="service.nodePorts is required for service.type NodePort: clients compute the gRPC port from the HTTP one, so chance must not choose them"
type ClientService struct {
	// Type of the Service.
	// +kubebuilder:default=ClusterIP
	// +kubebuilder:validation:Enum=ClusterIP;NodePort;LoadBalancer
	// +optional
	Type corev1.ServiceType `json:"type,omitempty"`
	// Annotations of the Service, for instance those of a load balancer.
	// +kubebuilder:validation:MaxProperties=64
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
	// NodePorts are the ports on every node.
	// +optional
	NodePorts *NodePorts `json:"nodePorts,omitempty"`
}

// NodePorts are a pair, because Nacos clients compute the gRPC port from the HTTP one.
//
// +kubebuilder:validation:XValidation:rule="!has(self.grpc) || self.grpc == self.http + 1000",message="service.nodePorts.grpc must be service.nodePorts.http + 1000: clients compute it"
type NodePorts struct {
	// HTTP port on the nodes; the gRPC port is 1000 more.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64535
	HTTP int32 `json:"http"`
	// GRPC port on the nodes. It may be left out; if it is given it must be http + 1000.
	// +optional
	GRPC *int32 `json:"grpc,omitempty"`
}

// RegistryClusterStatus is what the operator sees. There is no counter in it that would move all the time.
type RegistryClusterStatus struct {
	// ObservedGeneration is the newest generation that the operator has acted on.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Replicas is the number of pods, for the scale subresource.
	// +optional
	Replicas int32 `json:"replicas"`
	// ReadyReplicas is the number of pods that are ready: members that are complete and answer.
	// +optional
	ReadyReplicas int32 `json:"readyReplicas"`
	// MemberCount is the length of members, for the printer column.
	// +optional
	MemberCount int32 `json:"memberCount"`
	// Selector finds the members' pods, for autoscalers.
	// +optional
	Selector string `json:"selector,omitempty"`
	// Version that the members run; several, sorted and comma separated, during an upgrade.
	// +optional
	Version string `json:"version,omitempty"`
	// Endpoints are the addresses to give to clients.
	// +optional
	Endpoints *Endpoints `json:"endpoints,omitempty"`
	// Members that are alive, by address.
	// +listType=atomic
	// +optional
	Members []Member `json:"members,omitempty"`
	// Conditions: Available, Progressing, Degraded, MembersConverged, ProtectionActive, Paused.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Endpoints are the addresses to give to clients, as host:port.
type Endpoints struct {
	// HTTP is what a Nacos client calls its server address; it computes the gRPC port itself.
	HTTP string `json:"http"`
	// GRPC is the address that follows from it.
	GRPC string `json:"grpc"`
	// External are server addresses at the load balancer, once it has some.
	// +listType=atomic
	// +optional
	External []string `json:"external,omitempty"`
}

// Member is one live registry process.
type Member struct {
	// Name of its pod.
	Name string `json:"name"`
	// Incarnation is its identity, new at every start. Unknown without Leases.
	// +optional
	Incarnation string `json:"incarnation,omitempty"`
	// Address is the host:port for its peers.
	// +optional
	Address string `json:"address,omitempty"`
	// Zone it says it runs in.
	// +optional
	Zone string `json:"zone,omitempty"`
	// State: starting, complete or leaving.
	// +optional
	State string `json:"state,omitempty"`
	// Version of its program.
	// +optional
	Version string `json:"version,omitempty"`
}
