package sim

import (
	"slices"
	"time"

	"github.com/muster-registry/muster/registry/model"
)

// Result is how a schedule ended.
type Result struct {
	Failures []string
	Trace    uint64
	// Converged is how long after the heal all members held the same, at the latest.
	Converged time.Duration
	Log       []string
}

// Setup is a cluster with publishers of all kinds.
func Setup(s Schedule, keepLog bool) *World {
	w := New(s.Seed)
	w.keepLog, w.factor, w.returning = keepLog, s.Factor, s.Roamers > 0
	var keys []model.ServiceKey
	for _, name := range []string{"orders", "stock", "mail"} {
		keys = append(keys, w.AddService(name))
	}
	for range s.Members {
		w.AddNode().Start()
	}
	w.Every(0, time.Second, func() bool { w.truth.settle(); return true })
	for i := range 12 {
		c := keys[i%len(keys)]
		w.After(w.Between(3*time.Second, 10*time.Second), func() { w.AddClient(Redo(i%4), c) })
	}
	return w
}

// settleTime is how long after a heal all agree.
const settleTime = 10 * time.Second

// End heals everything and judges the end: all agree within 10 s, and after the longest grace nobody lists what is not. A shard
// that has lost all its copies starts cold first.
func (w *World) End(total time.Duration) Result {
	w.quiet = true
	w.net.HealAll()
	w.api.down = false
	clear(w.api.cut)
	for _, n := range w.pods() {
		n.Drift(0)
		if n.m == nil {
			n.Start()
		}
	}
	healed := w.now
	for _, n := range w.pods() {
		healed = max(healed, n.backlog) // who was strained has read what lay there
	}
	deadline := healed + settleTime
	var res Result
	w.Every(0, tickInterval, func() bool {
		if w.agreed() {
			res.Converged = max(0, w.now-healed)
			return false
		}
		if w.now < healed+Timeouts().ColdStartLimit && w.lost() {
			deadline = w.now + settleTime
		}
		if w.now > deadline {
			w.Fail("not converged %v after the heal", w.now-healed)
			return false
		}
		return true
	})
	w.RunUntil(max(total, healed+6*time.Minute))
	if len(w.failures) == 0 {
		w.judgeEnd()
	}
	res.Failures, res.Trace, res.Log = w.failures, w.Trace(), w.log
	return res
}

// lost reports whether no complete member has a whole copy of some shard: faults have taken all at once.
func (w *World) lost() bool {
	if w.factor == 0 {
		return false
	}
	held := &model.ShardSet{}
	for _, n := range w.pods() {
		if n.Up() && n.m.Self().State == model.StateComplete {
			held = held.With(n.m.HeldShards())
		}
	}
	return held.Count() < model.ShardCount
}

// agreed: every process is complete and holds the same live records.
func (w *World) agreed() bool {
	pods := w.pods()
	for _, n := range pods {
		if !n.Up() || n.m.Self().State != model.StateComplete || w.factor == 0 && n.m.Sum() != pods[0].m.Sum() {
			return false
		}
	}
	return w.factor == 0 || w.copiesAgree()
}

// copiesAgree: every service is held by as many as the factor says, all of them alike, and by who subscribes to it.
func (w *World) copiesAgree() bool {
	pods := w.pods()
	for i, k := range w.services() {
		var sums []uint64
		for _, n := range pods {
			switch {
			case n.m.Holds(k):
				sums = append(sums, n.sumOf(k))
			case n.subscribes(i):
				return false
			}
		}
		if len(sums) < min(w.factor, len(pods)) || slices.ContainsFunc(sums, func(s uint64) bool { return s != sums[0] }) {
			return false
		}
	}
	return true
}

func (n *Node) sumOf(k model.ServiceKey) uint64 {
	var sum uint64
	for _, r := range n.m.Records() {
		if r.Key.Service == k {
			sum += r.Digest()
		}
	}
	return sum
}

