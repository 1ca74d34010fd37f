package session

import (
	"slices"
	"time"

	"github.com/muster-registry/muster/registry/model"
)

// May the silence be ours? A publisher that was not heard from may live behind a cut, at a member that nobody hears, or at one that
// does not come to read what it is sent.

// cutLocked reports whether a member of the view cannot be reached, or is strained: its publishers may be alive behind the cut, and
// ours may have gone there.
func (t *Table) cutLocked(now model.Time) bool {
	return t.doubt || !t.allOthers(func(id model.Incarnation) bool { return t.opts.Engine.InReach(now, id) && !t.strained(id) })
}

// strained reports whether a member said last that what comes in waits there.
func (t *Table) strained(id model.Incarnation) bool {
	s, _ := t.opts.Engine.PeerStatus(id)
	return s.Strained
}

// allOthers reports whether heard says yes to every other member that is more than starting. Called with the lock held.
func (t *Table) allOthers(heard func(model.Incarnation) bool) bool {
	return !slices.ContainsFunc(t.view.Members, func(m model.Member) bool {
		return m.Incarnation != t.view.Self && m.State != model.StateStarting && !heard(m.Incarnation)
	})
}

// noteCut remembers that there is a cut, if there is one. Called with the lock held.
func (t *Table) noteCut(now model.Time) {
	if t.cutLocked(now) {
		t.lastCut, t.cutSaid = now.Mono, t.opts.HLC.Read(now)
	}
}

// cut reports whether there is a cut, or was one at since or after.
func (t *Table) cut(now model.Time, since time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.view == nil {
		return true
	}
	t.noteCut(now)
	return t.lastCut >= since
}

// hidden reports whether a publisher that has been silent since then may live at a member that went without a word: that
// one may be isolated, and serve on (P13). Only for a while: most that go so are dead (R3).
func (t *Table) hidden(since time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return since <= t.lost+t.opts.Timeouts.MemberLoss
}

func (t *Table) inView(inc model.Incarnation) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.view != nil && t.view.Has(inc)
}

// healed is when there was a cut last.
func (t *Table) healed() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lastCut
}

// heardSince reports whether all other members were heard since a record's time was over: one of them may have had word of its publisher,
// and be cut off without anybody having noticed. Whoever stays silent is out of reach in a moment.
func (t *Table) heardSince(deadline time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.allOthers(func(id model.Incarnation) bool { return t.opts.Engine.HeardSince(id, deadline) && !t.strained(id) })
}
