package membership

import (
	"slices"
	"time"

	"github.com/muster-registry/muster/registry/model"
)

// Tracker is one member's view of the members. Its rules:
//
//   - A listed incarnation that is alive enters the view; a listed address or UID enters with the handshake.
//   - Whoever the source does not vouch for any more is gone, unless a live stream vetoes that. A direct leave notice and
//     a released Lease need no source and know no veto.
//   - A new incarnation of the same UID replaces the old one at once.
//   - An incarnation that was gone never comes back: it must take a new one (WasGone).
//   - While the source cannot be reached the view is frozen: nobody enters or leaves it, but by a leave notice, and but
//     for a new incarnation of a UID that is in it, admitted by the handshake (R6).
//
// It is not safe for concurrent use.
type Tracker struct {
	policy  Policy
	self    model.Member
	members map[model.Incarnation]*tracked // in the view, without self
	streams map[model.Incarnation]*stream
	gone    goneList
	refused map[string]refusals
	// leftFrozen are pods whose process left while the view was frozen: the next one of them is admitted like one that
	// replaces it.
	leftFrozen []model.Member

	listing Listing // the last reachable one, or the one that a frozen view starts with
	listed  bool    // there was any listing
	reached bool    // there was a reachable listing
	frozen  bool
	thawed  time.Duration // when the source was last reachable again
	spoke   time.Duration // when a listing last came with a higher renewal than those before it
	// lost: somebody who was more than starting went out of the view when the own renewal was lostAt.
	lost   bool
	lostAt int64
	view   *model.View
}

// tracked is a member in the view.
type tracked struct {
	model.Member
	// confirmed: a source has listed this very incarnation. What contradicts it later is newer than it.
	confirmed bool
}

// stream is what a stream showed, kept for a while after its end.
type stream struct {
	member model.Member
	live   bool
	ended  time.Duration
}

// refusals is a row of refused connections to one address.
type refusals struct{ first, last time.Duration }

// NewTracker starts with a view of self alone, frozen until the first listing says otherwise.
func NewTracker(p Policy, self model.Member) *Tracker {
	t := &Tracker{
		policy: p, self: self, frozen: !p.Alone,
		members: map[model.Incarnation]*tracked{}, streams: map[model.Incarnation]*stream{},
		gone: goneList{set: map[model.Incarnation]bool{}}, refused: map[string]refusals{},
	}
	t.publish()
	return t
}

// SetListing takes in what the source says now.
func (t *Tracker) SetListing(now model.Time, l Listing) {
	if t.policy.Alone {
		return
	}
	if t.frozen && l.Reachable {
		t.thawed = now.Mono
	}
	t.frozen = !l.Reachable
	if l.Reachable && l.Renewal > t.listing.Renewal {
		t.spoke = now.Mono
	}
	if l.Reachable || !t.reached {
		t.listing, t.listed = l, true
	}
	t.reached = t.reached || l.Reachable
	if l.Reachable {
		t.leftFrozen = nil
	}
	t.forgetRefusals()
	t.settle(now)
}

// PeerUp notes that a stream with p is open and its handshake done; again with the same incarnation, that p is now in
// another state.
func (t *Tracker) PeerUp(now model.Time, p model.Member) {
	if t.policy.Alone || t.isSelf(p) {
		return
	}
	if s := t.streams[p.Incarnation]; s != nil {
		p.State = max(p.State, s.member.State)
	}
	if !t.gone.set[p.Incarnation] {
		t.supersedeStreams(p)
	}
	t.streams[p.Incarnation] = &stream{member: p, live: true}
	delete(t.refused, p.Address)
	t.settle(now)
}

// PeerDown notes that the stream has ended.
func (t *Tracker) PeerDown(now model.Time, inc model.Incarnation) {
	if s := t.streams[inc]; s != nil && s.live {
		s.live, s.ended = false, now.Mono
	}
	t.settle(now)
}

// Left takes a member's own word, over its stream, that it is gone.
func (t *Tracker) Left(now model.Time, inc model.Incarnation) {
	if inc == t.self.Incarnation {
		return
	}
	if m := t.members[inc]; m != nil && t.frozen {
		t.leftFrozen = append(t.leftFrozen, m.Member)
	}
	t.remove(inc)
	t.settle(now)
}

// Dialled notes how an attempt to connect ended: refused by the address, or not (connected, or silence).
func (t *Tracker) Dialled(now model.Time, address string, refused bool) {
	r, ok := t.refused[address]
	switch {
	case !refused:
		delete(t.refused, address)
	case !ok || now.Mono-r.last > refusedGap:
		t.refused[address] = refusals{first: now.Mono, last: now.Mono}
	default:
		t.refused[address] = refusals{first: r.first, last: now.Mono}
	}
	t.settle(now)
}