func (w *World) judgeEnd() {
	if !w.agreed() {
		w.Fail("members disagree at the end")
	}
	for _, o := range w.roamers {
		o.judgeEnd()
	}
	for _, n := range w.pods() {
		n.observer.judgeEnd()
		for _, k := range w.services() {
			snap, err := n.m.Query(k)
			if !n.m.Holds(k) {
				continue
			}
			if err != nil {
				w.Fail("%s does not answer at the end: %v", n.Name, err)
				return
			}
			listed := map[model.InstanceKey]bool{}
			for _, h := range snap.Hosts {
				listed[h.Key()] = true
				if f := w.truth.held[truthKey{k, h.Key()}]; f == nil || !f.here {
					w.Fail("ghost: %s still lists %s in %s", n.Name, h.Key(), k.Name)
				}
			}
			for key, f := range w.truth.held {
				if key.service == k && f.here && !listed[key.instance] {
					w.Fail("%s does not list client %d in %s at the end", n.Name, f.client.id, k.Name)
				}
			}
		}
	}
}

// Schedule names a random run.
type Schedule struct {
	Seed    uint64
	Members int
	// Kinds is how many of the kinds of faults are drawn from. New kinds are added at their end, so that a schedule that
	// was recorded with fewer stays what it was.
	Kinds int
	// Factor is the replication factor; 0: every member holds everything.
	Factor int
	// Roamers is how many subscribers move from one member to another again and again, and whether the members' own stay until
	// they are closed, and come back. With 0 a schedule is what it was before they did.
	Roamers int
	Pace    Pace
}

// Pace is how fast things happen in a random run, and for how long.
type Pace struct {
	Name string
	// Faults is until when things break; after that all is healed. Total is the whole.
	Faults, Total time.Duration
	// Fault and Change are how often something breaks, and how often a publisher does something.
	Fault, Change time.Duration
	// Longest is how long a fault lasts at most, Sleep how long a process stands still.
	Longest, Sleep time.Duration
	// Clients bounds how many there are in all.
	Clients int
}

// Brisk is ten minutes with a fault every few seconds: how one thing meets another.
func Brisk() Pace {
	return Pace{
		Name: "brisk", Faults: 4 * time.Minute, Total: 10 * time.Minute, Fault: 7 * time.Second, Change: 3 * time.Second,
		Longest: 100 * time.Second, Sleep: 60 * time.Second, Clients: 40,
	}
}

// Slow has faults that outlive every grace of the design.
func Slow() Pace {
	return Pace{
		Name: "slow", Faults: 20 * time.Minute, Total: 27 * time.Minute, Fault: 20 * time.Second, Change: 12 * time.Second,
		Longest: 8 * time.Minute, Sleep: 6 * time.Minute, Clients: 80,
	}
}

// ScheduleOf is what a seed means today: 3 to 7 members, all kinds of faults, two that roam, one in four with a replication factor.
func ScheduleOf(seed uint64, pace Pace) Schedule {
	s := Schedule{Seed: seed, Members: 3 + int(seed%5), Kinds: len(faults()), Roamers: 2, Pace: pace}
	if seed%4 == 3 {
		s.Factor = 2 + int(seed/4%2)
	}
	return s
}

// Random runs a schedule of random faults and changes, and heals everything after them.
func Random(s Schedule, keepLog bool) Result {
	w, pace := Setup(s, keepLog), s.Pace
	for i := range s.Roamers {
		w.roam([]time.Duration{7 * time.Second, 31 * time.Second}[i%2])
	}
	w.Every(20*time.Second, pace.Fault, func() bool {
		if w.now < pace.Faults-10*time.Second {
			w.fault(faults()[:s.Kinds], pace)
			return true
		}
		return false
	})
	w.Every(12*time.Second, pace.Change, func() bool {
		if w.now < pace.Faults {
			w.change(pace.Clients)
			return true
		}
		return false
	})
	w.RunUntil(pace.Faults + 5*time.Second)
	return w.End(pace.Total)
}

// change is something that a publisher does, a new one if there is room.
func (w *World) change(room int) {
	c := w.clients[w.rng.IntN(len(w.clients))]
	k := w.services()[w.rng.IntN(len(w.services()))]
	switch w.rng.IntN(6) {
	case 0:
		c.Change()
	case 1:
		c.Deregister(k)
	case 2:
		if c.alive && !c.want[k] {
			c.want[k] = true
			c.publish()
		}
	case 3:
		c.Die()
	case 4:
		c.Move()
	case 5:
		if len(w.clients) < room {
			w.AddClient(Redo(w.rng.IntN(4)), k)
		}
	}
}
