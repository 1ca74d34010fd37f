package apply

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
)

func owner() *musterv1alpha1.RegistryCluster {
	return &musterv1alpha1.RegistryCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "registry", UID: "uid-1"}}
}

func config(name, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}, Data: map[string]string{"k": value}}
}

// world is an API server that counts what is written, with the Applier that works on it.
type world struct {
	client.Client
	applier *Applier
	writes  int
}

func newWorld(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, musterv1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	w := &world{}
	if funcs.Apply == nil {
		funcs.Apply = func(ctx context.Context, c client.WithWatch, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			w.writes++
			return c.Apply(ctx, obj, opts...)
		}
	}
	funcs.SubResourcePatch = func(ctx context.Context, c client.Client, sub string, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
		w.writes++
		return c.SubResource(sub).Patch(ctx, obj, patch, opts...)
	}
	w.Client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithReturnManagedFields().
		WithStatusSubresource(&musterv1alpha1.RegistryCluster{}).WithInterceptorFuncs(funcs).Build()
	writes, err := NewWrites(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	w.applier = &Applier{Client: w.Client, Reader: w.Client, Writes: writes}
	return w
}

// live is what a controller would observe.
func (w *world) live(t *testing.T) []client.Object {
	t.Helper()
	var list corev1.ConfigMapList
	if err := w.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	var out []client.Object
	for i := range list.Items {
		out = append(out, &list.Items[i])
	}
	return out
}

func TestAllWritesWhatDiffersAndPrunesTheRest(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{})
	foreign := config("foreign", "x")
	if err := w.Create(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name    string
		desired []client.Object
		keep    string
		want    []Change
	}{
		{"create", []client.Object{config("a", "1"), config("b", "1")}, "", []Change{{Created, "ConfigMap", "a"}, {Created, "ConfigMap", "b"}}},
		{"the same again", []client.Object{config("a", "1"), config("b", "1")}, "", nil},
		{"a change", []client.Object{config("a", "2"), config("b", "1")}, "", []Change{{Updated, "ConfigMap", "a"}}},
		{"kept", []client.Object{config("a", "2")}, "b", nil},
		{"pruned", []client.Object{config("a", "2")}, "", []Change{{Deleted, "ConfigMap", "b"}}},
	} {
		got, err := w.applier.All(t.Context(), Set{
			Owner: owner(), Live: w.live(t), Desired: step.desired,
			Keep: func(obj client.Object) bool { return obj.GetName() == step.keep },
		})
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	if w.writes != 3 {
		t.Errorf("%d applies, want 3: what is up to date is not written", w.writes)
	}
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(foreign), foreign); err != nil {
		t.Errorf("somebody else's object: %v", err)
	}
}

// A cache that does not know an object yet must not lead to taking it over.
func TestAllLooksBeforeItCreates(t *testing.T) {
	w := newWorld(t, interceptor.Funcs{}, config("a", "theirs"))
	_, err := w.applier.All(t.Context(), Set{Owner: owner(), Desired: []client.Object{config("a", "ours")}})
	stalled := Stalled{}
	if !errors.As(err, &stalled) || stalled.Reason != musterv1alpha1.ReasonNameTaken {
		t.Errorf("error %v, want %s", err, musterv1alpha1.ReasonNameTaken)
	}
	if w.writes != 0 {
		t.Error("it was written")
	}
}

