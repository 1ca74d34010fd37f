package lease

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-registry/muster/api/wellknown"
)

// write makes the Lease say what was announced last. One write is under way at a time; ctx also bounds the wait for it.
func (s *Source) write(ctx context.Context) error {
	var current *coordinationv1.Lease
	select {
	case <-ctx.Done():
		return ctx.Err()
	case current = <-s.writer:
	}
	next, err := s.writeOver(ctx, current)
	if err != nil && (apierrors.IsConflict(err) || apierrors.IsNotFound(err)) {
		next, err = s.writeOver(ctx, nil)
	}
	if err != nil {
		s.writer <- nil // read anew: what was written, if anything, is not known
		return fmt.Errorf("write Lease %s/%s: %w", s.o.Namespace, s.o.PodName, err)
	}
	s.writer <- next
	s.mu.Lock()
	s.written = true
	s.mu.Unlock()
	return nil
}

// writeOver writes on top of what is there; nil = not known.
func (s *Source) writeOver(ctx context.Context, current *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	s.mu.Lock()
	what, key, announced := s.said, s.key, s.announced
	s.mu.Unlock()
	if key == nil {
		if err := s.readKey(); err != nil {
			return nil, err
		}
		return s.writeOver(ctx, current)
	}
	if !announced {
		return nil, nil // left before it came
	}
	if current == nil {
		found, err := s.o.API.Get(ctx, s.o.PodName, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return s.create(ctx, what)
		case err != nil:
			return nil, err
		case found.Labels[wellknown.LabelCluster] != s.o.Cluster:
			return nil, errNotOurs
		}
		current = found
	}
	l := current.DeepCopy()
	if err := s.fill(l, what, key, time.Now()); err != nil {
		return nil, err
	}
	return s.o.API.Update(ctx, l, metav1.UpdateOptions{})
}

func (s *Source) create(ctx context.Context, what said) (*coordinationv1.Lease, error) {
	if what.left {
		return nil, nil
	}
	s.mu.Lock()
	key := s.key
	s.mu.Unlock()
	l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: s.o.PodName, Namespace: s.o.Namespace}}
	if err := s.fill(l, what, key, time.Now()); err != nil {
		return nil, err
	}
	return s.o.API.Create(ctx, l, metav1.CreateOptions{})
}

func merge(into, from map[string]string) map[string]string {
	out := make(map[string]string, len(into)+len(from))
	maps.Copy(out, into)
	maps.Copy(out, from)
	return out
}

func join(s []string) string { return strings.Join(s, ",") }
