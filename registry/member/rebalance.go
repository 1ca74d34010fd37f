package member

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/push"
)

const (
	// moveEvery is how long a connection is left alone: after it was opened, because its client may just have been moved
	// here, and after it was asked. Who is there by then does not follow moves.
	moveEvery = time.Minute
	// unevenFor is how long connections must be uneven, with the same members, until any is moved.
	unevenFor = 10 * time.Second
	// leastUneven is the difference that is never worth a move.
	leastUneven = 5
	// longestPause is between two rounds of moves that lead nowhere.
	longestPause = time.Hour
)

// census is how the clients are spread, as far as a member knows.
type census struct {
	// mine are connections held here, without those that are on their way; movable are those of them that may be asked.
	mine, movable int
	// others are those of every other member that takes clients.
	others []int
}

// even is what each would hold.
func (c census) even() int {
	sum := c.mine
	for _, n := range c.others {
		sum += n
	}
	return sum / (len(c.others) + 1)
}

// missing is how many connections those that hold too few are short of, and whether anybody is far enough from even.
func (c census) missing() (missing int, uneven bool) {
	even := c.even()
	tolerated := max(leastUneven, even/10)
	for _, n := range append(slices.Clone(c.others), c.mine) {
		missing += max(even-n, 0)
		uneven = uneven || n < even-tolerated || n > even+tolerated
	}
	return missing, uneven
}

// balance decides how many clients a member asks to go elsewhere. It decides for itself, from what all say of
// themselves. Where a client lands is not ours to say: some come back, and behind some load balancers all do. So it
// looks, once a minute, whether moving has helped.
type balance struct {
	perSecond int // 0 = nobody is moved

	members uint64        // hash of the view that all this is about
	since   time.Duration // it is uneven since then
	uneven  bool
	// A round: when it began, what was missing then, and how many were asked since.
	round   time.Duration
	missing int
	asked   int
	// pause follows a round that has not helped, until resume.
	pause, resume time.Duration
}

// decide wants to be asked once a second.
func (b *balance) decide(now time.Duration, members uint64, c census) int {
	missing, uneven := c.missing()
	if members != b.members || !uneven {
		*b = balance{perSecond: b.perSecond, members: members}
	}
	if !uneven {
		return 0
	}
	if !b.uneven {
		b.uneven, b.since, b.round, b.missing = true, now, now, missing
	}
	if now-b.since < unevenFor || now < b.resume {
		return 0
	}
	if now-b.round >= moveEvery && b.asked > 0 {
		b.review(now, missing, len(c.others)+1)
		return 0
	}
	n := max(min(c.mine-c.even(), b.perSecond, c.movable), 0)
	b.asked += n
	return n
}

// review ends a round. By chance one in so many members' moves lands where somebody is missing; a quarter of that is
// help enough.
func (b *balance) review(now time.Duration, missing, members int) {
	if helped := b.missing - missing; helped > 0 && helped >= b.asked/(4*members) {
		b.pause = 0
	} else {
		b.pause = min(max(2*b.pause, moveEvery), longestPause)
	}
	b.round, b.missing, b.asked, b.resume = now, missing, 0, now+b.pause
}

// mover carries out what balance decides.
type mover struct {
	mu sync.Mutex // guards all below
	balance
	conns map[string]move
	total int64
}

// move is what is known of a connection.
type move struct {
	opened time.Duration
	asked  time.Duration // 0 = it was not
}

func (mv *mover) opened(now model.Time, id string) {
	mv.mu.Lock()
	defer mv.mu.Unlock()
	mv.conns[id] = move{opened: now.Mono}
}

func (mv *mover) closed(id string) {
	mv.mu.Lock()
	defer mv.mu.Unlock()
	delete(mv.conns, id)
}

// choose returns the connections to ask now, those that are open for longest.
func (mv *mover) choose(now model.Time, members uint64, others []int) []string {
	mv.mu.Lock()
	defer mv.mu.Unlock()
	c := census{mine: len(mv.conns), others: others}
	if _, uneven := c.missing(); !uneven { // nearly always: the connections need not be looked at
		mv.decide(now.Mono, members, c)
		return nil
	}
	for _, m := range mv.conns {
		switch {
		case m.asked == 0 && now.Mono-m.opened >= moveEvery:
			c.movable++
		case m.asked != 0 && now.Mono-m.asked < moveEvery:
			c.mine--
		}
	}
	n := mv.decide(now.Mono, members, c)
	if n == 0 {
		return nil
	}
	var ids []string
	for id, m := range mv.conns {
		if m.asked == 0 && now.Mono-m.opened >= moveEvery {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int {
		return cmp.Or(cmp.Compare(mv.conns[a].opened, mv.conns[b].opened), strings.Compare(a, b))
	})
	ids = ids[:n]
	for _, id := range ids {
		m := mv.conns[id]
		m.asked = now.Mono
		mv.conns[id] = m
	}
	mv.total += int64(n)
	return ids
}

// Moves are for metrics and operators.
type Moves struct {
	// Asked counts the connections that were asked to go elsewhere, to even them out.
	Asked int64
	// Staying are those that were, more than a minute ago, and are still here.
	Staying int
}

// Moves returns what became of the moves so far.
func (m *Member) Moves() Moves {
	now := m.clock.Now()
	m.mover.mu.Lock()
	defer m.mover.mu.Unlock()
	moves := Moves{Asked: m.mover.total}
	for _, c := range m.mover.conns {
		if c.asked != 0 && now.Mono-c.asked >= moveEvery {
			moves.Staying++
		}
	}
	return moves
}

// rebalance asks some clients to connect elsewhere, when this member holds more than its share.
func (m *Member) rebalance(now model.Time) {
	if m.opts.MovesPerSecond == 0 {
		return
	}
	others, members, ok := m.spread(now)
	if !ok {
		return
	}
	for _, id := range m.mover.choose(now, members, others) {
		if c := m.conn(id); c != nil {
			c.Do(push.ItemReset)
		}
	}
}

// spread is what the other members hold. It is not ok to move anybody while a member leaves, whose clients go first, while
// the view may not be the true one, or while somebody in it cannot be heard.
func (m *Member) spread(now model.Time) (others []int, members uint64, ok bool) {
	m.mu.Lock()
	view, complete := m.view, m.life.complete && m.life.readsOpen && m.self.State == model.StateComplete
	estranged := len(m.tracker.Estranged()) > 0
	members = m.ring.Hash()
	m.mu.Unlock()
	if !complete || view.Frozen || estranged {
		return nil, 0, false
	}
	for _, p := range view.Members {
		if p.Incarnation == view.Self || p.State == model.StateStarting {
			continue
		}
		s, heard := m.engine.PeerStatus(p.Incarnation)
		if p.State == model.StateLeaving || !heard || !m.engine.InReach(now, p.Incarnation) {
			return nil, 0, false
		}
		others = append(others, s.Connections)
	}
	return others, members, len(others) > 0
}
