package lease

import (
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/membership/peerkey"
	"github.com/muster-registry/muster/registry/model"
)

// reader turns Leases into listings. It belongs to Run's goroutine.
type reader struct {
	s     *Source
	sink  func(membership.Listing)
	table *membership.Leases
	last  membership.Listing

	listed    bool // the API has answered
	sent      bool // there was a listing, if only the last view
	failing   bool
	restarted time.Duration
	key       *peerkey.Key
	readings  map[string]reading
}

// reading is what was made of one version of one Lease: signatures are checked once.
type reading struct {
	version string
	lease   membership.Lease
	err     error
}

func (r *reader) now() model.Time { return model.Time{Mono: time.Since(r.s.begin)} }

// observe takes all Leases of the cluster.
func (r *reader) observe(all []runtime.Object) {
	r.s.mu.Lock()
	self, key := r.s.said.self, r.s.key
	r.s.mu.Unlock()
	if !sameTrust(key, r.key) {
		r.readings = nil // who was not genuine may be now
	}
	r.key, r.listed, r.failing = key, true, false
	fresh := make(map[string]reading, len(all))
	leases := make([]membership.Lease, 0, len(all))
	for _, o := range all {
		l, ok := o.(*coordinationv1.Lease)
		if !ok {
			continue
		}
		d := r.read(l)
		fresh[l.Name] = d
		if d.err != nil {
			continue
		}
		own := l.Name == r.s.o.PodName
		if own && d.lease.Member.Incarnation != self.Incarnation {
			continue // a former incarnation's
		}
		d.lease.Own = own
		leases = append(leases, d.lease)
	}
	r.readings = fresh
	r.pass(r.table.Observe(r.now(), leases))
}

func (r *reader) read(l *coordinationv1.Lease) reading {
	before, known := r.readings[l.Name]
	if known && before.version == l.ResourceVersion && l.ResourceVersion != "" {
		return before
	}
	d := reading{version: l.ResourceVersion}
	d.lease, d.err = parse(l, r.s.o.ClusterUID, r.key)
	if d.err != nil && (before.err == nil || before.err.Error() != d.err.Error()) { // once
		r.s.log.Warn("a Lease is ignored", "lease", l.Name, "namespace", l.Namespace, "error", d.err)
	}
	return d
}

// tick lets time pass: Leases age, and a watch in which the own renewals do not come back is given up.
func (r *reader) tick() {
	if !r.listed {
		return
	}
	l := r.table.Listing(r.now())
	if now := r.now().Mono; !l.Reachable && now-r.restarted > r.s.o.GoneAfter/2 {
		r.restarted = now
		r.s.follow.Restart()
	}
	r.pass(l)
}

// failed begins with the last view where the API cannot be reached at the start (R6).
func (r *reader) failed(err error) {
	if !r.failing {
		r.failing = true
		r.s.log.Warn("the Leases of the other members cannot be followed, trying again", "error", err)
	}
	if !r.sent {
		entries, err := r.s.kept.Load()
		if err != nil {
			r.s.log.Warn("starting without the last view", "error", err)
		}
		r.pass(membership.Listing{Entries: entries})
	}
}

// pass hands a listing on when it says something new, and keeps it for a restart.
func (r *reader) pass(l membership.Listing) {
	if r.sent && l.Same(r.last) {
		return
	}
	keep := l.Reachable && (!r.last.Reachable || !slices.Equal(l.Entries, r.last.Entries))
	r.last, r.sent = l, true
	r.s.mu.Lock()
	r.s.said.frozen = !l.Reachable
	r.s.mu.Unlock()
	if keep {
		if err := r.s.kept.Save(l.Entries); err != nil {
			r.s.log.Warn("a restart while the API is down would begin without this view", "error", err)
		}
	}
	r.sink(l)
}
