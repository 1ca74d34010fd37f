package apply

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// SerialStatus is the only writer of an object's status: the phases of a reconcile change the object in memory, and
// at its end one patch carries what really changed.
type SerialStatus struct {
	client client.StatusClient
	before client.Object
	writes Writes
}

// NewSerialStatus remembers the object as it was read.
func NewSerialStatus(c client.StatusClient, obj client.Object, writes Writes) *SerialStatus {
	return &SerialStatus{client: c, before: obj.DeepCopyObject().(client.Object), writes: writes}
}

// Patch writes the status of after, if it differs from the one that was read, and reports whether it wrote.
func (s *SerialStatus) Patch(ctx context.Context, after client.Object) (bool, error) {
	was, err := statusOf(s.before)
	if err != nil {
		return false, err
	}
	is, err := statusOf(after)
	if err != nil || equality.Semantic.DeepEqual(was, is) {
		return false, err
	}
	if err := s.client.Status().Patch(ctx, after, client.MergeFrom(s.before)); err != nil {
		return false, fmt.Errorf("write status: %w", err)
	}
	s.writes.count("status", after)
	s.before = after.DeepCopyObject().(client.Object)
	return true, nil
}

func statusOf(obj client.Object) (any, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return nil, fmt.Errorf("read status: %w", err)
	}
	return content["status"], nil
}
