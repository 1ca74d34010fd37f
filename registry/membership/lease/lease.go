// Package lease is membership by Kubernetes Leases: each pod owns one, renews it, and follows those of all others with
// one watch. The API server is the witness that two members need who cannot see each other. What a Lease's age means is
// in membership.Leases; here are the reading and writing of the objects, and their signatures: a Lease that no member's
// key has signed never enters a view, and harms only itself (S2).
package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/muster-registry/muster/api/wellknown"
	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/membership/follow"
	"github.com/muster-registry/muster/registry/membership/kubeclient"
	"github.com/muster-registry/muster/registry/membership/lastview"
	"github.com/muster-registry/muster/registry/membership/peerkey"
	"github.com/muster-registry/muster/registry/model"
)

// API is what the source needs of the API server, for Leases of one namespace. InCluster makes one.
type API interface {
	Get(ctx context.Context, name string, o metav1.GetOptions) (*coordinationv1.Lease, error)
	Create(ctx context.Context, l *coordinationv1.Lease, o metav1.CreateOptions) (*coordinationv1.Lease, error)
	Update(ctx context.Context, l *coordinationv1.Lease, o metav1.UpdateOptions) (*coordinationv1.Lease, error)
	List(ctx context.Context, o metav1.ListOptions) (*coordinationv1.LeaseList, error)
	Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error)
}

var kind = kubeclient.Kind[*coordinationv1.Lease, *coordinationv1.LeaseList]{
	Resource: "leases", Group: coordinationv1.SchemeGroupVersion, Add: coordinationv1.AddToScheme,
	NewObject: func() *coordinationv1.Lease { return &coordinationv1.Lease{} },
	NewList:   func() *coordinationv1.LeaseList { return &coordinationv1.LeaseList{} },
}

// InCluster is the API as a pod reaches it; namespace "" = the pod's own, which is returned.
func InCluster(namespace string) (API, string, error) {
	return kubeclient.InCluster(kind, namespace)
}

// Options make a Source.
type Options struct {
	API API
	// Namespace that the API is of, for messages and signatures.
	Namespace string
	// Cluster and ClusterUID are the RegistryCluster's.
	Cluster, ClusterUID string
	// PodName and PodUID of this member.
	PodName, PodUID string
	// KeyDir holds the peer key, which signs.
	KeyDir string
	// StateDir keeps the last view over a restart; "" = nowhere.
	StateDir string
	// RenewInterval and GoneAfter are timeouts.leaseRenewInterval and memberGoneAfter.
	RenewInterval, GoneAfter time.Duration
	// Protection returns wellknown.Protection... while the member holds expiries back, and how long it does so at the
	// latest. It is asked at every renewal; nil = never.
	Protection func() (scope string, release time.Duration)
	Log        *slog.Logger
}

func (o Options) podUID() types.UID { return types.UID(o.PodUID) }

// Source is membership by Leases.
type Source struct {
	o      Options
	log    *slog.Logger
	kept   lastview.Store
	begin  time.Time
	writer chan *coordinationv1.Lease // size 1: whoever takes the own Lease out may write it

	changed chan []runtime.Object // size 1: the newest list
	failed  chan error            // size 1: the newest failure of the list or watch
	follow  *follow.Follower

	mu        sync.Mutex // guards all below
	said      said
	announced bool
	key       *peerkey.Key // the last one that could be read
	written   bool         // at least once, so that rights are there
}

var _ membership.Source = (*Source)(nil)

// New makes a Source.
func New(o Options) *Source {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Source{
		o: o, log: o.Log, kept: lastview.Store{Dir: o.StateDir, ClusterUID: o.ClusterUID}, begin: time.Now(), writer: make(chan *coordinationv1.Lease, 1),
		changed: make(chan []runtime.Object, 1), failed: make(chan error, 1),
	}
	s.writer <- nil
	s.follow = follow.New(follow.Options{
		List:  func(ctx context.Context, lo metav1.ListOptions) (runtime.Object, error) { return o.API.List(ctx, lo) },
		Watch: o.API.Watch,
		Selector: labels.SelectorFromSet(labels.Set{
			wellknown.LabelCluster: o.Cluster, wellknown.LabelClusterUID: o.ClusterUID,
		}).String(),
		Changed: func(all []runtime.Object) { replace(s.changed, all) },
		Failed:  func(err error) { replace(s.failed, err) },
	})
	return s
}

