package endpointslice_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	discoveryclient "k8s.io/client-go/kubernetes/typed/discovery/v1"

	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/membership/endpointslice"
	"github.com/muster-registry/muster/registry/membership/membershiptest"
	"github.com/muster-registry/muster/registry/model"
)

const namespace, service = "default", "demo-internal"

var errCut = errors.New("connection refused")

// world is an API server with the slices of a Service, and a line to it that can be cut.
type world struct {
	discoveryclient.EndpointSliceInterface
	t     *testing.T
	state string
	slice *discoveryv1.EndpointSlice

	mu      sync.Mutex // guards all below
	refuse  error
	watches []watch.Interface
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, state: t.TempDir(), EndpointSliceInterface: fake.NewClientset().DiscoveryV1().EndpointSlices(namespace)}
	w.slice = w.create("demo-internal-abc", service, "peer")
	return w
}

func (w *world) create(name, service, port string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	w.t.Helper()
	number := int32(9849)
	s, err := w.Create(w.t.Context(), &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: &port, Port: &number}}, Endpoints: endpoints,
	}, metav1.CreateOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// endpoint is a pod's, ready or not.
func endpoint(ip, name string, serving bool) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{
		Addresses: []string{ip}, Conditions: discoveryv1.EndpointConditions{Serving: &serving},
		TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: name, UID: types.UID("uid-" + name)},
	}
}

func (w *world) update(change func(s *discoveryv1.EndpointSlice)) {
	w.t.Helper()
	w.slice = w.slice.DeepCopy()
	change(w.slice)
	if _, err := w.Update(w.t.Context(), w.slice, metav1.UpdateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) source() *endpointslice.Source {
	return endpointslice.New(endpointslice.Options{
		API: w, Namespace: namespace, Service: service, ClusterUID: "cluster-uid", StateDir: w.state,
	})
}

func (w *world) Policy() membership.Policy { return membership.PolicyEndpointSlice() }

func (w *world) Add(self model.Member) membership.Source {
	host, _, err := net.SplitHostPort(self.Address)
	if err != nil {
		w.t.Fatal(err)
	}
	// not serving at first: a member is ready only when it has found the others
	w.update(func(s *discoveryv1.EndpointSlice) {
		s.Endpoints = append(s.Endpoints, endpoint(host, self.Name, false))
	})
	return w.source()
}

func (w *world) Remove(self model.Member) {
	w.update(func(s *discoveryv1.EndpointSlice) {
		s.Endpoints = slices.DeleteFunc(s.Endpoints, func(e discoveryv1.Endpoint) bool { return e.TargetRef.Name == self.Name })
	})
}

func (w *world) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refuse = errCut
	for _, line := range w.watches {
		line.Stop()
	}
	w.watches = nil
}

func (w *world) Heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refuse = nil
}

// Foreign plants endpoints that are no members: of another Service and port, without an address, and one that is listed
// but never passes the handshake.
func (w *world) Foreign() {
	w.create("other-abc", "other", "peer", endpoint("10.0.0.99", "other", true))
	w.create("demo-internal-def", service, "http", endpoint("10.0.0.98", "wrong-port", true))
	w.update(func(s *discoveryv1.EndpointSlice) {
		s.Endpoints = append(s.Endpoints, endpoint("10.0.0.97", "silent", true), endpoint("host.example", "named", true),
			discoveryv1.Endpoint{TargetRef: &corev1.ObjectReference{Name: "no-address"}})
	})
}

func (w *world) List(ctx context.Context, o metav1.ListOptions) (*discoveryv1.EndpointSliceList, error) {
	w.mu.Lock()
	err := w.refuse
	w.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return w.EndpointSliceInterface.List(ctx, o)
}

func (w *world) Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	line, err := w.EndpointSliceInterface.Watch(ctx, o)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse != nil {
		line.Stop()
		return nil, w.refuse
	}
	w.watches = append(w.watches, line)
	return line, nil
}

