package member

import (
	"errors"
	"slices"
	"time"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
)

const (
	// lookupMemory is how long the answer of another member is waited for at most.
	lookupMemory = 10 * time.Second
	// lookupPatience is how long one member has to answer before the next one is asked.
	lookupPatience = 500 * time.Millisecond
	// fetchPatience is how long a subscription waits for its shard.
	fetchPatience = 2 * time.Second
)

// Subscribe is Member.Subscribe that waits until the service's shard is here: a new subscriber is never shown less than
// there is. Error, besides: CodeNotReady, the shard cannot be had.
func (r *Runner) Subscribe(id string, k model.ServiceKey, clusters string) (*catalog.Snapshot, error) {
	late := time.NewTimer(fetchPatience)
	defer late.Stop()
	for {
		grown := r.grown()
		snap, elsewhere, err := r.subscribe(id, k, clusters)
		if err != nil || !elsewhere {
			return snap, err
		}
		select {
		case <-grown:
		case <-late.C:
			return nil, errElsewhere
		}
	}
}

// Query returns the present answer, of this member or of one that holds the service. Error: CodeNotReady.
func (r *Runner) Query(k model.ServiceKey) (*catalog.Snapshot, error) {
	if snap, err := r.Member.Query(k); !errors.Is(err, errElsewhere) {
		return snap, err
	}
	for _, id := range r.holders(k) {
		if f, ok := r.wait(r.ask(id, k)); ok {
			return r.compose(k, f), nil
		}
	}
	return nil, errElsewhere
}

func (r *Runner) wait(answer <-chan found) (found, bool) {
	patience := time.NewTimer(lookupPatience)
	defer patience.Stop()
	select {
	case f := <-answer:
		return f, true
	case <-patience.C:
		return found{}, false
	}
}

// Instance returns one instance, also a disabled one. Errors: CodeNotReady, CodeNotFound.
func (r *Runner) Instance(k model.ServiceKey, ik model.InstanceKey) (model.Instance, error) {
	snap, err := r.Query(k)
	if err != nil {
		return model.Instance{}, err
	}
	return instanceOf(snap, ik)
}

// ServiceNames gathers the names of a group from all members that hold something. Error: CodeNotReady, a part of the
// shards cannot be reached.
func (r *Runner) ServiceNames(namespace, group string) ([]string, error) {
	names, err := r.Member.ServiceNames(namespace, group)
	if err != nil || !r.engine.Sharded() {
		return names, err
	}
	answers := map[model.Incarnation]<-chan found{}
	for _, p := range r.View().Members {
		if p.Incarnation != r.Self().Incarnation && p.State != model.StateStarting {
			answers[p.Incarnation] = r.ask(p.Incarnation, model.ServiceKey{Namespace: namespace, Group: group})
		}
	}
	var answered []model.Incarnation
	for id, a := range answers {
		if f, ok := r.wait(a); ok {
			answered = append(answered, id)
			names = append(names, f.Names...)
		}
	}
	if !r.engine.Covered(answered) {
		return nil, model.Errorf(model.CodeNotReady, "a part of the services cannot be reached, please try later")
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// OverrideInstance is Member.OverrideInstance for a service that another member may hold.
func (r *Runner) OverrideInstance(k model.ServiceKey, in model.Instance) error {
	if err := r.exists(k); err != nil {
		return err
	}
	r.session.Override(r.enter(), k, in)
	return nil
}

// ConfigureService is Member.ConfigureService likewise.
func (r *Runner) ConfigureService(k model.ServiceKey, s model.Settings) error {
	if err := r.exists(k); err != nil {
		return err
	}
	r.session.Configure(r.enter(), k, s)
	return nil
}

// exists asks whoever holds a service. Errors: CodeNotFound, CodeNotReady.
func (r *Runner) exists(k model.ServiceKey) error {
	known, whole := fromCopy(r.Member, k, func() bool { return r.store.Known(k) })
	if !whole {
		snap, err := r.Query(k)
		if err != nil {
			return err
		}
		known = snap.Known
	}
	if !known {
		return unknownService(k)
	}
	return nil
}