// replace puts the newest value into a channel of size 1.
func replace[T any](c chan T, v T) {
	select {
	case <-c:
	default:
	}
	c <- v
}

// Run joins and follows the others. It is an error if the peer key cannot be read, or the rights are missing.
func (s *Source) Run(ctx context.Context, sink func(membership.Listing)) error {
	if err := s.readKey(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	work.Go(func() { s.follow.Run(ctx) })
	refused := make(chan error, 1)
	work.Go(func() { s.renewAll(ctx, refused) })
	return s.readAll(ctx, &reader{s: s, sink: sink, table: membership.NewLeases(s.o.GoneAfter)}, refused)
}

// readAll passes on what the watch shows, and what time makes of it.
func (s *Source) readAll(ctx context.Context, r *reader, refused <-chan error) error {
	tick := time.NewTicker(s.o.RenewInterval / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-refused:
			return err
		case all := <-s.changed:
			r.observe(all)
		case err := <-s.failed:
			if apierrors.IsForbidden(err) && !r.listed {
				return s.noRights(err)
			}
			r.failed(err)
		case <-tick.C:
			r.tick()
		}
	}
}

// noRights is the one line for an operator without the rights.
func (s *Source) noRights(err error) error {
	return fmt.Errorf("membership.source lease: the service account has no rights on Leases in namespace %q (%w); "+
		"grant get, list, watch, create and update on leases.coordination.k8s.io, or use membership.source endpointslice", s.o.Namespace, err)
}

// Announce writes at once what others shall see.
func (s *Source) Announce(ctx context.Context, self model.Member, dirty bool) error {
	s.mu.Lock()
	if dirty != s.said.dirty || !s.announced {
		s.said.dirtyChanged = time.Now()
	}
	s.said.self, s.said.dirty, s.announced = self, dirty, true
	s.mu.Unlock()
	return s.write(ctx)
}

// Leave releases the Lease. Nothing is written after that.
func (s *Source) Leave(ctx context.Context) error {
	s.mu.Lock()
	s.said.left, s.said.self.State = true, model.StateLeaving
	s.mu.Unlock()
	return s.write(ctx)
}

// renewAll renews until ctx ends. Without the rights it says so, but only before the first success: a member that
// serves is not stopped by a trouble of the API.
func (s *Source) renewAll(ctx context.Context, refused chan<- error) {
	tick := time.NewTicker(s.o.RenewInterval)
	defer tick.Stop()
	failing := false
	for {
		limited, cancel := context.WithTimeout(ctx, s.o.GoneAfter/2)
		err := s.renew(limited)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			failing = false
		case apierrors.IsForbidden(err) && !s.everWritten():
			refused <- s.noRights(err)
			return
		case !failing: // once a row
			failing = true
			s.log.Warn("the own Lease cannot be renewed, trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *Source) everWritten() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written
}

// renew writes the Lease as it was announced, and not before that or after it was released.
func (s *Source) renew(ctx context.Context) error {
	s.mu.Lock()
	idle := !s.announced || s.said.left
	s.mu.Unlock()
	if err := s.readKey(); err != nil || idle {
		return err
	}
	return s.write(ctx)
}

// readKey reads the key again, which may be rotated meanwhile. While it cannot be read the last one serves.
func (s *Source) readKey() error {
	k, err := peerkey.Load(s.o.KeyDir)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if s.key != nil {
			return nil
		}
		return err
	}
	s.key = k
	return nil
}

// sameTrust reports whether two keys trust the same members.
func sameTrust(a, b *peerkey.Key) bool {
	return a != nil && b != nil && slices.Equal(a.Trusts(), b.Trusts())
}

var errNotOurs = errors.New("belongs to something else, remove it")
