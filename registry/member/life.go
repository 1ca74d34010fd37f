package member

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
)

// life is how far a member is: joining, complete, leaving; and whether lists are answered yet.
type life struct {
	// joined is since when the member tries to become complete.
	joined   time.Duration
	complete bool
	reason   string
	// listed: the source of membership has answered since.
	listed bool
	// dialled is how the last attempt to connect to each address ended.
	dialled map[string]replication.Dial
	// up are the peers with a stream, said what they have said of themselves on it; offered those with whom an exchange has
	// begun on it, merged those with whom it is done.
	up, offered, merged map[model.Incarnation]bool
	said                map[model.Incarnation]replication.Status
	offers              []offer
	// seeded: the member was complete, or has merged with one that holds everything, and so holds nearly everything itself.
	seeded bool
	// waited: somebody was waited for after others had answered, whose answers have grown old; again: they were asked
	// once more, and that answer counts.
	waited, again bool

	// readsOpen: lists are answered. During a cold start they are not: they could wipe what clients still hold.
	readsOpen   bool
	cold        bool
	alone       int
	coldSince   time.Duration
	firstRecord time.Duration
	lastRecord  time.Duration
}

// offer is an exchange to begin: with sums, or with all that we hold.
type offer struct {
	to      model.Incarnation
	compare bool
}

func newLife(now model.Time) life {
	return life{
		joined: now.Mono, coldSince: now.Mono, firstRecord: -1, reason: "the source of membership has not answered yet",
		dialled: map[string]replication.Dial{}, up: map[model.Incarnation]bool{}, offered: map[model.Incarnation]bool{}, merged: map[model.Incarnation]bool{}, said: map[model.Incarnation]replication.Status{},
	}
}

func (l *life) peerUp(id model.Incarnation) {
	l.up[id] = true
	delete(l.said, id)
	delete(l.offered, id)
	delete(l.merged, id)
}

// peerDown: a cut is noticed seconds after it began, and what the others answered meanwhile has grown as old.
func (l *life) peerDown(id model.Incarnation) {
	if l.up[id] && !l.complete && len(l.merged) > 0 {
		l.waited, l.again = true, false
	}
	delete(l.up, id)
	delete(l.offered, id)
	delete(l.merged, id)
	delete(l.said, id)
}

// peerStatus: what a peer answered before it was complete was not the whole, so it is offered to again.
func (l *life) peerStatus(id model.Incarnation, s replication.Status) {
	if s.Complete && !l.said[id].Complete {
		delete(l.offered, id)
		delete(l.merged, id)
	}
	l.said[id] = s
}

func (l *life) peerMerged(id model.Incarnation) {
	l.merged[id] = true
	l.seeded = l.seeded || l.said[id].Whole()
}

// peerLate: the answer was made a while ago, and what came after it is on its way. Another exchange begins, which takes less.
func (l *life) peerLate(id model.Incarnation) {
	delete(l.offered, id)
	l.seeded = l.seeded || l.said[id].Whole()
}

// rejoin makes the member incomplete: it offers and merges again, with all peers.
func (l *life) rejoin(now model.Time) {
	l.complete, l.joined = false, now.Mono
	l.reason = "joining again after a pause"
	l.waited, l.again, l.listed = false, false, false
	clear(l.offered)
	clear(l.merged)
}

func (l *life) noteRecord(now model.Time) {
	if l.firstRecord < 0 {
		l.firstRecord = now.Mono
	}
	l.lastRecord = now.Mono
}

func (l *life) takeOffers() []offer {
	o := l.offers
	l.offers = nil
	return o
}

// state is what others are told, as long as the member is not leaving. It never goes back.
func (l *life) state() model.MemberState {
	if l.complete {
		return model.StateComplete
	}
	return model.StateStarting
}

// advance moves the member on, when it can. Called with the member's lock held.
func (m *Member) advance(now model.Time) {
	m.offerToNewPeers(now)
	if !m.life.complete {
		m.life.complete, m.life.reason = m.isComplete(now)
		if m.life.complete && m.blind(now) {
			m.engine.DoubtBut(m.mergedWith()) // who could tell what has changed since is not there
		}
		if n := m.engine.Missing(); m.life.complete && n > 0 && len(m.others()) > 0 {
			m.life.complete, m.life.reason = false, fmt.Sprintf("waiting for a copy of %d shards", n)
		}
	}
	m.life.seeded = m.life.seeded || m.life.complete
	if m.life.complete && !m.life.readsOpen {
		m.life.readsOpen = m.mayOpenReads(now)
	}
}

// mergedWith are the complete members that have answered.
func (m *Member) mergedWith() []model.Incarnation {
	var ids []model.Incarnation
	for id := range m.life.merged {
		if m.life.said[id].Complete {
			ids = append(ids, id)
		}
	}
	return ids
}