func TestConformance(t *testing.T) {
	membershiptest.Suite{New: func(t *testing.T) membershiptest.World { return newWorld(t) }, Bubble: true}.Run(t)
}

// heard is what a source lists, as text.
type heard struct {
	mu   sync.Mutex // guards text
	text string
}

func (h *heard) take(l membership.Listing) {
	var out []string
	for _, e := range l.Entries {
		s := e.Address + "=" + e.Name + "/" + e.UID
		if !e.Alive {
			s += "!"
		}
		if e.Incarnation != 0 {
			s += " with an incarnation"
		}
		out = append(out, s)
	}
	if !l.Reachable {
		out = append(out, "unreachable")
	}
	h.mu.Lock()
	h.text = strings.Join(out, " ")
	h.mu.Unlock()
}

func (h *heard) want(t *testing.T, want string) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if d := cmp.Diff(want, h.text); d != "" {
		t.Errorf("listed (-want +got):\n%s", d)
	}
}

// run starts a source in a bubble of synthetic time.
func (w *world) run() (h *heard, stop func()) {
	h = &heard{}
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- w.source().Run(ctx, h.take) }()
	synctest.Wait()
	return h, func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("run: %v", err)
		}
	}
}

func wait(d time.Duration) {
	<-time.After(d) // of the bubble
	synctest.Wait()
}

func TestEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		h, stop := w.run()
		defer stop()
		h.want(t, "")
		w.update(func(s *discoveryv1.EndpointSlice) {
			unknown := endpoint("10.0.0.2", "b", true)
			unknown.Conditions = discoveryv1.EndpointConditions{}
			s.Endpoints = []discoveryv1.Endpoint{endpoint("10.0.0.3", "c", false), endpoint("10.0.0.1", "a", true), unknown}
		})
		wait(0)
		h.want(t, "10.0.0.1:9849=a/uid-a 10.0.0.2:9849=b/uid-b 10.0.0.3:9849=c/uid-c!")
		w.create("demo-internal-def", service, "peer", endpoint("10.0.0.3", "c", true), endpoint("10.0.0.1", "a", false))
		wait(0)
		h.want(t, "10.0.0.1:9849=a/uid-a 10.0.0.2:9849=b/uid-b 10.0.0.3:9849=c/uid-c")
	})
}

func TestOnlyALongFailureFreezes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.update(func(s *discoveryv1.EndpointSlice) {
			s.Endpoints = []discoveryv1.Endpoint{endpoint("10.0.0.1", "a", true)}
		})
		h, stop := w.run()
		defer stop()
		w.Cut()
		wait(4 * time.Second)
		h.want(t, "10.0.0.1:9849=a/uid-a")
		wait(3 * time.Second)
		h.want(t, "10.0.0.1:9849=a/uid-a unreachable")
		w.Heal()
		wait(time.Second)
		h.want(t, "10.0.0.1:9849=a/uid-a")
		wait(10 * time.Minute) // watches end and begin anew
		h.want(t, "10.0.0.1:9849=a/uid-a")
	})
}

// R6: a container that restarts while the API is down begins with the last list.
func TestRestartWhileTheAPIIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.update(func(s *discoveryv1.EndpointSlice) {
			s.Endpoints = []discoveryv1.Endpoint{endpoint("10.0.0.1", "a", true)}
		})
		first, stop := w.run()
		first.want(t, "10.0.0.1:9849=a/uid-a")
		stop()
		w.Cut()
		h, stop := w.run()
		defer stop()
		wait(time.Minute)
		h.want(t, "10.0.0.1:9849=a/uid-a unreachable")
	})
}

func TestNoRights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.refuse = apierrors.NewForbidden(schema.GroupResource{Group: "discovery.k8s.io", Resource: "endpointslices"}, "", nil)
		err := w.source().Run(t.Context(), func(membership.Listing) {})
		if err == nil {
			t.Fatal("runs without rights")
		}
		for _, part := range []string{`namespace "default"`, "list and watch", "discovery.k8s.io"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q is not in: %v", part, err)
			}
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("more than one line: %v", err)
		}
	})
}
