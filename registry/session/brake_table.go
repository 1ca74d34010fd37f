package session

import (
	"time"

	"github.com/muster-registry/muster/registry/model"
)

// weigh notes whether an unclaimed record may end within one window of the brake, whoever would end it and whatever its
// ports answer.
func (t *Table) weigh(now model.Time, r *model.Record) {
	b := &t.brake
	if !b.enabled() {
		return
	}
	var soon bool
	switch horizon := now.Mono + b.limits.Window; {
	case r.Unclaimed == model.CausePublisher && !t.cut(now, r.Since):
		soon = r.Since+t.opts.Timeouts.Connection <= horizon
	case r.Since+t.opts.Timeouts.MemberLoss <= horizon: // else there is no need to ask for cuts
		soon = t.leniently(now, r) <= horizon
	}
	if soon {
		t.count(now, r.Key.Service)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if soon {
		b.doubt(r.Key, len(r.Instances))
	} else {
		b.doubt(r.Key, 0)
	}
}

// pruneDoubts drops, once a minute, doubts about records that are gone or vouched for: changes of one record may be noted
// in another order than they were made, and the catalog may give up what others hold.
func (t *Table) pruneDoubts(now model.Time) {
	t.mu.Lock()
	var keys []model.RecordKey
	if now.Mono-t.brake.pruned >= time.Minute {
		t.brake.pruned = now.Mono
		for k := range t.brake.doubtful {
			keys = append(keys, k)
		}
	}
	t.mu.Unlock()
	for _, k := range keys {
		r := t.store.Record(k)
		if r != nil && !r.Deleted && (r.Unclaimed != model.Vouched || k.Publisher.Kind == model.KindBeat && !allHealthy(r)) {
			continue
		}
		t.mu.Lock()
		t.brake.doubt(k, 0)
		t.mu.Unlock()
	}
}

// weighBeat is for a publisher whose beats have stopped; the brake has seen that its instances are unhealthy.
func (t *Table) weighBeat(now model.Time, k model.ServiceKey) {
	if t.brake.enabled() {
		t.count(now, k)
	}
}

// count makes sure that the instances of a service in which something may end have been counted, as soon as it may: what
// comes later makes up for what ends. The brake keeps the count in step from there; changes that go on meanwhile may be
// counted twice, so that it is made anew now and then.
func (t *Table) count(now model.Time, k model.ServiceKey) {
	all := t.store.Instances()
	t.mu.Lock()
	t.brake.all.begin(all)
	s := t.brake.services[k]
	due := s == nil || s.counted == 0 || now.Mono-s.counted >= recount
	t.mu.Unlock()
	if !due {
		return
	}
	n := 0
	for _, r := range t.store.Service(k) {
		n += r.Shows()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s = t.brake.tally(k)
	s.live, s.counted = n, now.Mono
	s.begin(n)
}

// notBraked notes that the brake holds a record no longer: it is not over its time, or not for us to end.
func (t *Table) notBraked(key model.RecordKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.brake.held, key)
}

// permit asks the brake whether a record whose time is over may end. A publisher's own order asks nobody.
func (t *Table) permit(now model.Time, r *model.Record, due time.Duration, confirmed bool) bool {
	if !t.brake.enabled() {
		return true
	}
	t.count(now, r.Key.Service)
	all := t.store.Instances()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.brake.permit(now, expiry{key: r.Key, instances: len(r.Instances), due: due, confirmed: confirmed}, all)
}
