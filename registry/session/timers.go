package session

import (
	"container/heap"
	"slices"
	"time"

	"github.com/muster-registry/muster/registry/model"
)

// timers is a queue of things to look at, the earliest first. Entries are never taken out: what they name is looked at
// again when they are due.
type timers struct {
	list timerHeap
	seq  uint64
	// firsts are those of publishers that begin to beat, probes those of new records: both come in the order of their time.
	firsts model.Queue[timer]
	probes model.Queue[firstProbe]
}

type firstProbe struct {
	at     time.Duration
	record *model.Record
}

type timerKind uint8

const (
	timerConn timerKind = iota
	timerBeat
	timerClaim
	timerProbe
	timerAdministered
)

type timer struct {
	at   time.Duration
	seq  uint64 // equal times go in the order they were added: a replay is the same
	kind timerKind
	key  model.RecordKey // of a connection its publisher's id alone
}

func (t *timer) before(o *timer) bool { return t.at < o.at || t.at == o.at && t.seq < o.seq }

func (ts *timers) add(at time.Duration, kind timerKind, key model.RecordKey) {
	t := ts.next(at, kind, key)
	heap.Push(&ts.list, &t)
}

// beat adds the first one of a publisher that begins to beat. They come in the order of their time.
func (ts *timers) beat(at time.Duration, key model.RecordKey) {
	ts.firsts.Add(ts.next(at, timerBeat, key))
}

// connection adds one for a connection.
func (ts *timers) connection(at time.Duration, id string) {
	ts.add(at, timerConn, model.RecordKey{Publisher: model.Publisher{ID: id}})
}

func (ts *timers) next(at time.Duration, kind timerKind, key model.RecordKey) timer {
	ts.seq++
	return timer{at: at, seq: ts.seq, kind: kind, key: key}
}

func (ts *timers) due(now time.Duration) []timer {
	var out []timer
	for {
		var head *timer
		if len(ts.list) > 0 && ts.list[0].at <= now {
			head = ts.list[0]
		}
		first, ok := ts.firsts.Take(func(t timer) bool { return t.at <= now && (head == nil || t.before(head)) })
		if ok {
			out = append(out, first)
		} else if head != nil {
			out = append(out, *head)
			heap.Pop(&ts.list)
		} else {
			break
		}
	}
	over := func(p firstProbe) bool { return p.at <= now }
	for p, ok := ts.probes.Take(over); ok; p, ok = ts.probes.Take(over) {
		out = append(out, timer{at: p.at, kind: timerProbe, key: p.record.Key})
	}
	return out
}

type timerHeap []*timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].before(h[j]) }
func (h timerHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *timerHeap) Push(x any)        { *h = append(*h, x.(*timer)) }
func (h *timerHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	if len(*h) < cap(*h)/8 && cap(*h) > 1024 {
		*h = slices.Clone(*h) // a peak is given back
	}
	return x
}
