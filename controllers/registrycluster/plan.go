package registrycluster

import (
	"cmp"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/controllers/apply"
	"github.com/muster-registry/muster/controllers/desired"
)

// plan decides everything that is written in one reconcile.
func (r *Reconciler) plan(c *musterv1alpha1.RegistryCluster, in inputs) (apply.Set, rotation, error) {
	image := cmp.Or(c.Spec.Image, r.options.RegistryImage)
	if err := check(c, image); err != nil {
		return apply.Set{}, rotation{}, err
	}
	rot, err := rotate(c, in, r.makeKey)
	if err != nil {
		return apply.Set{}, rotation{}, err
	}
	objects, err := desired.Build(c, desired.Decision{Image: image, PeerKey: rot.key})
	if err != nil {
		return apply.Set{}, rotation{}, err
	}
	set := apply.Set{Owner: c, Live: in.children, Keep: func(obj client.Object) bool {
		config, is := obj.(*corev1.ConfigMap)
		return is && in.configs[config.Name]
	}}
	for _, obj := range objects {
		set.Desired = append(set.Desired, obj)
	}
	return set, rot, nil
}

// nextLook is when to reconcile again though nothing was seen to change: a Lease that is no longer renewed, and a
// member that has been clean for long enough, tell nobody.
func nextLook(c *musterv1alpha1.RegistryCluster, in inputs) time.Duration {
	look := desired.Timeouts(c).MemberGoneAfter.Duration
	for _, m := range in.members {
		if left := convergedAfter - m.cleanFor; !m.dirty && left > 0 && left < look {
			look = left
		}
	}
	return max(look, time.Second)
}