func TestMayWrite(t *testing.T) {
	labels := map[string]string{wellknown.LabelManagedBy: wellknown.ManagedBy, wellknown.LabelCluster: "registry"}
	by := func(name string, uid types.UID) []metav1.OwnerReference {
		return []metav1.OwnerReference{{Kind: "RegistryCluster", Name: name, UID: uid, Controller: new(true)}}
	}
	for name, tc := range map[string]struct {
		meta metav1.ObjectMeta
		want error
	}{
		"its own":               {metav1.ObjectMeta{OwnerReferences: by("registry", owner().UID)}, nil},
		"its own, going":        {metav1.ObjectMeta{OwnerReferences: by("registry", owner().UID), DeletionTimestamp: &metav1.Time{}}, Waiting{}},
		"orphaned":              {metav1.ObjectMeta{Labels: labels}, nil},
		"an earlier object's":   {metav1.ObjectMeta{Labels: labels, OwnerReferences: by("registry", "old")}, Waiting{}},
		"another cluster's":     {metav1.ObjectMeta{Labels: labels, OwnerReferences: by("other", "old")}, Stalled{}},
		"nobody's":              {metav1.ObjectMeta{}, Stalled{}},
		"labelled, for another": {metav1.ObjectMeta{Labels: map[string]string{wellknown.LabelManagedBy: wellknown.ManagedBy, wellknown.LabelCluster: "other"}}, Stalled{}},
	} {
		t.Run(name, func(t *testing.T) {
			tc.meta.Name = "a"
			got := mayWrite(owner(), &corev1.ConfigMap{ObjectMeta: tc.meta})
			if fmt.Sprintf("%T", got) != fmt.Sprintf("%T", tc.want) {
				t.Errorf("mayWrite = %T %v, want %T", got, got, tc.want)
			}
		})
	}
}

// What the API server answers decides how the operator goes on.
func TestAllMapsErrors(t *testing.T) {
	kind, resource := schema.GroupKind{Kind: "ConfigMap"}, schema.GroupResource{Resource: "configmaps"}
	for name, tc := range map[string]struct{ answer, want error }{
		"invalid":   {apierrors.NewInvalid(kind, "a", nil), Stalled{}},
		"conflict":  {apierrors.NewConflict(resource, "a", errors.New("it was written")), Waiting{}},
		"forbidden": {apierrors.NewForbidden(resource, "a", errors.New("no right")), &apierrors.StatusError{}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, interceptor.Funcs{Apply: func(context.Context, client.WithWatch, runtime.ApplyConfiguration, ...client.ApplyOption) error {
				return tc.answer
			}})
			_, err := w.applier.All(t.Context(), Set{Owner: owner(), Desired: []client.Object{config("a", "1")}})
			if got := fmt.Sprintf("%T", errors.Unwrap(err)); got != fmt.Sprintf("%T", tc.want) {
				t.Errorf("error is %s (%v), want %T", got, err, tc.want)
			}
		})
	}
}

func TestOutcome(t *testing.T) {
	trouble := errors.New("trouble")
	for name, tc := range map[string]struct {
		err     error
		want    ctrl.Result
		wantErr error
	}{
		"fine":            {nil, ctrl.Result{RequeueAfter: 10 * time.Second}, nil},
		"waiting":         {fmt.Errorf("apply x: %w", Waiting{After: time.Second}), ctrl.Result{RequeueAfter: time.Second}, nil},
		"waiting long":    {Waiting{After: time.Hour}, ctrl.Result{RequeueAfter: 10 * time.Second}, nil},
		"stalled":         {Stalled{Reason: "R"}, ctrl.Result{RequeueAfter: 10 * time.Second}, nil},
		"stalled, joined": {errors.Join(Stalled{Reason: "R"}, Waiting{After: time.Second}), ctrl.Result{RequeueAfter: 10 * time.Second}, nil},
		"trouble":         {trouble, ctrl.Result{}, trouble},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Outcome(tc.err, 10*time.Second)
			if got != tc.want || !errors.Is(err, tc.wantErr) {
				t.Errorf("Outcome = %v, %v; want %v, %v", got, err, tc.want, tc.wantErr)
			}
		})
	}
}

func TestSerialStatusWritesOnlyChanges(t *testing.T) {
	c := owner()
	w := newWorld(t, interceptor.Funcs{}, c)
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(c), c); err != nil {
		t.Fatal(err)
	}
	s := NewSerialStatus(w.Client, c, w.applier.Writes)
	patch := func(want bool) {
		t.Helper()
		wrote, err := s.Patch(t.Context(), c)
		if err != nil || wrote != want {
			t.Errorf("Patch = %v, %v; want %v", wrote, err, want)
		}
	}
	patch(false)
	c.Status.ReadyReplicas = 3
	patch(true)
	patch(false)
	c.Labels = map[string]string{"not": "status"}
	patch(false)
	if w.writes != 1 {
		t.Errorf("%d writes, want 1", w.writes)
	}
	stored := owner()
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(c), stored); err != nil || stored.Status.ReadyReplicas != 3 {
		t.Errorf("stored %v, %v", stored.Status, err)
	}
}
