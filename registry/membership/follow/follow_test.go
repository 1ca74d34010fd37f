package follow_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/muster-registry/muster/registry/membership/follow"
)

// server has named objects, and tells what it is asked.
type server struct {
	follower *follow.Follower

	mu      sync.Mutex // guards all below
	objects []string
	fail    error
	hang    bool // a watch does not begin
	lists   int
	watches []*watch.FakeWatcher
	options metav1.ListOptions
	log     []string
}

func object(name string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func start(t *testing.T, objects ...string) *server {
	t.Helper()
	s := &server{objects: objects}
	s.follower = follow.New(follow.Options{
		List: s.list, Watch: s.watch, Selector: "a=b",
		Changed: func(all []runtime.Object) {
			var names []string
			for _, o := range all {
				if m, ok := o.(*metav1.PartialObjectMetadata); ok {
					names = append(names, m.Name)
				}
			}
			slices.Sort(names)
			s.note(strings.Join(names, ","))
		},
		Failed: func(err error) { s.note("failed: " + err.Error()) },
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.follower.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	return s
}

func (s *server) note(what string) { s.do(func() { s.log = append(s.log, what) }) }

func (s *server) do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *server) list(_ context.Context, o metav1.ListOptions) (runtime.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists++
	if s.fail != nil {
		return nil, s.fail
	}
	l := &metav1.PartialObjectMetadataList{ListMeta: metav1.ListMeta{ResourceVersion: fmt.Sprint(s.lists)}}
	for _, n := range s.objects {
		l.Items = append(l.Items, *object(n))
	}
	s.options = o
	return l, nil
}

func (s *server) watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	s.mu.Lock()
	hang := s.hang
	s.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w := watch.NewFake()
	s.watches = append(s.watches, w)
	s.options = o
	return w, nil
}

// current is the watch that is under way.
func (s *server) current() *watch.FakeWatcher {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.watches[len(s.watches)-1]
}

func (s *server) want(t *testing.T, log ...string) {
	t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := cmp.Diff(log, s.log); d != "" {
		t.Errorf("heard (-want +got):\n%s", d)
	}
	s.log = nil
}

func bubble(t *testing.T, f func(t *testing.T, s *server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, start(t, "a", "b")) })
}

func TestChanges(t *testing.T) {
	bubble(t, func(t *testing.T, s *server) {
		s.want(t, "a,b")
		w := s.current()
		w.Add(object("c"))
		w.Action(watch.Bookmark, object(""))
		w.Modify(object("a"))
		w.Delete(object("b"))
		s.want(t, "a,b,c", "a,b,c", "a,c")
		if s.options.ResourceVersion != "1" || s.options.LabelSelector != "a=b" || !s.options.AllowWatchBookmarks {
			t.Errorf("watched with %+v", s.options)
		}
	})
}

func TestWatchThatEndsIsNoFailure(t *testing.T) {
	bubble(t, func(t *testing.T, s *server) {
		s.want(t, "a,b")
		s.do(func() { s.objects = []string{"b"} })
		s.current().Stop()
		<-time.After(time.Second)
		s.want(t, "b")
	})
}

func TestErrorsAreTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, s *server) {
		s.want(t, "a,b")
		s.current().Error(&metav1.Status{Status: metav1.StatusFailure, Message: "too old", Reason: metav1.StatusReasonExpired, Code: 410})
		s.do(func() { s.fail = errors.New("no route") })
		<-time.After(time.Second)
		s.want(t, "failed: watch: too old", "failed: list: no route")
		s.do(func() { s.fail = nil })
		<-time.After(time.Second)
		s.want(t, "a,b")
	})
}

func TestRestart(t *testing.T) {
	bubble(t, func(t *testing.T, s *server) {
		s.want(t, "a,b")
		s.follower.Restart()
		<-time.After(time.Second)
		s.want(t, "failed: watch: given up", "a,b")
		s.do(func() { s.fail = errors.New("no route") })
		s.current().Stop()
		s.follower.Restart() // of nothing
		<-time.After(time.Second)
		s.do(func() { s.fail = nil })
		<-time.After(time.Second)
		s.mu.Lock()
		defer s.mu.Unlock()
		if last := s.log[len(s.log)-1]; last != "a,b" {
			t.Errorf("last heard %q, want the list", last)
		}
	})
}

// A watch that never begins, and one that the server should have ended long ago, are cut lines (P13).
func TestCutLines(t *testing.T) {
	bubble(t, func(t *testing.T, s *server) {
		s.want(t, "a,b")
		<-time.After(5*time.Minute + 11*time.Second)
		s.want(t, "failed: watch: given up", "a,b")
		s.do(func() { s.hang = true })
		s.current().Stop()
		<-time.After(11 * time.Second)
		s.want(t, "failed: watch: context canceled")
		s.do(func() { s.hang = false })
		<-time.After(11 * time.Second)
		s.mu.Lock()
		defer s.mu.Unlock()
		if last := s.log[len(s.log)-1]; last != "a,b" {
			t.Errorf("last heard %q, want the list", last)
		}
	})
}
