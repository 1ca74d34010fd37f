package lease_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/muster-registry/muster/api/wellknown"
	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/membership/lease"
	"github.com/muster-registry/muster/registry/membership/membershiptest"
	"github.com/muster-registry/muster/registry/membership/peerkey"
	"github.com/muster-registry/muster/registry/model"
)

const (
	namespace  = "default"
	cluster    = "demo"
	clusterUID = "cluster-uid"
)

// world is an API server with Leases, and a line to it that can be cut.
type world struct {
	t     *testing.T
	keys  string
	state string
	api   *gate
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, keys: filepath.Join(t.TempDir(), "peer"), state: t.TempDir()}
	if err := peerkey.Write(w.keys); err != nil {
		t.Fatal(err)
	}
	w.api = &gate{API: fake.NewClientset().CoordinationV1().Leases(namespace), calls: map[string]int{}}
	return w
}

func (w *world) options(self model.Member) lease.Options {
	return lease.Options{
		API: w.api, Namespace: namespace, Cluster: cluster, ClusterUID: clusterUID, PodName: self.Name, PodUID: self.UID,
		KeyDir: w.keys, StateDir: w.state, RenewInterval: 2 * time.Second, GoneAfter: 10 * time.Second,
	}
}

func (w *world) Policy() membership.Policy               { return membership.PolicyLease() }
func (w *world) Add(self model.Member) membership.Source { return lease.New(w.options(self)) }
func (w *world) Cut()                                    { w.api.sever() }
func (w *world) Heal()                                   { w.api.mend() }

// Remove is the garbage collector, after the pod is gone.
func (w *world) Remove(self model.Member) { w.delete(self.Name) }

func (w *world) delete(name string) {
	w.t.Helper()
	leases, ok := w.api.API.(interface {
		Delete(context.Context, string, metav1.DeleteOptions) error
	})
	if !ok {
		w.t.Fatal("the API cannot delete")
	}
	if err := leases.Delete(w.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// Foreign plants Leases that look like members' (S2).
func (w *world) Foreign() {
	w.t.Helper()
	genuine := w.get("a")
	plant := func(name string, change func(l *coordinationv1.Lease)) {
		l := genuine.DeepCopy()
		l.ObjectMeta = metav1.ObjectMeta{Name: name, Labels: l.Labels, Annotations: l.Annotations}
		change(l)
		if _, err := w.api.Create(w.t.Context(), l, metav1.CreateOptions{}); err != nil {
			w.t.Fatal(err)
		}
	}
	plant("a-copy", func(*coordinationv1.Lease) {})
	plant("unsigned", func(l *coordinationv1.Lease) { delete(l.Annotations, wellknown.AnnotationSignature) })
	plant("bare", func(l *coordinationv1.Lease) { l.Annotations, l.Spec = nil, coordinationv1.LeaseSpec{} })
	plant("garbage", func(l *coordinationv1.Lease) {
		l.Annotations = map[string]string{wellknown.AnnotationSignature: "%%%", wellknown.AnnotationState: "\x00"}
	})
	// a whole member of another cluster that has the same labels, but not the key
	other := w.options(model.Member{Name: "stranger", UID: "uid-stranger"})
	other.KeyDir = filepath.Join(w.t.TempDir(), "peer")
	if err := peerkey.Write(other.KeyDir); err != nil {
		w.t.Fatal(err)
	}
	stranger := model.Member{Incarnation: 77, Name: "stranger", UID: "uid-stranger", Address: "stranger:9849", State: model.StateComplete}
	if err := lease.New(other).Announce(w.t.Context(), stranger, false); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) get(name string) *coordinationv1.Lease {
	w.t.Helper()
	l, err := w.api.API.Get(w.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

func TestConformance(t *testing.T) {
	membershiptest.Suite{New: func(t *testing.T) membershiptest.World { return newWorld(t) }, Bubble: true}.Run(t)
}

var errCut = errors.New("connection refused")

// gate is the line to the API server.
type gate struct {
	lease.API

	mu      sync.Mutex // guards all below
	cut     bool
	blind   bool // nothing can be read: watches look alive and carry nothing, and none begins
	refuse  error
	watches []watch.Interface
	calls   map[string]int
}

func (g *gate) pass(verb string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls[verb]++
	switch {
	case g.cut, g.blind && (verb == "list" || verb == "watch"):
		return errCut
	case g.refuse != nil:
		return g.refuse
	}
	return nil
}

func (g *gate) counts() map[string]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := g.calls
	g.calls = map[string]int{}
	return out
}

func (g *gate) sever() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cut = true
	for _, w := range g.watches {
		w.Stop()
	}
	g.watches = nil
}

func (g *gate) mend() { g.set(func() { g.cut = false }) }

func (g *gate) set(f func()) {
	g.mu.Lock()
	f()
	g.mu.Unlock()
}

func (g *gate) Get(ctx context.Context, name string, o metav1.GetOptions) (*coordinationv1.Lease, error) {
	if err := g.pass("get"); err != nil {
		return nil, err
	}
	return g.API.Get(ctx, name, o)
}

func (g *gate) Create(ctx context.Context, l *coordinationv1.Lease, o metav1.CreateOptions) (*coordinationv1.Lease, error) {
	if err := g.pass("create"); err != nil {
		return nil, err
	}
	return g.API.Create(ctx, l, o)
}

func (g *gate) Update(ctx context.Context, l *coordinationv1.Lease, o metav1.UpdateOptions) (*coordinationv1.Lease, error) {
	if err := g.pass("update"); err != nil {
		return nil, err
	}
	return g.API.Update(ctx, l, o)
}

func (g *gate) List(ctx context.Context, o metav1.ListOptions) (*coordinationv1.LeaseList, error) {
	if err := g.pass("list"); err != nil {
		return nil, err
	}
	return g.API.List(ctx, o)
}

func (g *gate) Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	if err := g.pass("watch"); err != nil {
		return nil, err
	}
	w, err := g.API.Watch(ctx, o)
	if err != nil {
		return nil, err
	}
	l := &line{from: w, out: make(chan watch.Event), stop: make(chan struct{})}
	go l.carry(g)
	g.set(func() { g.watches = append(g.watches, l) })
	return l, nil
}

// line is a watch that can be made to carry nothing.
type line struct {
	from watch.Interface
	out  chan watch.Event
	stop chan struct{}
	once sync.Once
}

func (l *line) ResultChan() <-chan watch.Event { return l.out }
func (l *line) Stop()                          { l.once.Do(func() { close(l.stop) }) }

func (l *line) carry(g *gate) {
	defer close(l.out)
	defer l.from.Stop()
	for {
		select {
		case <-l.stop:
			return
		case e := <-l.from.ResultChan():
			g.mu.Lock()
			blind := g.blind
			g.mu.Unlock()
			if blind {
				continue
			}
			select {
			case <-l.stop:
				return
			case l.out <- e:
			}
		}
	}
}
