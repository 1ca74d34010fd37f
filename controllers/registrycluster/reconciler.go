package registrycluster

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/controllers/apply"
	"github.com/muster-registry/muster/controllers/desired"
)

// Options of the operator for this kind.
type Options struct {
	// RegistryImage is what members run where the spec names no image.
	RegistryImage string
}

// Reconciler carries out RegistryClusters.
type Reconciler struct {
	client  client.Client
	reader  client.Reader // past the cache
	applier *apply.Applier
	events  events.EventRecorder
	metrics metrics
	clock   clock.PassiveClock
	options Options
	makeKey func(time.Time) (desired.Certificate, error)
	leases  leaseClock
}

// Reconcile brings one RegistryCluster a step nearer to its spec. Children are deleted by the garbage collector, which
// needs no operator; so there is no finalizer, and an object that is being deleted is left alone.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	c := &musterv1alpha1.RegistryCluster{}
	// Past the cache: one that has not got the last status yet makes a change back look like none, and says nothing of it.
	switch err := r.reader.Get(ctx, req.NamespacedName, c); {
	case apierrors.IsNotFound(err):
		r.leases.drop(req.NamespacedName)
		r.metrics.drop(req.NamespacedName)
		return ctrl.Result{}, nil
	case err != nil:
		return ctrl.Result{}, err
	}
	if c.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	status := apply.NewSerialStatus(r.client, c, r.applier.Writes)
	before := c.Status.DeepCopy()
	look, notices, err := r.phases(ctx, c)
	if _, failure := status.Patch(ctx, c); failure != nil {
		return ctrl.Result{}, client.IgnoreNotFound(failure)
	}
	r.metrics.report(c)
	r.record(c, append(notices, transitions(before, &c.Status)...))
	return apply.Outcome(err, look)
}

// phases gathers, decides, applies and assesses. It returns when to look again, and what happened.
func (r *Reconciler) phases(ctx context.Context, c *musterv1alpha1.RegistryCluster) (time.Duration, []event, error) {
	in, err := r.observe(ctx, c)
	if err != nil {
		assessUnseen(c, err)
		return 0, nil, err
	}
	var done outcome
	var notices []event
	if !paused(c) {
		var rot rotation
		done, rot = r.carryOut(ctx, c, in)
		notices = whatWasDone(done.changes, rot)
	}
	assess(c, in, done)
	return nextLook(c, in), notices, done.err
}

// carryOut decides and applies.
func (r *Reconciler) carryOut(ctx context.Context, c *musterv1alpha1.RegistryCluster, in inputs) (outcome, rotation) {
	set, rot, err := r.plan(c, in)
	if err != nil {
		return outcome{err: err}, rotation{}
	}
	changes, err := r.applier.All(ctx, set)
	if rot.waiting != "" {
		log.FromContext(ctx).V(1).Info("peer key rotation waits", "for", rot.waiting)
	}
	return outcome{changes: changes, err: err}, rot
}
