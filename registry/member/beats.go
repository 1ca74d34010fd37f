package member

import (
	"time"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
	"github.com/muster-registry/muster/registry/session"
)

// Beat is one beat of an HTTP client.
type Beat struct {
	Service model.ServiceKey
	IP      string
	Port    int
	// Full is what a full beat registers when the publisher is unknown; nil for a light one.
	Full   *model.Instance
	Client model.Client
}

// BeatResult is the answer: unknown clients register anew (20404).
type BeatResult struct {
	Known    bool
	Interval time.Duration
}

// Beat answers from what the member knows, and relays the beat to the responsible member. For a publisher that it does
// not know, the responsible member decides: its answer comes on the channel, and goes to Resolve.
func (m *Member) Beat(b Beat) (BeatResult, <-chan bool) {
	now := m.enter()
	key := model.RecordKey{Publisher: session.BeatPublisher(b.IP, b.Port), Service: b.Service}
	to, reachable := m.session.Responsible(key)
	self := m.Self().Incarnation
	here := to == self || !reachable
	if !here && m.engine.Lacks(to, b.Service.Shard()) { // its view or ours is old: it would not know the publisher
		if here = m.Holds(b.Service); !here {
			to = m.holderOr(now, b.Service, to)
		}
	}
	var in *model.Instance
	if here {
		in = m.session.Beat(now, key, self)
	} else if in = m.session.Known(key); in != nil && !m.engine.Relay(to, replication.Beat{Publisher: key.Publisher, Service: key.Service}) {
		m.session.Beat(now, key, self)
	}
	if in != nil {
		return BeatResult{Known: true, Interval: in.BeatInterval()}, nil
	}
	answer := make(chan bool, 1)
	if here && !m.mayDisown(now, b.Service) {
		return BeatResult{}, answer // the copy is on its way, and who is not in it yet is not unknown: nobody answers
	}
	if here {
		return m.Resolve(b, false), nil
	}
	m.mu.Lock()
	m.lastID++
	id := m.lastID
	m.waiters[id] = waiter{answer: answer, since: now.Mono}
	m.mu.Unlock()
	if !m.engine.Relay(to, replication.Beat{ID: id, Publisher: key.Publisher, Service: key.Service}) {
		m.takeAnswers([]replication.BeatAnswer{{ID: id}})
	}
	return BeatResult{}, answer
}

// holderOr is a member in reach that holds a service, or the given one.
func (m *Member) holderOr(now model.Time, k model.ServiceKey, or model.Incarnation) model.Incarnation {
	if holders := m.engine.Holders(now, k.Shard()); len(holders) > 0 {
		return holders[0]
	}
	return or
}

// Resolve ends a beat of a publisher that was not known here: a full one registers it, if nobody else knows it either.
func (m *Member) Resolve(b Beat, known bool) BeatResult {
	if !known && b.Full != nil {
		m.RegisterInstance(b.Service, *b.Full, b.Client)
		return BeatResult{Known: true, Interval: b.Full.BeatInterval()}
	}
	return BeatResult{Known: known, Interval: model.DefaultBeatInterval}
}

func (m *Member) takeBeats(now model.Time, from model.Incarnation, beats []replication.Beat) {
	var answers []replication.BeatAnswer
	for _, b := range beats {
		known := m.session.Beat(now, model.RecordKey{Publisher: b.Publisher, Service: b.Service}, from) != nil
		if b.ID != 0 && (known || m.mayDisown(now, b.Service)) {
			answers = append(answers, replication.BeatAnswer{ID: b.ID, Known: known})
		}
	}
	if len(answers) > 0 {
		m.engine.Send(from, replication.Message{Kind: replication.KindBeatAnswers, Answers: answers})
	}
}

func (m *Member) takeAnswers(answers []replication.BeatAnswer) {
	for _, a := range answers {
		m.mu.Lock()
		w := m.waiters[a.ID]
		delete(m.waiters, a.ID)
		m.mu.Unlock()
		if w.answer != nil {
			w.answer <- a.Known
		}
	}
}

// waiter is a beat that waits for the responsible member.
type waiter struct {
	answer chan<- bool // size 1
	since  time.Duration
}

// forgetWaiters drops those that nobody answered; their takers have stopped waiting long ago. Called with the lock held.
func (m *Member) forgetWaiters(now model.Time) {
	for id, w := range m.waiters {
		if now.Mono-w.since > 10*time.Second {
			delete(m.waiters, id)
		}
	}
}
