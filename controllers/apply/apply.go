package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
)

// Applier makes an owner's children what they should be.
type Applier struct {
	// Client writes; its reads come from a cache.
	Client client.Client
	// Reader asks the API server itself, before a name is used for the first time: the cache holds only objects with
	// our labels, and server-side apply would quietly take over somebody else's.
	Reader client.Reader
	Writes Writes
}

// Set is an owner with its children as they are and as they should be.
type Set struct {
	Owner client.Object
	// Live are the children found; those of other owners are left alone.
	Live []client.Object
	// Desired are applied in this order.
	Desired []client.Object
	// Keep says which live objects stay although they are not desired, because something still uses them.
	Keep func(client.Object) bool
}

// Change is one write that All made.
type Change struct {
	Verb string // Created, Updated or Deleted
	Kind string
	Name string
}

// Verbs of a Change.
const (
	Created = "Created"
	Updated = "Updated"
	Deleted = "Deleted"
)

// All applies what differs and deletes what is owned and not wanted any more. It returns what it did, also when it
// stops at an error.
func (a *Applier) All(ctx context.Context, set Set) ([]Change, error) {
	live := map[string]client.Object{}
	for _, obj := range set.Live {
		key, err := a.key(obj)
		if err != nil {
			return nil, err
		}
		live[key] = obj
	}
	var changes []Change
	for _, obj := range set.Desired {
		key, err := a.key(obj)
		if err != nil {
			return changes, err
		}
		change, err := a.one(ctx, set.Owner, obj, live[key])
		if err != nil {
			return changes, fmt.Errorf("apply %s: %w", key, err)
		}
		if change != nil {
			changes = append(changes, *change)
		}
		delete(live, key)
	}
	deleted, err := a.prune(ctx, set, live)
	return append(changes, deleted...), err
}

// one applies an object unless it is up to date.
func (a *Applier) one(ctx context.Context, owner, desired, live client.Object) (*Change, error) {
	verb := Updated
	if live == nil {
		found, err := a.lookUp(ctx, desired)
		if err != nil {
			return nil, err
		}
		if live = found; live == nil {
			verb = Created
		}
	}
	if live != nil {
		if err := mayWrite(owner, live); err != nil {
			return nil, err
		}
	}
	u, err := a.applied(owner, desired)
	if err != nil {
		return nil, err
	}
	if live != nil {
		current, err := isCurrent(u, live)
		if err != nil || current {
			return nil, err
		}
	}
	err = a.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(wellknown.FieldManager), client.ForceOwnership)
	switch {
	case apierrors.IsInvalid(err):
		return nil, Stalled{Reason: musterv1alpha1.ReasonRefused, Message: err.Error()}
	case apierrors.IsConflict(err):
		return nil, Waiting{After: conflictRetry, For: "a fresh look at an object that somebody else wrote"}
	case err != nil:
		return nil, err
	}
	a.Writes.count("apply", u)
	if live != nil && live.GetResourceVersion() == u.GetResourceVersion() {
		return nil, nil // the cache was late, not the object
	}
	return &Change{Verb: verb, Kind: u.GetKind(), Name: u.GetName()}, nil
}

// lookUp asks the API server for an object that the cache does not hold.
func (a *Applier) lookUp(ctx context.Context, desired client.Object) (client.Object, error) {
	found := desired.DeepCopyObject().(client.Object)
	err := a.Reader.Get(ctx, client.ObjectKeyFromObject(desired), found)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return found, err
}

