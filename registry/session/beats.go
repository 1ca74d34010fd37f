package session

import (
	"slices"
	"strconv"
	"time"

	"github.com/muster-registry/muster/registry/model"
)

// BeatPublisher is the publisher of an HTTP client: its address (nacos-protocol §4.3).
func BeatPublisher(ip string, port int) model.Publisher {
	return model.Publisher{Kind: model.KindBeat, ID: ip + ":" + strconv.Itoa(port)}
}

// beat is a publisher in a service that this member vouches for: it is responsible for its beats, or took its
// registration and waits for the responsible member to confirm.
type beat struct {
	last  time.Duration
	taker model.Incarnation
	// refused: its ports were probed since the last beat, at asked, and all refused.
	refused bool
	asked   time.Duration
	// next is when it is looked at again. Timers that were set for another time are void.
	next time.Duration
}

// Responsible is the member that vouches for a publisher's beats in a service; reachable says whether it can be reached.
func (t *Table) Responsible(key model.RecordKey) (inc model.Incarnation, reachable bool) {
	t.mu.Lock()
	r := t.ring
	t.mu.Unlock()
	if r == nil {
		return t.incarnation(), true
	}
	inc = r.Responsible(key.Publisher, key.Service.Shard())
	return inc, inc == t.incarnation() || t.opts.Engine.Connected(inc)
}

// Register takes an HTTP registration. This member vouches for it until the responsible one confirms by its own version. An
// identical one is no change, unless the publisher may have said something else meanwhile, behind a cut or while this member slept.
func (t *Table) Register(now model.Time, k model.ServiceKey, in model.Instance, client model.Client) {
	key := model.RecordKey{Publisher: BeatPublisher(in.IP, int(in.Port)), Service: k}
	by := &client
	if client == (model.Client{}) {
		by = nil
	}
	t.vouch(now, key, t.incarnation())
	t.mu.Lock()
	view := t.view
	if view != nil {
		t.noteCut(now)
	}
	unheard := t.cutSaid
	t.mu.Unlock()
	changes := t.update(now, key, func(cur *model.Record) *model.Record {
		instances := []model.Instance{in.Kept(k)}
		if cur != nil && cur.Unclaimed == model.Vouched && cur.SameContent(instances) && (view == nil || view.Has(cur.Version.Origin)) && cur.Version.Said > unheard {
			return nil
		}
		return &model.Record{Key: key, Version: t.said(now), Instances: instances, Client: by, Answered: cur != nil && cur.Answered}
	})
	if len(changes) > 0 { // it is ours now, also if somebody has ended our vouching meanwhile
		t.vouch(now, key, t.incarnation())
		return
	}
	t.yield(now, key) // an identical registration again is no change, whoever vouches for it
}

// Deregister is the publisher's own order, and so counts wherever it arrives. Unknown is no error.
func (t *Table) Deregister(now model.Time, k model.ServiceKey, ik model.InstanceKey) {
	t.DeregisterPublisher(now, model.RecordKey{Publisher: BeatPublisher(ik.IP, ik.Port), Service: k})
}

// DeregisterPublisher is the same, for an order that another member passes on.
func (t *Table) DeregisterPublisher(now model.Time, key model.RecordKey) {
	t.stopVouching(key)
	t.withdraw(now, key)
}

// Known is the first instance of a publisher in a service, as far as this member knows; nil: it has none. It is never changed.
func (t *Table) Known(key model.RecordKey) *model.Instance {
	if r := t.known(key); r != nil {
		return &r.Instances[0]
	}
	return nil
}

func (t *Table) known(key model.RecordKey) *model.Record {
	if r := t.store.Record(key); r != nil && !r.Deleted && len(r.Instances) > 0 {
		return r
	}
	return nil
}

// Beat takes a beat in, as the responsible member or in its place, and answers as Known does. What others vouched for, what
// nobody did and what was unhealthy is vouched for here from now on.
func (t *Table) Beat(now model.Time, key model.RecordKey, taker model.Incarnation) *model.Instance {
	r := t.known(key)
	if r == nil {
		return nil
	}
	t.vouch(now, r.Key, taker) // what is kept is the record's own: key may be a part of a request
	if r.Version.Origin != t.incarnation() || r.Unclaimed != model.Vouched || !allHealthy(r) {
		t.update(now, key, func(cur *model.Record) *model.Record {
			if cur == nil || cur.Deleted {
				return nil
			}
			return t.restamped(now, withHealth(cur, true))
		})
		t.vouch(now, r.Key, taker) // also if somebody has ended that meanwhile
	}
	return &r.Instances[0]
}

