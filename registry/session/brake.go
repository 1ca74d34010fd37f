package session

import (
	"time"

	"github.com/muster-registry/muster/registry/model"
)

// Brake says how much may expire at once. When more would, the trouble is more likely ours than that of so many
// publishers: what no probe confirms is held back, and the rest goes at a limited rate (L3). The zero value is no brake.
type Brake struct {
	// ServicePercent of a service, or RegistryPercent of all instances, may be lost within a Window. Fewer than
	// MinInstances are not judged: of three instances one is a third.
	ServicePercent, RegistryPercent int
	MinInstances                    int
	Window                          time.Duration
	// PerSecond bounds the records that one member ends while the brake is on.
	PerSecond int
	// MaxHold is how long a record is held back that nothing confirms: a brake that never lets go keeps ghosts for ever.
	MaxHold time.Duration
	// KeepLast holds back as long what would leave a service without any instance.
	KeepLast bool
}

// BrakeState is what the brake does now. Users read "protection" for the brake: in the configuration, in metrics and in Leases.
type BrakeState struct {
	// Active: more would expire than may. Registry: of all instances. Services: how many of them by themselves.
	Active, Registry bool
	Services         int
	// Held records are over their time and held back; the last of them until Release from now, at the latest.
	Held    int
	Release time.Duration
	// Confirmed and Released count what the brake has let through since the start: because a probe confirmed it, and
	// because its time of being held was over.
	Confirmed, Released int64
}

// brake is the state behind it: values in, a verdict out. It is guarded by the lock of its table.
type brake struct {
	limits   Brake
	all      tally
	services map[model.ServiceKey]*tally // those in which something may end, or has
	// doubtful are the records that may end within a window, with their instances.
	doubtful map[model.RecordKey]int
	// held are those that were over their time when they were last looked at here, with the time that lets them go; sure
	// those that this member ends because a probe confirmed it.
	held map[model.RecordKey]time.Duration
	sure map[model.RecordKey]bool

	// woke is when a pause of the process ended: what nobody could see does not count as time of being held.
	woke   time.Duration
	tokens float64 // records that may end now, while the brake is on
	filled time.Duration
	ticked time.Duration
	pruned time.Duration

	confirmed, released int64
}

// tally is about a service, or about all of them.
type tally struct {
	live     int // instances; those that are doubtful are among them
	counted  time.Duration
	doubtful int // instances that may end within a window
	// expected is how many there would be if none was lost: those at the beginning, and all that came in their place or
	// beyond. Whoever departs for sure is expected no more: at once when its publisher said so or a probe confirmed it,
	// else a window after its end. 0 = not known yet.
	expected int
	ended    window // without being confirmed
	on       bool
}

// recount is how long a count of a service, kept in step with the changes since, is good.
const recount = 30 * time.Second

func newBrake(limits Brake) brake {
	return brake{
		limits: limits, services: map[model.ServiceKey]*tally{}, doubtful: map[model.RecordKey]int{},
		held: map[model.RecordKey]time.Duration{}, sure: map[model.RecordKey]bool{}, tokens: float64(limits.PerSecond),
	}
}

func (b *brake) enabled() bool { return b.limits.Window > 0 }

func (b *brake) tally(k model.ServiceKey) *tally {
	s := b.services[k]
	if s == nil {
		s = &tally{}
		b.services[k] = s
	}
	return s
}

// note keeps the counts in step with a change, whoever made it. All members that hold a service count the same.
func (b *brake) note(now model.Time, old, r *model.Record) {
	if !b.enabled() || r.Key.Publisher.Kind.Administers() {
		return
	}
	if s := b.services[r.Key.Service]; s != nil {
		s.live += r.Shows() - old.Shows()
	}
	switch {
	case r.Deleted:
		if r.Successor() == nil { // else its publisher has turned up elsewhere
			b.departed(now, old, r)
		}
		b.doubt(r.Key, 0)
	case r.Unclaimed == model.CausePublisher:
		b.doubt(r.Key, len(r.Instances))
	case r.Unclaimed == model.CauseOurs:
		if old == nil || old.Unclaimed != model.CauseOurs {
			b.doubt(r.Key, 0) // until its time comes near
		}
	case r.Key.Publisher.Kind != model.KindBeat || allHealthy(r):
		b.doubt(r.Key, 0)
	case old != nil && !old.Deleted && allHealthy(old):
		b.doubt(r.Key, len(r.Instances)) // its beats have stopped
	}
}

// departed notes an end. What others have ended counts as not confirmed: their tombstones do not tell.
func (b *brake) departed(now model.Time, old, r *model.Record) {
	s := b.services[r.Key.Service]
	if n := b.doubtful[r.Key]; n > 0 && !b.sure[r.Key] {
		s.ended.add(now.Mono, n)
		b.all.ended.add(now.Mono, n)
		return
	}
	b.all.expect(-old.Shows())
	if s != nil {
		s.expect(-old.Shows())
	}
}