// mayWrite reports why an existing object may not be written by this owner's operator.
func mayWrite(owner, live client.Object) error {
	if live.GetDeletionTimestamp() != nil {
		return Waiting{After: goneRetry, For: "the end of an object that is being deleted"}
	}
	if metav1.IsControlledBy(live, owner) {
		return nil
	}
	controller := metav1.GetControllerOf(live)
	labels := live.GetLabels()
	ours := labels[wellknown.LabelManagedBy] == wellknown.ManagedBy && labels[wellknown.LabelCluster] == owner.GetName()
	switch {
	case controller == nil && ours:
		return nil // orphaned by a deletion that kept the children: adopted
	case controller != nil && ours && controller.Name == owner.GetName():
		return Waiting{After: goneRetry, For: "the garbage collection of an earlier object of this name"}
	}
	return Stalled{
		Reason: musterv1alpha1.ReasonNameTaken,
		Message: fmt.Sprintf("%s %s exists and is not this RegistryCluster's: delete it, or give the RegistryCluster another name",
			kindOf(live), live.GetName()),
	}
}

const (
	goneRetry     = 2 * time.Second
	conflictRetry = time.Second
)

// applied is the body of the apply request: only fields that we mean, and the owner last.
func (a *Applier) applied(owner, desired client.Object) (*unstructured.Unstructured, error) {
	obj := desired.DeepCopyObject().(client.Object)
	if err := controllerutil.SetControllerReference(owner, obj, a.Client.Scheme()); err != nil {
		return nil, err
	}
	gvk, err := apiutil.GVKForObject(desired, a.Client.Scheme())
	if err != nil {
		return nil, err
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return nil, err
	}
	// Typed objects carry zero values that nobody meant.
	delete(content, "status")
	dropNulls(content)
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(gvk)
	return u, nil
}

func dropNulls(m map[string]any) {
	for k, v := range m {
		switch v := v.(type) {
		case nil:
			delete(m, k)
		case map[string]any:
			dropNulls(v)
		case []any:
			for _, e := range v {
				if e, ok := e.(map[string]any); ok {
					dropNulls(e)
				}
			}
		}
	}
}

// isCurrent reports whether applying u over live would change nothing.
func isCurrent(u *unstructured.Unstructured, live client.Object) (bool, error) {
	have, err := runtime.DefaultUnstructuredConverter.ToUnstructured(live)
	if err != nil {
		return false, err
	}
	want := u.DeepCopy()
	for _, path := range []string{"name", "namespace", "resourceVersion"} {
		unstructured.RemoveNestedField(want.Object, "metadata", path)
	}
	delete(want.Object, "apiVersion")
	delete(want.Object, "kind")
	i := slices.IndexFunc(live.GetManagedFields(), func(e metav1.ManagedFieldsEntry) bool {
		return e.Manager == wellknown.FieldManager && e.Operation == metav1.ManagedFieldsOperationApply && e.Subresource == ""
	})
	if i < 0 {
		return false, nil
	}
	var fields owned
	if err := json.Unmarshal(live.GetManagedFields()[i].FieldsV1.GetRawBytes(), &fields); err != nil {
		return false, fmt.Errorf("read managed fields: %w", err)
	}
	return upToDate(fields, want.Object, have), nil
}

// prune deletes what is owned, not desired and not kept.
func (a *Applier) prune(ctx context.Context, set Set, rest map[string]client.Object) ([]Change, error) {
	var changes []Change
	for _, obj := range set.Live {
		key, err := a.key(obj)
		if err != nil {
			return changes, err
		}
		if rest[key] == nil || !metav1.IsControlledBy(obj, set.Owner) || obj.GetDeletionTimestamp() != nil ||
			set.Keep != nil && set.Keep(obj) {
			continue
		}
		err = a.Client.Delete(ctx, obj, client.PropagationPolicy(metav1.DeletePropagationBackground),
			client.Preconditions{UID: new(obj.GetUID())})
		if client.IgnoreNotFound(err) != nil {
			return changes, fmt.Errorf("prune %s: %w", key, err)
		}
		a.Writes.count("delete", obj)
		changes = append(changes, Change{Verb: Deleted, Kind: kindOf(obj), Name: obj.GetName()})
	}
	return changes, nil
}

// key names an object within a namespace.
func (a *Applier) key(obj client.Object) (string, error) {
	gvk, err := apiutil.GVKForObject(obj, a.Client.Scheme())
	if err != nil {
		return "", err
	}
	return gvk.Kind + " " + obj.GetName(), nil
}