func (t *Table) vouch(now model.Time, key model.RecordKey, taker model.Incarnation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.beats[key]
	if b == nil {
		b = &beat{}
		t.watchNew(now, key, b)
	}
	b.last, b.taker, b.refused, b.asked = now.Mono, taker, false, 0
	t.brake.doubt(key, 0)
}

// watchNew is called with the lock held.
func (t *Table) watchNew(now model.Time, key model.RecordKey, b *beat) {
	t.beats[key] = b
	b.next = now.Mono + time.Second
	t.timers.beat(b.next, key)
}

func (t *Table) stopVouching(key model.RecordKey) *beat {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.beats[key]
	delete(t.beats, key)
	delete(t.brake.held, key)
	return b
}

// yield ends our vouching for a publisher, unless the catalog says by now that we do: it has beaten here since whoever calls
// looked. A record that says so with no publisher behind it would never end.
func (t *Table) yield(now model.Time, key model.RecordKey) {
	b := t.stopVouching(key)
	r := t.known(key)
	if b == nil || r == nil || r.Version.Origin != t.incarnation() || r.Unclaimed != model.Vouched {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.beats[key] == nil {
		t.watchNew(now, key, b)
	}
}

// checkBeat looks at a publisher whose beats may have stopped.
func (t *Table) checkBeat(now model.Time, tm timer) {
	key := tm.key
	t.mu.Lock()
	b := t.beats[key]
	if b == nil || b.next != tm.at {
		t.mu.Unlock()
		return
	}
	last, taker, refused, suspended := b.last, b.taker, b.refused, t.suspended(now)
	t.mu.Unlock()
	r := t.known(key)
	if r == nil || r.Version.Origin != t.incarnation() { // it beats there now, or is unclaimed: others, and claims, see to it
		t.yield(now, key)
		return
	}
	timeout := r.Instances[0].BeatTimeout(t.opts.Timeouts.BeatUnhealthy)
	remove := r.Instances[0].DeleteAfter(t.opts.Timeouts.BeatRemove)
	silence := now.Mono - last
	refuted := refused && r.Answered
	switch {
	case silence < timeout || suspended:
		t.watchBeat(now, key, max(last+timeout, now.Mono+time.Second))
		return
	case t.silenceIsOurs(now, key, last, taker):
		t.stopVouching(key)
		t.lose(now, key, true)
		return
	case t.hidden(last): // its port decides
		t.stopVouching(key)
		t.lose(now, key, false)
		return
	case refuted && t.permit(now, r, last+timeout, true), !refuted && silence >= remove && t.permit(now, r, last+remove, false):
		t.stopVouching(key)
		t.remove(now, key)
		return
	case allHealthy(r):
		t.update(now, key, func(cur *model.Record) *model.Record {
			if cur == nil || cur.Deleted || cur.Version != r.Version {
				return nil
			}
			return t.restamped(now, withHealth(cur, false))
		})
		t.probeBeat(now, r, false)
		t.weighBeat(now, key.Service)
	case silence >= remove && !refuted: // held back
		t.probeBeat(now, r, true)
	}
	if next := last + remove; next > now.Mono {
		t.watchBeat(now, key, min(next, now.Mono+recheck))
	} else {
		t.watchBeat(now, key, now.Mono+recheck)
	}
}

// probeBeat asks the ports of a publisher whose beats have stopped; again only when there was time for the last answer.
func (t *Table) probeBeat(now model.Time, r *model.Record, patient bool) {
	t.mu.Lock()
	b := t.beats[r.Key]
	due := b != nil && (b.asked == 0 || patient && now.Mono-b.asked >= reprobeHeld)
	if due {
		b.asked = now.Mono
	}
	t.mu.Unlock()
	if due {
		t.wantProbe(r, patient)
	}
}

func (t *Table) watchBeat(now model.Time, key model.RecordKey, at time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b := t.beats[key]; b != nil {
		b.next = max(at, now.Mono+100*time.Millisecond)
		t.timers.add(b.next, timerBeat, key)
	}
}

// silenceIsOurs: the beats may have gone where they cannot be heard from. Old heartbeat times never kill (P2, P3).
func (t *Table) silenceIsOurs(now model.Time, key model.RecordKey, last time.Duration, taker model.Incarnation) bool {
	if t.cut(now, last) {
		return true
	}
	if taker != t.incarnation() && !t.inView(taker) {
		return true
	}
	inc, _ := t.Responsible(key)
	return inc != t.incarnation()
}

func allHealthy(r *model.Record) bool {
	return !slices.ContainsFunc(r.Instances, func(i model.Instance) bool { return !i.Healthy })
}

func withHealth(r *model.Record, healthy bool) *model.Record {
	c := *r
	c.Instances = slices.Clone(r.Instances)
	for i := range c.Instances {
		c.Instances[i].Healthy = healthy
	}
	return &c
}
