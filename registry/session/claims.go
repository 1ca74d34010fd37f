package session

import (
	"time"

	"github.com/muster-registry/muster/registry/model"
)

// claim is what this member knows of a record that nobody vouches for.
type claim struct {
	// next is when it is looked at again. Timers that were set for another time are void.
	next time.Duration
	// asked is when its ports were probed, 0 = they were not; verdict says that answer holds.
	asked   time.Duration
	verdict bool
	answer  PortAnswer
}

// addClaim is called with the lock held.
func (t *Table) addClaim(now model.Time, r *model.Record) {
	if t.claims[r.Key] == nil {
		t.claims[r.Key] = &claim{next: now.Mono}
		t.timers.add(now.Mono, timerClaim, r.Key)
	}
}

// claimDue reports whether a timer is the one that the claim waits for.
func (t *Table) claimDue(tm timer) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.claims[tm.key]
	return c == nil || c.next == tm.at
}

// checkClaim ends an unclaimed record whose time is over. Its origin does, while that is a member: else the first
// replica of the shard.
func (t *Table) checkClaim(now model.Time, key model.RecordKey) {
	r := t.store.Record(key)
	t.mu.Lock()
	if r == nil || r.Deleted || r.Unclaimed == model.Vouched {
		delete(t.claims, key)
		t.mu.Unlock()
		return
	}
	t.addClaim(now, r)
	t.mu.Unlock()
	if newer, ok := t.newer(r); ok {
		t.supersede(now, newer, model.Superseded{Publisher: key.Publisher, Version: r.Version})
		t.watchClaim(key, now.Mono+recheck)
		return
	}
	t.weigh(now, r)
	t.showClaim(now, r)
	t.mu.Lock()
	mine := t.executor(r) == t.incarnation() && !t.suspended(now)
	t.mu.Unlock()
	if !mine {
		t.notBraked(key)
		t.watchClaim(key, now.Mono+recheck)
		return
	}
	deadline, refuted := t.deadline(now, r)
	if deadline > now.Mono {
		t.notBraked(key)
		t.watchClaim(key, min(deadline, now.Mono+recheck))
		return
	}
	if !refuted && !t.heardSince(deadline) {
		t.watchClaim(key, now.Mono+relisten)
		return
	}
	if !t.permit(now, r, deadline, refuted) {
		t.watchClaim(key, now.Mono+recheck)
		return
	}
	t.expire(now, r)
	t.watchClaim(key, now.Mono+recheck) // it is a newer version that is unclaimed now, if any is
}

func (t *Table) watchClaim(key model.RecordKey, at time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.claims[key]; c != nil {
		c.next = at
		t.timers.add(at, timerClaim, key)
	}
}

// executor is called with the lock held.
func (t *Table) executor(r *model.Record) model.Incarnation {
	if t.view.Has(r.Version.Origin) {
		return r.Version.Origin
	}
	return t.ring.First(r.Key.Service.Shard())
}

// expire removes exactly the version that was seen: a publisher that is vouched for again meanwhile stays (P12).
func (t *Table) expire(now model.Time, seen *model.Record) {
	t.update(now, seen.Key, func(cur *model.Record) *model.Record {
		if cur == nil || cur.Deleted || cur.Version != seen.Version || cur.Unclaimed == model.Vouched {
			return nil
		}
		return cur.Tombstone(cur.Version)
	})
}

