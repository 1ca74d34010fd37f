package session

import (
	"container/heap"
	"time"

	"github.com/muster-registry/muster/registry/model"
)

// timers is a queue of things to look at, the earliest first. Entries are never taken out: what they name is looked at
// again when they are due.
type timers struct {
	list timerHeap
	seq  uint64
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
	key  model.RecordKey
	conn string
}

func (ts *timers) add(at time.Duration, kind timerKind, key model.RecordKey, conn string) {
	ts.seq++
	heap.Push(&ts.list, timer{at: at, seq: ts.seq, kind: kind, key: key, conn: conn})
}

func (ts *timers) due(now time.Duration) []timer {
	var out []timer
	for len(ts.list) > 0 && ts.list[0].at <= now {
		out = append(out, heap.Pop(&ts.list).(timer))
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
	*h = old[:len(old)-1]
	return x
}