// SetSelf changes what this member says of itself; a new incarnation makes the former one gone.
func (t *Tracker) SetSelf(now model.Time, self model.Member) {
	if self.Incarnation != t.self.Incarnation {
		t.gone.add(t.self.Incarnation)
	}
	t.self = self
	t.settle(now)
}

// Tick lets time pass.
func (t *Tracker) Tick(now model.Time) { t.settle(now) }

// View is the present view: the same pointer until something in it changes.
func (t *Tracker) View() *model.View { return t.view }

// Listed reports whether there was any listing yet, if only the last view of a former process. Before that the view
// says nothing about who else there is.
func (t *Tracker) Listed() bool { return t.listed || t.policy.Alone }

// WasGone reports whether this incarnation was removed from the view, or left: it must take a new one.
func (t *Tracker) WasGone(inc model.Incarnation) bool { return t.gone.set[inc] }

// Targets are the addresses to dial, sorted: of all that are listed, also of those that are not in the view (one that
// was gone has to hear that), and of all in the view.
func (t *Tracker) Targets() []string {
	set := map[string]bool{}
	for _, e := range t.listing.Entries {
		if !e.Left && !t.isSelf(e.Member) {
			set[e.Address] = true
		}
	}
	for _, m := range t.members {
		set[m.Address] = true
	}
	delete(set, "")
	out := make([]string, 0, len(set))
	for a := range set {
		out = append(out, a)
	}
	slices.Sort(out)
	return out
}

// isSelf recognises this member, any of its incarnations, and its own line in a list of addresses.
func (t *Tracker) isSelf(m model.Member) bool {
	return m.Incarnation == t.self.Incarnation || sameSlot(m, t.self)
}

// sameSlot reports whether two incarnations are of one pod, or of one address where a UID is not known: they follow each
// other and never live together. A pod that got the address of a former one is another slot.
func sameSlot(a, b model.Member) bool {
	if a.UID != "" && b.UID != "" {
		return a.UID == b.UID
	}
	return a.Address != "" && a.Address == b.Address
}

// supersedeStreams makes the former processes of the same pod gone, whose streams may look alive for some seconds.
func (t *Tracker) supersedeStreams(p model.Member) {
	for inc, s := range t.streams {
		if inc != p.Incarnation && sameSlot(s.member, p) && t.members[inc] == nil {
			t.gone.add(inc)
		}
	}
}

// forgetRefusals keeps those of addresses that are still dialled.
func (t *Tracker) forgetRefusals() {
	targets := t.Targets()
	for a := range t.refused {
		if _, ok := slices.BinarySearch(targets, a); !ok {
			delete(t.refused, a)
		}
	}
}

// remove takes an incarnation out of the view for good.
func (t *Tracker) remove(inc model.Incarnation) {
	if m := t.members[inc]; m != nil && m.State != model.StateStarting {
		t.lost, t.lostAt = true, t.listing.Renewal
	}
	delete(t.members, inc)
	t.gone.add(inc)
}

// publish makes a new view if anything in it has changed.
func (t *Tracker) publish() {
	if t.view != nil && t.shows(t.view) {
		return
	}
	ms := make([]model.Member, 0, len(t.members)+1)
	ms = append(ms, t.self)
	for _, m := range t.members {
		ms = append(ms, m.Member)
	}
	t.view = model.NewView(t.self.Incarnation, ms, t.frozen)
}

// shows reports whether the view is as things are.
func (t *Tracker) shows(v *model.View) bool {
	if v.Self != t.self.Incarnation || v.Frozen != t.frozen || len(v.Members) != len(t.members)+1 {
		return false
	}
	for i := range v.Members {
		m := &v.Members[i]
		if in := t.members[m.Incarnation]; *m != t.self && (in == nil || in.Member != *m) {
			return false
		}
	}
	return true
}

// goneLimit bounds the memory of incarnations that were gone. The oldest is forgotten first.
const goneLimit = 4096

type goneList struct {
	set   map[model.Incarnation]bool
	order []model.Incarnation
}

func (g *goneList) add(inc model.Incarnation) {
	if inc == 0 || g.set[inc] {
		return
	}
	if len(g.order) == goneLimit {
		delete(g.set, g.order[0])
		g.order = g.order[1:]
	}
	g.set[inc] = true
	g.order = append(g.order, inc)
}