// deadline is the table of the design: when an unclaimed record ends, as far as is known now, and whether because its
// ports answered once and refuse now.
func (t *Table) deadline(now model.Time, r *model.Record) (at time.Duration, refuted bool) {
	to := t.opts.Timeouts
	if r.Unclaimed == model.CausePublisher && !t.cut(now, r.Since) {
		hidden := t.hidden(r.Since)
		switch known, answer := t.evidence(now, r); {
		case !known:
			return now.Mono + recheck, false
		case hidden && (answer == PortAccepted || answer == PortUnknown || !r.Answered):
			return r.Since + to.MemberLoss, false
		case answer == PortAccepted || answer == PortUnknown || answer == PortSilent && r.Answered:
			return r.Since + to.Connection, false
		case r.Answered:
			return r.Since, true
		case python(r.By()):
			return r.Since + max(to.SilentConnection, pythonGrace), false
		default:
			return r.Since + to.SilentConnection, false
		}
	}
	refutable := r.Since + to.Refuted
	if r.Answered && now.Mono >= refutable {
		if known, answer := t.evidence(now, r); known && answer == PortRefused {
			return refutable, true
		}
	}
	return t.leniently(now, r), false
}

// leniently is when a record ends for which the trouble is ours: at the heal, and the grace from there, since its
// publisher may live behind the cut.
func (t *Table) leniently(now model.Time, r *model.Record) time.Duration {
	if t.cut(now, now.Mono) {
		return now.Mono + t.opts.Timeouts.MemberLoss
	}
	return max(r.Since, t.healed()) + t.opts.Timeouts.MemberLoss
}

// evidence is what the ports of the record say now; asked for again when the last answer is old.
func (t *Table) evidence(now model.Time, r *model.Record) (known bool, a PortAnswer) {
	if !t.opts.Probing {
		return true, PortUnknown
	}
	t.mu.Lock()
	c := t.claims[r.Key]
	if c == nil {
		t.mu.Unlock()
		return false, PortUnknown
	}
	if c.verdict && now.Mono-c.asked < reprobe {
		defer t.mu.Unlock()
		return true, c.answer
	}
	if c.asked == 0 || c.verdict {
		// a new round; the last verdict holds until it is answered
		had, answer := c.verdict, c.answer
		c.asked, c.verdict = now.Mono, false
		_, held := t.brake.held[r.Key]
		t.mu.Unlock()
		t.wantProbe(r, held)
		return had, answer
	}
	defer t.mu.Unlock()
	_, held := t.brake.held[r.Key]
	patience := probeTimeout
	if held {
		patience = patientTimeout
	}
	if now.Mono-c.asked >= patience {
		c.verdict, c.answer = true, PortUnknown
		return true, PortUnknown
	}
	return held, PortUnknown // one that is held has had its time, and nobody waits for the verdict
}

func (t *Table) wantProbe(r *model.Record, patient bool) {
	if !t.opts.Probing || r.Deleted {
		return
	}
	p := Probe{Key: r.Key, Patient: patient}
	for _, in := range r.Instances {
		p.Targets = append(p.Targets, in.Key())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.probes) < maxProbes { // one that is left out says nothing
		t.probes = append(t.probes, p)
	}
}

// probeOnce asks the ports of a record that has just come, so that one knows later what they answered at all.
func (t *Table) probeOnce(key model.RecordKey) {
	r := t.store.Record(key)
	if r == nil || r.Deleted || r.Answered || r.Version.Origin != t.incarnation() {
		return
	}
	t.wantProbe(r, true)
}

// Verdict takes in what the ports of a record answered.
func (t *Table) Verdict(now model.Time, key model.RecordKey, a PortAnswer) {
	t.mu.Lock()
	if b := t.beats[key]; b != nil {
		b.refused = a == PortRefused
	}
	if c := t.claims[key]; c != nil {
		c.verdict, c.answer = true, a
		c.asked, c.next = now.Mono, now.Mono
		t.timers.add(now.Mono, timerClaim, key)
	}
	t.mu.Unlock()
	if a != PortAccepted {
		return
	}
	changes := t.update(now, key, func(cur *model.Record) *model.Record {
		if cur == nil || cur.Deleted || cur.Answered {
			return nil
		}
		return cur.WithAnswered()
	})
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range changes {
		if own := t.connOf(c.Key); own != nil && own.published.Get(c.Key.Service).Version == c.New.Version {
			own.published.Put(c.New) // one of them is enough
		}
	}
}
