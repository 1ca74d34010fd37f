package registrycluster

import (
	"context"
	"maps"

	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	ctrlevent "sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
	"github.com/muster-registry/muster/controllers/apply"
)

// What the operator may do. Secrets may be read by name only, never listed. The verbs on leases and endpointslices
// beyond list and watch are there because nobody can give rights away that he has not got: they are the members'.
// Events of the leader election are still of the old API group.
//
// +kubebuilder:rbac:groups=registry.muster.dev,resources=registryclusters,verbs=get;list;watch
// +kubebuilder:rbac:groups=registry.muster.dev,resources=registryclusters/status,verbs=patch
// +kubebuilder:rbac:groups=registry.muster.dev,resources=registryclusters/finalizers,verbs=update
// +kubebuilder:rbac:groups=apps,resources=deployments,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=apps,resources=replicasets,verbs=list;watch
// +kubebuilder:rbac:groups="",resources=services;serviceaccounts;configmaps,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;create;patch
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=roles;rolebindings,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups=discovery.k8s.io,resources=endpointslices,verbs=get;list;watch
// +kubebuilder:rbac:groups="";events.k8s.io,resources=events,verbs=create;patch

// Setup adds the reconciler to a manager whose cache was made with CacheOptions.
func Setup(mgr ctrl.Manager, reg prometheus.Registerer, options Options) error {
	r, err := newReconciler(mgr, reg, options)
	if err != nil {
		return err
	}
	changed := predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{})
	toCluster := handler.EnqueueRequestsFromMapFunc(clusterOf)
	return ctrl.NewControllerManagedBy(mgr).
		Named("registrycluster").
		For(&musterv1alpha1.RegistryCluster{}, builder.WithPredicates(changed)).
		Owns(&corev1.ServiceAccount{}).Owns(&rbacv1.Role{}).Owns(&rbacv1.RoleBinding{}).
		Owns(&corev1.ConfigMap{}).Owns(&corev1.Service{}).Owns(&policyv1.PodDisruptionBudget{}).Owns(&appsv1.Deployment{}).
		Watches(&corev1.Pod{}, toCluster).
		Watches(&coordinationv1.Lease{}, toCluster, builder.WithPredicates(saysSomethingNew())).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4}).
		Complete(r)
}

func newReconciler(mgr ctrl.Manager, reg prometheus.Registerer, options Options) (*Reconciler, error) {
	writes, err := apply.NewWrites(reg)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(reg)
	if err != nil {
		return nil, err
	}
	return &Reconciler{
		client:  mgr.GetClient(),
		reader:  mgr.GetAPIReader(),
		applier: &apply.Applier{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Writes: writes},
		events:  mgr.GetEventRecorder(wellknown.ManagedBy),
		metrics: m,
		clock:   clock.RealClock{},
		options: options,
		makeKey: newCertificate,
	}, nil
}

// CacheOptions keep only what carries our labels in memory. No namespaces means all of them.
func CacheOptions(namespaces []string) cache.Options {
	ours := labels.NewSelector()
	if r, err := labels.NewRequirement(wellknown.LabelCluster, selection.Exists, nil); err == nil {
		ours = ours.Add(*r)
	}
	labelled := cache.ByObject{Label: ours}
	// Nobody compares these with what was applied.
	bare := cache.ByObject{Label: ours, Transform: cache.TransformStripManagedFields()}
	o := cache.Options{ByObject: map[client.Object]cache.ByObject{
		&corev1.ServiceAccount{}: labelled, &rbacv1.Role{}: labelled, &rbacv1.RoleBinding{}: labelled,
		&corev1.ConfigMap{}: labelled, &corev1.Service{}: labelled, &policyv1.PodDisruptionBudget{}: labelled,
		&appsv1.Deployment{}: labelled,
		&appsv1.ReplicaSet{}: bare, &corev1.Pod{}: bare, &coordinationv1.Lease{}: bare,
	}}
	for _, ns := range namespaces {
		if o.DefaultNamespaces == nil {
			o.DefaultNamespaces = map[string]cache.Config{}
		}
		o.DefaultNamespaces[ns] = cache.Config{}
	}
	return o
}

// clusterOf finds the RegistryCluster of a pod or a Lease.
func clusterOf(_ context.Context, obj client.Object) []reconcile.Request {
	name := obj.GetLabels()[wellknown.LabelCluster]
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: obj.GetNamespace(), Name: name}}}
}

// saysSomethingNew lets through what changes the status or a rotation. Every member renews its Lease every 2 s, and
// signs each renewal.
func saysSomethingNew() predicate.Predicate {
	said := func(obj client.Object) (string, map[string]string) {
		l, ok := obj.(*coordinationv1.Lease)
		if !ok || l.Spec.HolderIdentity == nil {
			return "", nil
		}
		a := maps.Clone(l.Annotations)
		delete(a, wellknown.AnnotationSignature)
		return *l.Spec.HolderIdentity, a
	}
	return predicate.Funcs{UpdateFunc: func(e ctrlevent.UpdateEvent) bool {
		oldHolder, oldSaid := said(e.ObjectOld)
		newHolder, newSaid := said(e.ObjectNew)
		return oldHolder != newHolder || !equality.Semantic.DeepEqual(oldSaid, newSaid)
	}}
}
