package session

import (
	"maps"
	"slices"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
)

// Observe takes in what others changed in the catalog, and does what this member owes to it as an origin.
func (t *Table) Observe(now model.Time, changes []catalog.Change) []Signal {
	t.note(now, changes)
	t.show(now, changes)
	var signals []Signal
	for _, c := range changes {
		switch c.Key.Publisher.Kind {
		case model.KindConnection:
			signals = append(signals, t.observeConnection(now, c)...)
		case model.KindBeat:
			t.observeBeat(now, c)
		}
	}
	return signals
}

// observeConnection: a record of a connection that we hold was removed, marked or stamped by somebody. We stamp it
// again, once the client has shown that it lives: it may have registered elsewhere since.
func (t *Table) observeConnection(now model.Time, c catalog.Change) []Signal {
	t.mu.Lock()
	if own := t.connOf(c.Key); own != nil {
		defer t.mu.Unlock()
		if c.New.Version.Origin == t.incarnation() && !c.New.Deleted && c.New.Unclaimed == model.Vouched {
			return nil
		}
		return t.reclaim(now, own, c.Key.Service)
	}
	t.mu.Unlock()
	t.denyForgotten(now, c)
	return nil
}

// connOf is the connection of ours that published a record; nil: there is none. It is called with the lock held.
func (t *Table) connOf(key model.RecordKey) *conn {
	c := t.conns[key.Publisher.ID]
	if c == nil || c.publisher != key.Publisher || !inCatalog(c.published.Get(key.Service)) {
		return nil
	}
	return c
}

// reclaim wants the record stamped again, after a sign of life. Called with the lock held.
func (t *Table) reclaim(now model.Time, c *conn, k model.ServiceKey) []Signal {
	key := model.RecordKey{Publisher: c.publisher, Service: k}
	if t.restamps[key] {
		return nil
	}
	t.restamps[key] = true
	return t.detect(now, c)
}

// reclaimAll is for a new incarnation: what the old one vouched for needs a stamp of the new one. Called with the lock
// held. Beats do the same by themselves, when they come.
func (t *Table) reclaimAll(now model.Time) []Signal {
	var signals []Signal
	for _, id := range slices.Sorted(maps.Keys(t.conns)) {
		c := t.conns[id]
		for _, r := range c.published.sorted() {
			signals = append(signals, t.reclaim(now, c, r.Key.Service)...)
		}
	}
	return signals
}

// restamp vouches again for a record of a connection that lives. What was removed meanwhile is gone from the catalog, so
// its instances are taken from the connection's last publication.
func (t *Table) restamp(now model.Time, published *model.Record) {
	t.update(now, published.Key, func(cur *model.Record) *model.Record {
		if cur == nil || cur.Deleted {
			return t.restamped(now, published)
		}
		return t.restamped(now, cur)
	})
}

// observeBeat: two members never out-stamp each other. A newer version of a live origin ends our vouching, and so does
// an order, unless they only look newer; one of an origin that is gone does not. What somebody removed or marked is brought
// back at once, if its publisher has beaten since this member woke: in a pause it may have fallen silent (R4).
func (t *Table) observeBeat(now model.Time, c catalog.Change) {
	t.mu.Lock()
	b := t.beats[c.Key]
	if b == nil {
		t.mu.Unlock()
		if !t.endedByOther(c) || !t.insist(now, c) {
			t.denyForgotten(now, c)
		}
		return
	}
	last, awake := b.last, b.last > t.woke
	alive := t.view != nil && t.view.Has(c.New.Version.Origin)
	t.mu.Unlock()
	own := c.New.Version.Origin == t.incarnation()
	switch {
	case !own && t.insist(now, c):
	case !own && c.New.Deleted, !own && alive && c.New.Unclaimed == model.Vouched:
		t.yield(now, c.Key)
	case !c.New.Deleted && c.New.Unclaimed == model.Vouched:
		// ours, or of one that is in no view, or not yet: the next beat stamps it again. Two who do not know each other
		// yet would answer each other's stamp with a newer one as fast as the link allows (P14).
	case !awake, now.Mono-last > t.opts.Timeouts.BeatUnhealthy:
		t.yield(now, c.Key)
	default:
		t.rescue(now, c)
	}
}

// insist says again what a publisher said, where a version covers it that only looks newer: it was given on a clock that ran ahead, as
// is known since (P8). It reports whether that was so.
func (t *Table) insist(now model.Time, c catalog.Change) bool {
	if c.Old == nil || c.Old.Deleted || !t.opts.HLC.Misled(now, c.Old.Version.Said, c.New.Version.Said) {
		return false
	}
	t.update(now, c.Key, func(cur *model.Record) *model.Record {
		if cur == nil || cur.Version != c.New.Version {
			return nil
		}
		r := *c.Old
		r.Version.Said = cur.Version.Said + 1
		r.Version.Stamp = max(r.Version.Stamp, r.Version.Said)
		return &r
	})
	return true
}

// endedByOther reports whether somebody has ended what another member vouches for, who can say no to it. Until that one has spoken, others
// may insist in its name: no list lacks what it keeps, and what it does not keep it denies.
func (t *Table) endedByOther(c catalog.Change) bool {
	if c.Old == nil || c.Old.Unclaimed != model.Vouched || !c.New.Deleted {
		return false
	}
	origin := c.Old.Version.Origin
	return origin != c.New.Version.Origin && origin != t.incarnation() && t.canAsk(origin)
}

// rescue brings back a record of a publisher that beats, which somebody removed or marked.
func (t *Table) rescue(now model.Time, c catalog.Change) {
	t.update(now, c.Key, func(cur *model.Record) *model.Record {
		if cur == nil {
			return nil
		}
		if !cur.Deleted {
			return t.restamped(now, cur)
		}
		if c.Old == nil || c.Old.Deleted {
			return nil
		}
		return t.restamped(now, c.Old)
	})
}

// denyForgotten: a version of our own that we neither vouch for nor remember is no more. Whoever keeps it is told by a
// tombstone of exactly that version, behind what the publisher has registered since. A member that does not hold the shard
// forgets what became of its records when it has handed them over: it can only say that it does not vouch for this one.
func (t *Table) denyForgotten(now model.Time, c catalog.Change) {
	r := c.New
	if c.Old != nil && !c.Old.Deleted || r.Deleted || r.Unclaimed != model.Vouched || r.Version.Origin != t.incarnation() {
		return
	}
	successor := t.successor(r)
	t.update(now, c.Key, func(cur *model.Record) *model.Record {
		switch {
		case cur == nil || cur.Deleted || cur.Version != r.Version:
			return nil
		case !t.opts.Engine.Holds(c.Key.Service.Shard()):
			return cur.WithUnclaimed(model.CauseOurs, now.Mono)
		}
		tomb := cur.Tombstone(cur.Version)
		tomb.Rare = model.NewSuccession(cur.Supersedes(), successor)
		return tomb
	})
}
