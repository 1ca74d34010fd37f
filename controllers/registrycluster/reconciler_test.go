package registrycluster

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	testingclock "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
	"github.com/muster-registry/muster/controllers/apply"
)

// lateCache answers for a RegistryCluster what it was when it was made.
type lateCache struct {
	client.Client
	made *musterv1alpha1.RegistryCluster
}

// Get implements client.Reader.
func (l lateCache) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if c, ok := obj.(*musterv1alpha1.RegistryCluster); ok {
		l.made.DeepCopyInto(c)
		return nil
	}
	return l.Client.Get(ctx, key, obj, opts...)
}

// A Lease may change before the cache has the status that the change before it brought.
func TestEventsWhileTheCacheIsBehind(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, musterv1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c := &musterv1alpha1.RegistryCluster{ObjectMeta: metav1.ObjectMeta{
		Namespace: "ns", Name: "registry", UID: "uid-1", Annotations: map[string]string{wellknown.AnnotationPaused: "true"},
	}}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{
		Namespace: "ns", Name: "registry", Labels: map[string]string{wellknown.LabelCluster: "registry"},
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(c, musterv1alpha1.GroupVersion.WithKind("RegistryCluster"))},
	}}
	server := fake.NewClientBuilder().WithScheme(scheme).WithObjects(c, d).WithStatusSubresource(c, d).Build()
	cache := lateCache{Client: server, made: c.DeepCopy()}
	reg := prometheus.NewRegistry()
	writes, err := apply.NewWrites(reg)
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	recorder := events.NewFakeRecorder(100)
	r := &Reconciler{
		client: cache, reader: server, applier: &apply.Applier{Client: cache, Reader: server, Writes: writes},
		events: recorder, metrics: m, clock: testingclock.NewFakePassiveClock(time.Now()), makeKey: newCertificate,
	}
	for _, ready := range []int32{3, 0, 3, 3} {
		d.Status = appsv1.DeploymentStatus{Replicas: 3, ReadyReplicas: ready, AvailableReplicas: ready}
		if err := server.Status().Update(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(c)}); err != nil {
			t.Fatal(err)
		}
	}
	close(recorder.Events)
	var got []string
	for e := range recorder.Events {
		if reason := strings.Fields(e)[1]; strings.HasSuffix(reason, "vailable") {
			got = append(got, reason)
		}
	}
	if want := []string{"Available", "Unavailable", "Available"}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}
