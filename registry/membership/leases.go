package membership

import (
	"cmp"
	"slices"
	"time"

	"github.com/muster-registry/muster/registry/model"
)

// Lease is one reading of a member's Lease, already found genuine.
type Lease struct {
	// Name is the object's.
	Name string
	// Member as its annotations tell; Incarnation is the holder, 0 when the Lease was released.
	Member model.Member
	// Renewal rises with each renewal of the Lease. It tells newer from older and nothing else: no foreign clock counts.
	Renewal int64
	// Own: it is the reader's own Lease, held by its present incarnation.
	Own bool
}

// Leases turns readings of Leases into listings.
//
// A Lease ages on the reader's own clock, since its renewal was last seen to change, and only up to the moment when the
// reader last saw its own renewal come back through the same watch: a watch can look alive for 45 s when it is not
// (P13), and a reader that was paused has seen nothing (R4). A watch hands out changes in the order in which they were
// made, so whoever sees its own renewal has seen all that others wrote before it.
//
// Leases is not safe for concurrent use.
type Leases struct {
	goneAfter time.Duration
	// ownSeen is when the own renewal was last seen to change.
	ownSeen    time.Duration
	ownRenewal int64
	ownKnown   bool
	reader     model.Incarnation
	held       map[string]*heldLease
}

type heldLease struct {
	member  model.Member
	renewal int64
	seen    time.Duration
	expired bool
	left    bool
}

// NewLeases makes an empty table. A Lease that is not renewed for goneAfter is dead.
func NewLeases(goneAfter time.Duration) *Leases {
	return &Leases{goneAfter: goneAfter, held: map[string]*heldLease{}}
}

// silence is how long the own renewal may stay away until the source counts as unreachable.
func (l *Leases) silence() time.Duration { return l.goneAfter / 2 }

// Observe takes in all Leases of the cluster as they are now, and returns the listing.
func (l *Leases) Observe(now model.Time, leases []Lease) Listing {
	present := make(map[string]bool, len(leases))
	for _, r := range leases {
		if r.Own {
			l.observeOwn(now.Mono, r.Renewal)
			l.reader = r.Member.Incarnation
			continue
		}
		present[r.Name] = true
		l.observePeer(now.Mono, r)
	}
	for name := range l.held {
		if !present[name] {
			delete(l.held, name)
		}
	}
	return l.Listing(now)
}

// Listing is what the last observation says at this later moment.
func (l *Leases) Listing(now model.Time) Listing {
	out := Listing{
		Reachable: l.ownKnown && now.Mono-l.ownSeen <= l.silence(), Reader: l.reader, Renewal: l.ownRenewal,
		Entries: make([]Entry, 0, len(l.held)),
	}
	for _, h := range l.held {
		if !h.expired && l.ownSeen-h.seen > l.goneAfter {
			h.expired = true
		}
		if h.member.Incarnation == 0 {
			continue // released before it was ever seen held
		}
		out.Entries = append(out.Entries, Entry{Member: h.member, Alive: !h.expired && !h.left, Left: h.left})
	}
	slices.SortFunc(out.Entries, func(a, b Entry) int { return cmp.Compare(a.Incarnation, b.Incarnation) })
	return out
}

// observeOwn notes that the own renewal has come back. After a gap nobody has aged: what the others wrote meanwhile may
// still be on its way.
func (l *Leases) observeOwn(mono time.Duration, renewal int64) {
	if l.ownKnown && renewal == l.ownRenewal {
		return
	}
	if !l.ownKnown || mono-l.ownSeen > l.silence() {
		for _, h := range l.held {
			h.seen = mono
		}
	}
	l.ownKnown, l.ownRenewal, l.ownSeen = true, renewal, mono
}

// observePeer takes what is newer than what was seen: an old reading that somebody put back revives nobody and releases
// nobody (S2).
func (l *Leases) observePeer(mono time.Duration, r Lease) {
	h := l.held[r.Name]
	switch {
	case h == nil:
		h = &heldLease{}
		l.held[r.Name] = h
	case r.Renewal <= h.renewal:
		return
	}
	h.renewal, h.seen, h.expired = r.Renewal, mono, false
	h.left = r.Member.Incarnation == 0
	if !h.left { // a released one keeps whom it was last held by
		h.member = r.Member
	}
}
