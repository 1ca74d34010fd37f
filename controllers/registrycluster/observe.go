package registrycluster

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
	"github.com/muster-registry/muster/controllers/desired"
)

// inputs is everything that is read for one reconcile; what follows is decided from it alone.
type inputs struct {
	now        time.Time
	children   []client.Object // all of the cluster's that exist, the Secret included
	secret     *corev1.Secret
	deployment *appsv1.Deployment
	service    *corev1.Service
	pods       []corev1.Pod
	members    []member
	// configs that a pod or an old ReplicaSet uses.
	configs map[string]bool
}

// observe does all the reading. From the cache, except the Secret: an operator that may list Secrets could read those
// of everybody.
func (r *Reconciler) observe(ctx context.Context, c *musterv1alpha1.RegistryCluster) (inputs, error) {
	in := inputs{now: r.clock.Now()}
	if err := r.observeChildren(ctx, c, &in); err != nil {
		return in, err
	}
	secret := &corev1.Secret{}
	switch err := r.reader.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: desired.SecretName(c.Name)}, secret); {
	case err == nil:
		in.children = append(in.children, secret)
		if madeFor(secret, c) { // somebody else's is refused when it is to be applied, and not read
			in.secret = secret
		}
	case !apierrors.IsNotFound(err):
		return in, fmt.Errorf("read Secret %s: %w", desired.SecretName(c.Name), err)
	}
	return in, r.observeMembers(ctx, c, &in)
}

// madeFor reports whether an operator made the object for a RegistryCluster of this name.
func madeFor(obj client.Object, c *musterv1alpha1.RegistryCluster) bool {
	l := obj.GetLabels()
	return l[wellknown.LabelManagedBy] == wellknown.ManagedBy && l[wellknown.LabelCluster] == c.Name
}

// observeChildren lists by label; what somebody else owns is refused when it is applied, not here.
func (r *Reconciler) observeChildren(ctx context.Context, c *musterv1alpha1.RegistryCluster, in *inputs) error {
	for _, list := range childLists() {
		if err := r.client.List(ctx, list, client.InNamespace(c.Namespace), client.MatchingLabels{wellknown.LabelCluster: c.Name}); err != nil {
			return fmt.Errorf("list children: %w", err)
		}
		items, err := meta.ExtractList(list)
		if err != nil {
			return fmt.Errorf("list children: %w", err)
		}
		for _, item := range items {
			obj := item.(client.Object)
			in.children = append(in.children, obj)
			if !metav1.IsControlledBy(obj, c) || obj.GetName() != c.Name {
				continue
			}
			switch o := obj.(type) {
			case *appsv1.Deployment:
				in.deployment = o
			case *corev1.Service:
				in.service = o
			}
		}
	}
	return nil
}

// childLists are the kinds of the children, but for the Secret.
func childLists() []client.ObjectList {
	return []client.ObjectList{
		&corev1.ServiceAccountList{}, &rbacv1.RoleList{}, &rbacv1.RoleBindingList{}, &corev1.ConfigMapList{},
		&corev1.ServiceList{}, &policyv1.PodDisruptionBudgetList{}, &appsv1.DeploymentList{},
	}
}

// observeMembers reads pods, and who of them is alive as a member.
func (r *Reconciler) observeMembers(ctx context.Context, c *musterv1alpha1.RegistryCluster, in *inputs) error {
	ours := []client.ListOption{
		client.InNamespace(c.Namespace),
		client.MatchingLabels{wellknown.LabelCluster: c.Name, wellknown.LabelClusterUID: string(c.UID)},
	}
	var pods corev1.PodList
	if err := r.client.List(ctx, &pods, ours...); err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	var sets appsv1.ReplicaSetList
	if err := r.client.List(ctx, &sets, ours...); err != nil {
		return fmt.Errorf("list ReplicaSets: %w", err)
	}
	in.pods, in.configs = ownPods(in.deployment, sets.Items, pods.Items), configsInUse(pods.Items, sets.Items)
	if c.Spec.Membership.Source == musterv1alpha1.MembershipEndpointSlice {
		in.members = podMembers(in.pods)
		return nil
	}
	var leases coordinationv1.LeaseList
	if err := r.client.List(ctx, &leases, ours...); err != nil {
		return fmt.Errorf("list Leases: %w", err)
	}
	seen := r.leases.observe(in.now, client.ObjectKeyFromObject(c), leases.Items)
	in.members = liveMembers(in.now, leases.Items, seen, in.pods, desired.Timeouts(c).MemberGoneAfter.Duration)
	return nil
}

// ownPods are the pods that the Deployment made: anybody can make one with our labels.
func ownPods(d *appsv1.Deployment, sets []appsv1.ReplicaSet, pods []corev1.Pod) []corev1.Pod {
	if d == nil {
		return nil
	}
	var own []corev1.Pod
	for i := range pods {
		if phase := pods[i].Status.Phase; phase == corev1.PodFailed || phase == corev1.PodSucceeded {
			continue // evicted, and kept only to be read about
		}
		for j := range sets {
			if metav1.IsControlledBy(&sets[j], d) && metav1.IsControlledBy(&pods[i], &sets[j]) {
				own = append(own, pods[i])
			}
		}
	}
	return own
}
