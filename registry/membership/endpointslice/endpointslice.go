// Package endpointslice is membership by the EndpointSlices of the cluster's internal Service, for places where pods may
// not write Leases. The slices carry no incarnation and no freshness: every listed address is dialled, and the handshake
// admits. Who is delisted, or does not serve, and has no live stream, is gone: a lost node shows after about 40 s.
package endpointslice

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/muster-registry/muster/api/wellknown"
	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/membership/follow"
	"github.com/muster-registry/muster/registry/membership/kubeclient"
	"github.com/muster-registry/muster/registry/membership/lastview"
	"github.com/muster-registry/muster/registry/model"
)

// patience is how long the API may fail before the view is frozen: a watch that ends and begins anew is no trouble.
const patience = 5 * time.Second

// watchFor bounds a watch: nothing comes back through it that would show that it lives.
const watchFor = 30 * time.Second

// API is what the source needs of the API server, for EndpointSlices of one namespace. InCluster makes one.
type API interface {
	List(ctx context.Context, o metav1.ListOptions) (*discoveryv1.EndpointSliceList, error)
	Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error)
}

var kind = kubeclient.Kind[*discoveryv1.EndpointSlice, *discoveryv1.EndpointSliceList]{
	Resource: "endpointslices", Group: discoveryv1.SchemeGroupVersion, Add: discoveryv1.AddToScheme,
	NewObject: func() *discoveryv1.EndpointSlice { return &discoveryv1.EndpointSlice{} },
	NewList:   func() *discoveryv1.EndpointSliceList { return &discoveryv1.EndpointSliceList{} },
}

// InCluster is the API as a pod reaches it; namespace "" = the pod's own, which is returned.
func InCluster(namespace string) (API, string, error) {
	return kubeclient.InCluster(kind, namespace)
}

// Options make a Source.
type Options struct {
	API API
	// Namespace that the API is of, for messages.
	Namespace string
	// Service is the internal Service's name.
	Service string
	// ClusterUID and StateDir keep the last list over a restart; StateDir "" = nowhere.
	ClusterUID, StateDir string
	Log                  *slog.Logger
}

// Source is membership by EndpointSlices.
type Source struct {
	o    Options
	log  *slog.Logger
	kept lastview.Store
}

var _ membership.Source = (*Source)(nil)

// New makes a Source.
func New(o Options) *Source {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Source{o: o, log: o.Log, kept: lastview.Store{Dir: o.StateDir, ClusterUID: o.ClusterUID}}
}

// Run follows the slices. It is an error if the rights to do so are missing.
func (s *Source) Run(ctx context.Context, sink func(membership.Listing)) error {
	changed, failed := make(chan []runtime.Object), make(chan error)
	f := follow.New(follow.Options{
		List:     func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return s.o.API.List(ctx, o) },
		Watch:    s.o.API.Watch,
		WatchFor: watchFor,
		Selector: labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: s.o.Service}).String(),
		Changed:  func(all []runtime.Object) { send(ctx, changed, all) },
		Failed:   func(err error) { send(ctx, failed, err) },
	})
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.Run(ctx)
	}()
	defer func() { cancel(); <-done }()
	return s.readAll(ctx, &reader{s: s, sink: sink}, changed, failed)
}

func send[T any](ctx context.Context, c chan<- T, v T) {
	select {
	case <-ctx.Done():
	case c <- v:
	}
}

func (s *Source) readAll(ctx context.Context, r *reader, changed <-chan []runtime.Object, failed <-chan error) error {
	freeze := time.NewTimer(patience)
	defer freeze.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case all := <-changed:
			freeze.Stop()
			r.observe(all)
		case err := <-failed:
			if apierrors.IsForbidden(err) && !r.listed {
				return fmt.Errorf("membership.source endpointslice: the service account has no rights on EndpointSlices in namespace %q (%w); "+
					"grant list and watch on endpointslices.discovery.k8s.io", s.o.Namespace, err)
			}
			if r.fail(err) {
				freeze.Reset(patience)
			}
		case <-freeze.C:
			r.pass(membership.Listing{Entries: r.last.Entries})
		}
	}
}

