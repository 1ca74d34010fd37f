// Package wellknown holds the names that the operator and the registry must spell alike: labels, annotations, Lease
// fields, ports, environment variables and paths. Constants only. The two programs share this, the file format of
// api/config and the kinds of api/v1alpha1, and nothing else.
package wellknown

// Group is the API group of all kinds of the project.
const Group = "registry.muster.dev"

// Labels. The first four are set on every child of a RegistryCluster.
const (
	LabelManagedBy   = "app.kubernetes.io/managed-by" // always ManagedBy
	LabelName        = "app.kubernetes.io/name"       // always AppName
	LabelInstance    = "app.kubernetes.io/instance"   // the RegistryCluster's name
	LabelComponent   = "app.kubernetes.io/component"  // Component...
	LabelCluster     = Group + "/cluster"             // the RegistryCluster's name: on pods and member Leases
	LabelClusterUID  = Group + "/cluster-uid"         // its UID: two clusters of one name in turn never meet
	ManagedBy        = "muster-operator"
	AppName          = "muster-registry"
	ComponentMember  = "member"
	FieldManager     = "muster-operator"
	AnnotationPaused = Group + "/paused" // "true" on a RegistryCluster: the operator changes nothing
	// AnnotationRotatePeerKey on a RegistryCluster: each new value asks for one rotation of the peer key.
	AnnotationRotatePeerKey = Group + "/rotate-peer-key"
)

// Annotations of a member's Lease. spec.holderIdentity is the incarnation; the signature covers all of them,
// the cluster UID, the pod UID, the holder and the renew time.
const (
	AnnotationPodUID       = Group + "/pod-uid"
	AnnotationPeerAddress  = Group + "/peer-address" // host:port
	AnnotationClientPort   = Group + "/client-port"  // HTTP; the gRPC port is 1000 more
	AnnotationZone         = Group + "/zone"
	AnnotationVersion      = Group + "/version"
	AnnotationState        = Group + "/state"         // starting, complete, leaving
	AnnotationPresents     = Group + "/peer-presents" // fingerprint of the peer certificate that the member presents
	AnnotationTrusts       = Group + "/peer-trusts"   // fingerprints of those it trusts, sorted, comma separated
	AnnotationSignature    = Group + "/signature"
	AnnotationDirtyPeers   = Group + "/dirty-peers"   // "true" while the member has a peer it does not agree with
	AnnotationDirtyChanged = Group + "/dirty-changed" // RFC 3339, when dirty-peers last changed
	AnnotationViewFrozen   = Group + "/view-frozen"   // "true" when the member serves a frozen view
	// AnnotationProtection says for what the member holds expiries back: Protection..., "" for nothing.
	AnnotationProtection      = Group + "/protection"
	AnnotationProtectionUntil = Group + "/protection-until" // RFC 3339, full minutes: all that is held is let go by then
)

// What AnnotationProtection says.
const (
	ProtectionRegistry = "registry" // of all instances more would expire at once than may
	ProtectionServices = "services" // of some services
)

// Ports of a member. Nacos clients compute the gRPC port as HTTP + 1000.
const (
	PortHTTP       = 8848
	PortGRPC       = 9848
	PortPeer       = 9849
	PortAdmin      = 8849
	PortNameHTTP   = "http"
	PortNameGRPC   = "grpc"
	PortNamePeer   = "peer"
	PortNameAdmin  = "admin"
	GRPCPortOffset = 1000
)

// Paths on the admin port.
const (
	PathHealthz = "/healthz" // liveness: never depends on peers
	PathReadyz  = "/readyz"  // readiness: complete
	PathMetrics = "/metrics"
	PathDrain   = "/drain" // POST, from preStop: starts the drain and answers when it is over
)

// Environment variables that a member reads in a pod (downward API).
const (
	EnvPodName      = "POD_NAME"
	EnvPodUID       = "POD_UID"
	EnvPodNamespace = "POD_NAMESPACE"
	EnvPodIP        = "POD_IP"
	EnvZone         = "MUSTER_ZONE"
)

// Paths in the container.
const (
	ConfigDir      = "/etc/muster/config"
	ConfigFile     = "/etc/muster/config/server.yaml"
	PeerTLSDir     = "/etc/muster/peer" // PeerCertFile, PeerKeyFile, PeerTrustedFile
	StateDir       = "/var/lib/muster"  // an emptyDir: the last view, for a restart while the API is down (R6)
	RegistryBinary = "/registry"
	OperatorBinary = "/operator"
)

// Files of the peer key, the same in the Secret, in the mounted directory and for membership by file.
const (
	PeerCertFile    = "tls.crt"
	PeerKeyFile     = "tls.key"
	PeerTrustedFile = "trusted.pem"
)