// doubt notes how many instances of a record may end within a window.
func (b *brake) doubt(key model.RecordKey, n int) {
	had := b.doubtful[key]
	if n == 0 {
		delete(b.held, key)
		delete(b.sure, key)
	}
	if had == n {
		return
	}
	b.tally(key.Service).doubtful += n - had
	b.all.doubtful += n - had
	if n == 0 {
		delete(b.doubtful, key)
	} else {
		b.doubtful[key] = n
	}
}

// forget is told that others hold a record now, and we do not.
func (b *brake) forget(r *model.Record) {
	b.doubt(r.Key, 0)
	if s := b.services[r.Key.Service]; s != nil {
		s.live -= r.Shows()
	}
}

// expiry is a record whose time is over, as the one sees it who would end it.
type expiry struct {
	key       model.RecordKey
	instances int
	due       time.Duration
	confirmed bool // by a probe
}

// permit reports whether it may end now. Its service has been counted, and so have all instances.
func (b *brake) permit(now model.Time, e expiry, all int) bool {
	b.doubt(e.key, e.instances)
	s := b.tally(e.key.Service)
	b.all.live = all
	b.judge(now, s, b.limits.ServicePercent)
	b.judge(now, &b.all, b.limits.RegistryPercent)
	if e.confirmed {
		b.sure[e.key] = true
	}
	on := s.on || b.all.on
	last := b.limits.KeepLast && s.live <= s.doubtful && !e.confirmed
	if !on && !last {
		return true
	}
	until := max(e.due, b.woke) + b.limits.MaxHold
	switch {
	case !e.confirmed && now.Mono < until, on && !b.token(now):
		b.held[e.key] = until
		return false
	case e.confirmed:
		b.confirmed++
	default:
		b.released++
	}
	return true
}

// judge turns the brake of a tally on when more than its share is lost, and off at half of that. What came in place of
// what is lost makes up for it: a rollout of clients that never deregister is no trouble.
func (b *brake) judge(now model.Time, s *tally, percent int) {
	s.expect(-s.ended.slide(now.Mono - b.limits.Window))
	s.begin(s.live)
	s.bound()
	lost := 100 * (s.expected - (s.live - s.doubtful))
	if s.on {
		lost *= 2
	}
	s.on = s.expected >= b.limits.MinInstances && lost > percent*s.expected
}

// begin notes how many there are when something may end.
func (s *tally) begin(live int) {
	if s.expected == 0 {
		s.expected = live + s.ended.sum
	}
}

// bound expects what there is without any doubt, at least; and no more than what there is and what has ended: whatever
// else is not there any more, such as shards that others hold now, is not lost.
func (s *tally) bound() {
	if s.expected > 0 {
		s.expected = min(max(s.expected, s.live-s.doubtful), s.live+s.ended.sum)
	}
}

// expect changes what is expected, once that is known.
func (s *tally) expect(more int) {
	if s.expected > 0 {
		s.expected = max(s.expected+more, 0)
	}
}

// token takes one of those that come at the rate, up to a second's worth.
func (b *brake) token(now model.Time) bool {
	rate := float64(b.limits.PerSecond)
	b.tokens = min(b.tokens+rate*(now.Mono-b.filled).Seconds(), rate)
	b.filled = now.Mono
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// tick lets go of what is over, once a second.
func (b *brake) tick(now model.Time, all int) {
	if !b.enabled() || now.Mono-b.ticked < time.Second {
		return
	}
	b.ticked = now.Mono
	b.all.live = all
	if b.settle(now, &b.all, b.limits.RegistryPercent) {
		b.all.expected = 0
	}
	for k, s := range b.services {
		if b.settle(now, s, b.limits.ServicePercent) {
			delete(b.services, k)
		}
	}
}

// settle looks whether a brake that is on may let go, and reports whether nothing is going on.
func (b *brake) settle(now model.Time, s *tally, percent int) bool {
	s.expect(-s.ended.slide(now.Mono - b.limits.Window))
	if s.bound(); s.on {
		b.judge(now, s, percent)
	}
	return !s.on && s.doubtful == 0 && s.ended.sum == 0
}

// state is what the brake does, for people.
func (b *brake) state(now model.Time) BrakeState {
	p := BrakeState{Registry: b.all.on, Held: len(b.held), Confirmed: b.confirmed, Released: b.released}
	for _, s := range b.services {
		if s.on {
			p.Services++
		}
	}
	for _, until := range b.held {
		p.Release = max(p.Release, until-now.Mono)
	}
	p.Active = p.Registry || p.Services > 0
	return p
}

// window counts over the time just past.
type window struct {
	parts []part // the oldest first, each of a second
	sum   int
}

type part struct {
	at time.Duration
	n  int
}

func (w *window) add(at time.Duration, n int) {
	w.sum += n
	if last := len(w.parts) - 1; last >= 0 && at-w.parts[last].at < time.Second {
		w.parts[last].n += n
		return
	}
	w.parts = append(w.parts, part{at, n})
}

// slide forgets what was before, and returns how many those were.
func (w *window) slide(before time.Duration) (gone int) {
	n := 0
	for ; n < len(w.parts) && w.parts[n].at <= before; n++ {
		gone += w.parts[n].n
	}
	w.sum -= gone
	if w.parts = w.parts[n:]; len(w.parts) == 0 {
		w.parts = nil
	}
	return gone
}
