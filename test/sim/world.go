package sim

import (
	"container/heap"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/muster-registry/muster/registry/session"
)

// World is virtual time and everything in it.
type World struct {
	Seed uint64
	now  time.Duration
	rng  *rand.Rand
	queue
	seq uint64

	// factor is the number of copies of a shard; 0: every member holds everything.
	factor  int
	nodes   []*Node
	clients []*Client
	roamers []*Observer
	// roaming is where roamers draw from; returning: members' own observers stay until they are closed, and come back.
	roaming   *rand.Rand
	returning bool
	processes int // that have started
	net       network
	api       api
	truth     truth
	// brake is what processes that start from now on have; none by itself: it holds ghosts back for longer than End waits.
	brake session.Brake
	// answers is what ports answer to a probe: the truth, unless a test lies.
	answers func(session.Probe) session.PortAnswer

	trace    hash64
	log      []string
	keepLog  bool
	failures []string
	quiet    bool // the last phase: no more faults
	// clientsRung: a client has something to read.
	clientsRung bool
}

type hash64 interface {
	Write([]byte) (int, error)
	Sum64() uint64
}

// New makes an empty world.
func New(seed uint64) *World {
	w := &World{Seed: seed, rng: rand.New(rand.NewPCG(seed, 0x6d7573746572)), trace: fnv.New64a()}
	w.roaming = rand.New(rand.NewPCG(seed, 0x726f616d))
	w.net.w, w.api.w, w.truth.w = w, w, w
	w.answers = w.ports
	w.net.init()
	w.api.init()
	w.truth.init()
	return w
}

// event is something that happens at a time; of equal times the one that was planned first.
type event struct {
	at  time.Duration
	seq uint64
	do  func()
}

type queue []event

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *queue) Pop() any {
	old := *q
	x := old[len(old)-1]
	old[len(old)-1] = event{}
	*q = old[:len(old)-1]
	return x
}

// After plans something.
func (w *World) After(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.queue, event{at: w.now + d, seq: w.seq, do: do})
}

// Every plans something again and again, until it returns false.
func (w *World) Every(first, d time.Duration, do func() bool) {
	w.After(first, func() {
		if do() {
			w.Every(d, d, do)
		}
	})
}

// RunUntil lets time pass.
func (w *World) RunUntil(end time.Duration) {
	for len(w.queue) > 0 && w.queue[0].at <= end && len(w.failures) == 0 {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.do()
		w.pump()
	}
	if len(w.failures) == 0 {
		w.now = end
	}
}

// pump carries what the members have to say, until they have nothing more to say at this moment.
func (w *World) pump() {
	w.clientsRung = slices.ContainsFunc(w.clients, func(c *Client) bool { return c.rung })
	for _, n := range w.nodes {
		n.pump()
	}
}

// Between draws a duration.
func (w *World) Between(a, b time.Duration) time.Duration {
	return a + time.Duration(w.rng.Int64N(int64(b-a)+1))
}

// Logf notes what happened, for the trace hash and for people who replay a seed.
func (w *World) Logf(format string, args ...any) {
	line := fmt.Sprintf("%9.3fs ", w.now.Seconds()) + fmt.Sprintf(format, args...)
	_, _ = w.trace.Write([]byte(line))
	if w.keepLog {
		w.log = append(w.log, line)
	}
}

// note is for people who replay a seed only.
func (w *World) note(format string, args ...any) {
	if w.keepLog {
		w.log = append(w.log, fmt.Sprintf("%9.3fs ", w.now.Seconds())+fmt.Sprintf(format, args...))
	}
}

// Fail notes a broken invariant; the run ends there.
func (w *World) Fail(format string, args ...any) {
	msg := fmt.Sprintf("%9.3fs ", w.now.Seconds()) + fmt.Sprintf(format, args...)
	w.Logf("FAIL %s", msg)
	w.failures = append(w.failures, msg)
}

// Trace is a hash over everything that happened.
func (w *World) Trace() uint64 { return w.trace.Sum64() }
