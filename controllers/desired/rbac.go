package desired

import (
	rbacv1 "k8s.io/api/rbac/v1"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
)

// role holds exactly what the members' source of membership needs. The operator can only give what it has itself, so
// every rule here stands among its own too.
func role(c *musterv1alpha1.RegistryCluster) *rbacv1.Role {
	rule := rbacv1.PolicyRule{
		APIGroups: []string{"coordination.k8s.io"},
		Resources: []string{"leases"},
		Verbs:     []string{"get", "list", "watch", "create", "update", "patch", "delete"},
	}
	if c.Spec.Membership.Source == musterv1alpha1.MembershipEndpointSlice {
		rule = rbacv1.PolicyRule{
			APIGroups: []string{"discovery.k8s.io"},
			Resources: []string{"endpointslices"},
			Verbs:     []string{"get", "list", "watch"},
		}
	}
	return &rbacv1.Role{ObjectMeta: meta(c, c.Name), Rules: []rbacv1.PolicyRule{rule}}
}

func roleBinding(c *musterv1alpha1.RegistryCluster) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: meta(c, c.Name),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: c.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: c.Name, Namespace: c.Namespace}},
	}
}
