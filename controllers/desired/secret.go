package desired

import (
	corev1 "k8s.io/api/core/v1"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
)

// What only the operator reads from the Secret; the pods mount the other three entries alone.
const (
	nextCertFile = "next.crt"
	nextKeyFile  = "next.key"
	// annotationRotatedFor is the last value of wellknown.AnnotationRotatePeerKey that was acted on.
	annotationRotatedFor = wellknown.Group + "/rotated-for"
	// annotationStepSince is when the running step of a rotation began.
	annotationStepSince = wellknown.Group + "/rotation-step-since"
)

// peerSecret holds the peer key. It is outside the rollout hash: members read it again at every handshake.
// The resource version makes its apply fail if somebody wrote it since it was read: two operators must not both
// rotate.
func peerSecret(c *musterv1alpha1.RegistryCluster, k PeerKey) *corev1.Secret {
	s := &corev1.Secret{
		ObjectMeta: meta(c, SecretName(c.Name)),
		Type:       corev1.SecretTypeOpaque,
		Data: map[string][]byte{
			wellknown.PeerCertFile:    k.Cert,
			wellknown.PeerKeyFile:     k.Key,
			wellknown.PeerTrustedFile: k.Trusted,
		},
	}
	s.ResourceVersion = k.ResourceVersion
	s.Annotations = map[string]string{annotationRotatedFor: k.RotatedFor}
	if k.Since != "" {
		s.Annotations[annotationStepSince] = k.Since
	}
	if len(k.NextKey) > 0 {
		s.Data[nextCertFile], s.Data[nextKeyFile] = k.NextCert, k.NextKey
	}
	return s
}

// ReadPeerKey is the way back from the Secret.
func ReadPeerKey(s *corev1.Secret) PeerKey {
	return PeerKey{
		Cert:            s.Data[wellknown.PeerCertFile],
		Key:             s.Data[wellknown.PeerKeyFile],
		Trusted:         s.Data[wellknown.PeerTrustedFile],
		NextCert:        s.Data[nextCertFile],
		NextKey:         s.Data[nextKeyFile],
		RotatedFor:      s.Annotations[annotationRotatedFor],
		Since:           s.Annotations[annotationStepSince],
		ResourceVersion: s.ResourceVersion,
	}
}
