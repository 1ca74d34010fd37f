package desired

import (
	corev1 "k8s.io/api/core/v1"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
)

// serviceAccount is the members' own; the token is mounted by the pod, not by everybody who uses the account.
func serviceAccount(c *musterv1alpha1.RegistryCluster) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{
		ObjectMeta:                   meta(c, c.Name),
		AutomountServiceAccountToken: new(false),
	}
}