// Announce has nobody to tell: peers hear it over the streams.
func (s *Source) Announce(context.Context, model.Member, bool) error { return nil }

// Leave has nobody to tell: peers hear it over the streams, and the pod's endpoint goes with the pod.
func (s *Source) Leave(context.Context) error { return nil }

// reader turns slices into listings. It belongs to Run's goroutine.
type reader struct {
	s       *Source
	sink    func(membership.Listing)
	last    membership.Listing
	sent    bool // there was a listing, if only the last one of a former process
	listed  bool // the API has answered
	failing bool
}

func (r *reader) observe(all []runtime.Object) {
	r.listed, r.failing = true, false
	r.pass(membership.Listing{Entries: r.entries(all), Reachable: true})
}

// fail reports the first failure of a row, and begins with the last list where the API cannot be reached at the start
// (R6).
func (r *reader) fail(err error) (first bool) {
	if !r.sent {
		entries, err := r.s.kept.Load()
		if err != nil {
			r.s.log.Warn("starting without the last view", "error", err)
		}
		r.pass(membership.Listing{Entries: entries})
	}
	if r.failing {
		return false
	}
	r.failing = true
	r.s.log.Warn("the EndpointSlices of the members cannot be followed, trying again", "service", r.s.o.Service, "error", err)
	return true
}

// pass hands a listing on when it says something new, and keeps it for a restart.
func (r *reader) pass(l membership.Listing) {
	if r.sent && l.Same(r.last) {
		return
	}
	r.last, r.sent = l, true
	if l.Reachable {
		if err := r.s.kept.Save(l.Entries); err != nil {
			r.s.log.Warn("a restart while the API is down would begin without this view", "error", err)
		}
	}
	r.sink(l)
}

// entries are the addresses of all slices, sorted. One pod may be in two slices for a moment; it is alive if it is in one.
func (r *reader) entries(all []runtime.Object) []membership.Entry {
	found := map[string]membership.Entry{}
	for _, o := range all {
		slice, ok := o.(*discoveryv1.EndpointSlice)
		if !ok {
			continue
		}
		port, ok := peerPort(slice)
		if !ok {
			continue // no slice of the internal Service
		}
		for i := range slice.Endpoints {
			e, ok := entry(&slice.Endpoints[i], port)
			if !ok {
				continue
			}
			e.Alive = e.Alive || found[e.Address].Alive
			found[e.Address] = e
		}
	}
	out := make([]membership.Entry, 0, len(found))
	for _, e := range found {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b membership.Entry) int { return strings.Compare(a.Address, b.Address) })
	return out
}

// peerPort is the port of the internal Service that is named so.
func peerPort(s *discoveryv1.EndpointSlice) (string, bool) {
	for _, p := range s.Ports {
		if p.Name != nil && *p.Name == wellknown.PortNamePeer && p.Port != nil && *p.Port > 0 && *p.Port < 1<<16 {
			return strconv.Itoa(int(*p.Port)), true
		}
	}
	return "", false
}

// entry takes an endpoint's first address: all of one endpoint are the same pod.
func entry(e *discoveryv1.Endpoint, port string) (membership.Entry, bool) {
	if len(e.Addresses) == 0 || net.ParseIP(e.Addresses[0]) == nil {
		return membership.Entry{}, false
	}
	m := model.Member{Address: net.JoinHostPort(e.Addresses[0], port)}
	m.Name = m.Address
	if t := e.TargetRef; t != nil && t.Kind == "Pod" {
		m.Name, m.UID = t.Name, string(t.UID)
	}
	// What is not known counts as true, says the API.
	serving := e.Conditions.Serving == nil || *e.Conditions.Serving
	return membership.Entry{Member: m, Alive: serving}, true
}
