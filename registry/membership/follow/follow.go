// Package follow keeps a list of Kubernetes objects up to date: list, watch, and again from the start when the watch
// ends. It is smaller than an informer in what matters here: it says when it fails, tries again within a second, and a
// watch that only looks alive can be given up from outside (P13). The two Kubernetes sources of membership use it. It
// knows no client: what lists and watches is handed to it.
package follow

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

const (
	// callLimit bounds a list, and the beginning of a watch.
	callLimit    = 10 * time.Second
	defaultWatch = 5 * time.Minute
	defaultRetry = time.Second
)

// Options make a Follower. The functions are called from one goroutine.
type Options struct {
	List  func(context.Context, metav1.ListOptions) (runtime.Object, error)
	Watch func(context.Context, metav1.ListOptions) (watch.Interface, error)
	// Selector of labels.
	Selector string
	// Changed is handed all objects, at the beginning and at each change.
	Changed func([]runtime.Object)
	// Failed is told why the list or the watch ended. It is tried again.
	Failed func(error)
	// WatchFor is how long a watch lasts, then all is listed anew; 0 = five minutes. A watch that is cut without a word is
	// noticed by its end.
	WatchFor time.Duration
	// Retry is the time between two tries; 0 = one second.
	Retry time.Duration
}

// Follower follows objects.
type Follower struct {
	o Options

	mu     sync.Mutex // guards giveUp
	giveUp context.CancelFunc
}

// New makes a Follower.
func New(o Options) *Follower {
	if o.WatchFor == 0 {
		o.WatchFor = defaultWatch
	}
	if o.Retry == 0 {
		o.Retry = defaultRetry
	}
	return &Follower{o: o}
}

// Run follows until ctx ends.
func (f *Follower) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := f.round(ctx); err != nil && ctx.Err() == nil {
			f.o.Failed(err)
		}
		wait := time.NewTimer(f.o.Retry/2 + rand.N(f.o.Retry/2))
		select {
		case <-ctx.Done():
		case <-wait.C:
		}
		wait.Stop()
	}
}

// Restart gives up a watch that is under way, for a new list and watch. It does nothing else: a list that takes its time
// is not begun again.
func (f *Follower) Restart() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.giveUp != nil {
		f.giveUp()
	}
}

// round lists, and watches until that ends. nil = in order.
func (f *Follower) round(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	objects, version, err := f.list(ctx)
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	slow := time.AfterFunc(callLimit, cancel)
	seconds := int64(f.o.WatchFor.Seconds())
	w, err := f.o.Watch(ctx, metav1.ListOptions{
		LabelSelector: f.o.Selector, ResourceVersion: version, AllowWatchBookmarks: true, TimeoutSeconds: &seconds,
	})
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	defer w.Stop()
	if !slow.Stop() {
		return errors.New("watch: did not begin in time")
	}
	f.allow(cancel)
	defer f.allow(nil)
	f.o.Changed(objects.all())
	overdue := time.AfterFunc(f.o.WatchFor+callLimit, cancel) // the server ends it before, if it is there
	defer overdue.Stop()
	return f.watch(ctx, w, objects)
}

// allow says how Restart gives up.
func (f *Follower) allow(giveUp context.CancelFunc) {
	f.mu.Lock()
	f.giveUp = giveUp
	f.mu.Unlock()
}

func (f *Follower) list(ctx context.Context) (set, string, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	l, err := f.o.List(ctx, metav1.ListOptions{LabelSelector: f.o.Selector})
	if err != nil {
		return nil, "", err
	}
	items, err := meta.ExtractList(l)
	if err != nil {
		return nil, "", err
	}
	objects := set{}
	for _, o := range items {
		objects.put(o)
	}
	m, err := meta.ListAccessor(l)
	if err != nil {
		return nil, "", err
	}
	return objects, m.GetResourceVersion(), nil
}

func (f *Follower) watch(ctx context.Context, w watch.Interface, objects set) error {
	for {
		select {
		case <-ctx.Done():
			return errors.New("watch: given up")
		case e, ok := <-w.ResultChan():
			if !ok {
				return nil
			}
			changed, err := objects.apply(e)
			if err != nil {
				return fmt.Errorf("watch: %w", err)
			}
			if changed {
				f.o.Changed(objects.all())
			}
		}
	}
}

// set is what is there, by name.
type set map[string]runtime.Object

func (s set) all() []runtime.Object {
	out := make([]runtime.Object, 0, len(s))
	for _, o := range s {
		out = append(out, o)
	}
	return out
}

func (s set) put(o runtime.Object) bool {
	m, err := meta.Accessor(o)
	if err != nil {
		return false
	}
	s[m.GetName()] = o
	return true
}

func (s set) apply(e watch.Event) (changed bool, err error) {
	switch e.Type {
	case watch.Added, watch.Modified:
		return s.put(e.Object), nil
	case watch.Deleted:
		if m, err := meta.Accessor(e.Object); err == nil {
			delete(s, m.GetName())
			return true, nil
		}
	case watch.Error:
		return false, apierrors.FromObject(e.Object)
	case watch.Bookmark:
	}
	return false, nil
}
