package desired

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
)

// ContainerName of the registry in a member's pod.
const ContainerName = "registry"

// Volumes of a member's pod.
const (
	configVolume = "config"
	peerVolume   = "peer"
	stateVolume  = "state"
)

func container(c *musterv1alpha1.RegistryCluster, image string) corev1.Container {
	resources := resources(c.Spec.Resources)
	return corev1.Container{
		Name:            ContainerName,
		Image:           image,
		ImagePullPolicy: c.Spec.ImagePullPolicy,
		Command:         []string{wellknown.RegistryBinary},
		Args:            []string{"--config", wellknown.ConfigFile},
		Env:             environment(resources.Limits),
		Ports: []corev1.ContainerPort{
			containerPort(wellknown.PortNameHTTP, wellknown.PortHTTP),
			containerPort(wellknown.PortNameGRPC, wellknown.PortGRPC),
			containerPort(wellknown.PortNamePeer, wellknown.PortPeer),
			containerPort(wellknown.PortNameAdmin, wellknown.PortAdmin),
		},
		Resources: resources,
		VolumeMounts: []corev1.VolumeMount{
			{Name: configVolume, MountPath: wellknown.ConfigDir, ReadOnly: true},
			// The directory, not files: a file mounted by itself would never be updated.
			{Name: peerVolume, MountPath: wellknown.PeerTLSDir, ReadOnly: true},
			{Name: stateVolume, MountPath: wellknown.StateDir},
		},
		ReadinessProbe:  probe(wellknown.PathReadyz, 1, 3),
		LivenessProbe:   probe(wellknown.PathHealthz, 10, 6),
		Lifecycle:       &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{wellknown.RegistryBinary, "drain"}}}},
		SecurityContext: containerSecurity(),
	}
}

// containerSecurity meets the restricted Pod Security standard; the root file system is read-only, a member writes
// into its state volume only.
func containerSecurity() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false),
		ReadOnlyRootFilesystem:   new(true),
		RunAsNonRoot:             new(true),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}

// probe on the admin port. Readiness is asked every second, because clients of a new member and the rollout behind it
// wait for it. Liveness is patient for a minute: a member that is slow is better than one that starts anew.
func probe(path string, period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: path, Port: intstr.FromString(wellknown.PortNameAdmin), Scheme: corev1.URISchemeHTTP,
		}},
		PeriodSeconds:    period,
		TimeoutSeconds:   3,
		FailureThreshold: failures,
	}
}

func containerPort(name string, port int32) corev1.ContainerPort {
	return corev1.ContainerPort{Name: name, ContainerPort: port, Protocol: corev1.ProtocolTCP}
}

func volumes(c *musterv1alpha1.RegistryCluster, config string) []corev1.Volume {
	items := make([]corev1.KeyToPath, 0, 3)
	for _, file := range []string{wellknown.PeerCertFile, wellknown.PeerKeyFile, wellknown.PeerTrustedFile} {
		items = append(items, corev1.KeyToPath{Key: file, Path: file})
	}
	return []corev1.Volume{
		{Name: configVolume, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: config},
		}}},
		{Name: peerVolume, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
			SecretName: SecretName(c.Name), Items: items, DefaultMode: new(int32(0o440)),
		}}},
		// The last view, for a container that restarts while the API is away (R6).
		{Name: stateVolume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
			SizeLimit: new(resource.MustParse("64Mi")),
		}}},
	}
}