// offerToNewPeers: whoever joins, rejoins or wakes sends what it holds and takes the merged answer, from each that has said
// what it is. A newcomer to members that hold everything takes that from one of them, and compares with the others then.
func (m *Member) offerToNewPeers(now model.Time) {
	if m.life.complete {
		return
	}
	for _, p := range m.tracker.View().Members {
		id := p.Incarnation
		s, heard := m.life.said[id]
		whole := s.Whole() && !m.engine.Sharded()
		if id == m.self.Incarnation || !m.life.up[id] || !heard || m.life.offered[id] || whole && m.seeding(now) {
			continue
		}
		m.life.offered[id] = true
		m.life.offers = append(m.life.offers, offer{to: id, compare: whole && m.life.seeded && s.Compares()})
	}
}

// seeding: a member in reach is about to send everything. One that falls silent is not waited for.
func (m *Member) seeding(now model.Time) bool {
	if m.life.seeded {
		return false
	}
	for id := range m.life.offered {
		if m.life.said[id].Whole() && m.engine.InReach(now, id) {
			return true
		}
	}
	return false
}

// isComplete: offered and merged with every reachable replica. What cannot be reached is waited for no longer than the
// bootstrap limit; but when some member is complete, at least one such must have answered.
func (m *Member) isComplete(now model.Time) (bool, string) {
	if !m.tracker.Listed() {
		return false, "the source of membership has not answered yet"
	}
	late := now.Mono-m.life.joined >= m.opts.Timeouts.Bootstrap
	if why := m.unmet(late); why != "" {
		return false, why
	}
	var sources, merged int
	missing := ""
	for _, p := range m.tracker.View().Members {
		switch id := p.Incarnation; {
		case id == m.self.Incarnation:
			continue
		case m.life.up[id] && !m.life.merged[id]:
			return false, "merging with " + p.Name
		case p.State == model.StateStarting, p.State == model.StateLeaving && m.life.up[id] && !m.life.said[id].Complete:
			continue // it holds no more than we do
		case m.life.said[id].Complete:
			merged++
		case !m.life.up[id]:
			missing = cmp.Or(p.Name, p.Address, p.Incarnation.String())
		}
		sources++
	}
	for _, p := range m.tracker.Estranged() {
		if p.State != model.StateStarting {
			sources++
			missing = cmp.Or(p.Name, p.Address, p.Incarnation.String())
		}
	}
	switch {
	case sources == 0 && (m.tracker.View().Frozen || !m.life.listed && !m.opts.Policy.Alone):
		return false, "the source of membership cannot be reached, and no former view tells who else there is"
	case sources == 0 && m.tracker.MayMiss(now):
		return false, "waiting for the source of membership to say who lives: nobody else is in the view"
	case sources == 0:
		// nobody is complete: a cold start, unless we hold what we held before a pause
		m.life.alone++
		if !m.life.readsOpen && !m.life.cold {
			m.life.cold, m.life.coldSince = true, now.Mono
		}
		return true, ""
	case missing != "" && (merged == 0 || !late):
		m.life.waited, m.life.again = true, false
		if merged == 0 {
			return false, fmt.Sprintf("no complete member can be reached, %s for one: nothing to merge with", missing)
		}
		return false, fmt.Sprintf("waiting for %s, which cannot be reached", missing)
	case m.life.waited && !m.life.again:
		m.life.again = true
		clear(m.life.offered)
		clear(m.life.merged)
		return false, "merging once more after waiting"
	}
	// all complete ones have answered; or all that there are were paused with us, and have told each other what they hold
	return true, ""
}

// unmet says which listed address keeps the member from knowing who is complete: sources that tell no incarnation leave
// that to the handshake. One that refuses connections is nobody; a silent one is waited for until it is late; one where
// TLS or the handshake fails is somebody, and no reason for a cold start.
func (m *Member) unmet(late bool) string {
	for _, a := range m.tracker.Unmet() {
		switch d := m.life.dialled[a]; {
		case d == replication.DialRejected:
			return "the member at " + a + " refuses the handshake: compare the certificates and the cluster of both"
		case d != replication.DialRefused && !late:
			return "waiting for an answer of " + a
		}
	}
	return ""
}

// forgetDialled keeps what is known of addresses that somebody lists: pods come and go under ever new ones.
func (l *life) forgetDialled(t *membership.Tracker) {
	listed := t.Unmet()
	for _, p := range t.View().Members {
		listed = append(listed, p.Address)
	}
	maps.DeleteFunc(l.dialled, func(address string, _ replication.Dial) bool { return !slices.Contains(listed, address) })
}

// mayOpenReads: at once when a member that we merged with answers lists already. In a cold start, when no new record
// has come for the quiet time, counted from the first; at the limit in any case.
func (m *Member) mayOpenReads(now model.Time) bool {
	for _, p := range m.tracker.View().Members {
		if s, ok := m.engine.PeerStatus(p.Incarnation); ok && s.ReadsOpen && (m.life.merged[p.Incarnation] || m.engine.Agreed(p.Incarnation)) {
			return true
		}
	}
	t := m.opts.Timeouts
	if now.Mono-m.life.coldSince >= t.ColdStartLimit {
		return true
	}
	return m.life.firstRecord >= 0 && now.Mono-m.life.lastRecord >= t.ColdStartQuiet
}
