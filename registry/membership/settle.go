package membership

import (
	"slices"

	"github.com/muster-registry/muster/registry/model"
)

// settle applies the rules to all that is known at this moment. It does the same whatever order the news came in.
func (t *Tracker) settle(now model.Time) {
	t.forgetStreams(now)
	if t.frozen && !t.reached {
		t.seedFrozen()
		t.enterStreaming()
	}
	t.replaceByStream()
	if !t.frozen {
		t.enterListed()
		t.enterStreaming()
		t.removeUnsupported(now)
	}
	t.updateStates()
	t.publish()
}

// forgetStreams drops those that ended longer ago than they linger.
func (t *Tracker) forgetStreams(now model.Time) {
	for inc, s := range t.streams {
		if !s.live && now.Mono-s.ended >= t.policy.Linger {
			delete(t.streams, inc)
		}
	}
}

// seedFrozen begins with the last view of a former process where the source has never been reached (R6).
func (t *Tracker) seedFrozen() {
	for _, e := range t.listing.Entries {
		if e.Incarnation != 0 && e.Alive && !t.isSelf(e.Member) && t.slot(e.Member) == nil {
			t.enter(e.Member, false)
		}
	}
}

// replaceByStream admits new incarnations of pods that are in the view: only a member passes the handshake, and a
// process that speaks is newer than one that is remembered.
func (t *Tracker) replaceByStream() {
	for _, s := range t.sortedStreams() {
		old := t.slot(s.member)
		switch {
		case !s.live:
		case old != nil && old.Incarnation != s.member.Incarnation:
			t.replace(old, s.member, false)
		case old == nil && slices.ContainsFunc(t.leftFrozen, func(m model.Member) bool { return sameSlot(m, s.member) }):
			t.enter(s.member, false)
		}
	}
}

// enterListed admits what the source vouches for by incarnation, and takes releases.
func (t *Tracker) enterListed() {
	for _, e := range t.listing.Entries {
		switch {
		case e.Incarnation == 0 || t.isSelf(e.Member):
		case e.Left:
			t.remove(e.Incarnation)
		case !e.Alive || t.gone.set[e.Incarnation]:
		default:
			t.enterEntry(e)
		}
	}
}

func (t *Tracker) enterEntry(e Entry) {
	old := t.slot(e.Member)
	switch {
	case old == nil:
		if s := t.slotStream(e.Member); s != nil && s.member.Incarnation != e.Incarnation {
			return // the listing lags behind the process that speaks: enterStreaming takes that one
		}
		t.enter(e.Member, true)
	case old.Incarnation == e.Incarnation:
		old.confirmed = true
		old.State = max(old.State, e.State)
	case old.confirmed || !t.streaming(old.Incarnation):
		t.replace(old, e.Member, true)
	}
}

// enterStreaming admits those that passed the handshake at a listed address, or of a listed pod.
func (t *Tracker) enterStreaming() {
	for _, s := range t.sortedStreams() {
		if !s.live || t.gone.set[s.member.Incarnation] || t.slot(s.member) != nil {
			continue
		}
		if slices.ContainsFunc(t.listing.Entries, func(e Entry) bool { return !e.Left && sameSlot(e.Member, s.member) }) {
			t.enter(s.member, false)
		}
	}
}

// removeUnsupported removes those that neither the source nor a stream stands for, and in a list of addresses those
// that refuse connections.
func (t *Tracker) removeUnsupported(now model.Time) {
	for inc, m := range t.members {
		if t.streaming(inc) {
			continue
		}
		if !t.vouched(m.Member) || t.refuses(m.Address) {
			t.remove(inc)
		}
	}
}

func (t *Tracker) vouched(m model.Member) bool {
	return slices.ContainsFunc(t.listing.Entries, func(e Entry) bool {
		return e.Alive && (e.Incarnation == m.Incarnation || sameSlot(e.Member, m))
	})
}

func (t *Tracker) refuses(address string) bool {
	r, ok := t.refused[address]
	return ok && t.policy.RefusedFor > 0 && r.last-r.first >= t.policy.RefusedFor
}

// updateStates takes what members say themselves. A state only ever rises in one incarnation, so the order of the news
// does not matter.
func (t *Tracker) updateStates() {
	for inc, m := range t.members {
		if s := t.streams[inc]; s != nil {
			state := max(m.State, s.member.State)
			m.Member = s.member
			m.State = state
		}
	}
}

func (t *Tracker) enter(m model.Member, confirmed bool) {
	if !t.gone.set[m.Incarnation] {
		t.members[m.Incarnation] = &tracked{Member: m, confirmed: confirmed}
	}
}

func (t *Tracker) replace(old *tracked, m model.Member, confirmed bool) {
	if t.gone.set[m.Incarnation] {
		return
	}
	t.remove(old.Incarnation)
	t.enter(m, confirmed)
}

// slot is the member in the view that has the same UID, or the same address where no more is known.
func (t *Tracker) slot(m model.Member) *tracked {
	if in := t.members[m.Incarnation]; in != nil {
		return in
	}
	for _, in := range t.members {
		if sameSlot(in.Member, m) {
			return in
		}
	}
	return nil
}

func (t *Tracker) slotStream(m model.Member) *stream {
	for inc, s := range t.streams {
		if s.live && !t.gone.set[inc] && sameSlot(s.member, m) {
			return s
		}
	}
	return nil
}

// streaming reports whether there is a stream, or was one a moment ago.
func (t *Tracker) streaming(inc model.Incarnation) bool { return t.streams[inc] != nil }

// sortedStreams makes the outcome independent of the order of a map.
func (t *Tracker) sortedStreams() []*stream {
	out := make([]*stream, 0, len(t.streams))
	for _, s := range t.streams {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *stream) int {
		if a.member.Incarnation < b.member.Incarnation {
			return -1
		}
		return 1
	})
	return out
}
