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
	// probes are the first ones of new records, which come in the order of their time.
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
	timerOverride
)

type timer struct {
	at   time.Duration
	seq  uint64 // equal times go in the order they were added: a replay is the same
	kind timerKind
	key  model.RecordKey // of a connection its publisher's id alone
}

func (ts *timers) add(at time.Duration, kind timerKind, key model.RecordKey) {
	ts.seq++
	heap.Push(&ts.list, timer{at: at, seq: ts.seq, kind: kind, key: key})
}

// connection adds one for a connection.
func (ts *timers) connection(at time.Duration, id string) {
	ts.add(at, timerConn, model.RecordKey{Publisher: model.Publisher{ID: id}})
}

func (ts *timers) due(now time.Duration) []timer {
	var out []timer
	for len(ts.list) > 0 && ts.list[0].at <= now {
		out = append(out, heap.Pop(&ts.list).(timer))
	}
	over := func(p firstProbe) bool { return p.at <= now }
	for p, ok := ts.probes.Take(over); ok; p, ok = ts.probes.Take(over) {
		out = append(out, timer{at: p.at, kind: timerProbe, key: p.record.Key})
	}
	return out
}

type timerHeap []timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h timerHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *timerHeap) Push(x any)   { *h = append(*h, x.(timer)) }
func (h *timerHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = timer{}
	*h = old[:len(old)-1]
	if len(*h) < cap(*h)/8 && cap(*h) > 1024 {
		*h = slices.Clone(*h) // a peak is given back
	}
	return x
}
