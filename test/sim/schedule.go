package sim

import (
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
func Setup(seed uint64, members int, keepLog bool) *World {
	w := New(seed)
	w.keepLog = keepLog
	var keys []model.ServiceKey
	for _, name := range []string{"orders", "stock", "mail"} {
		keys = append(keys, w.AddService(name))
	}
	for range members {
		w.AddNode().Start()
	}
	w.Every(0, time.Second, func() bool { w.truth.settle(); return true })
	for i := range 12 {
		c := keys[i%len(keys)]
		w.After(w.Between(3*time.Second, 10*time.Second), func() { w.AddClient(Redo(i%4), c) })
	}
	return w
}

// End heals everything and judges the end: all agree within 10 s, and after the longest grace nobody lists what is not.
func (w *World) End(total time.Duration) Result {
	w.quiet = true
	w.net.HealAll()
	w.api.down = false
	clear(w.api.cut)
	for _, n := range w.nodes {
		if n.m == nil {
			n.Start()
		}
	}
	healed := w.now
	var res Result
	w.Every(0, tickInterval, func() bool {
		if w.agreed() {
			res.Converged = w.now - healed
			return false
		}
		if w.now-healed > 10*time.Second {
			w.Fail("not converged 10 s after the heal")
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

// agreed: every process is complete and holds the same live records.
func (w *World) agreed() bool {
	for _, n := range w.nodes {
		if !n.Up() || n.m.Self().State != model.StateComplete || n.m.Sum() != w.nodes[0].m.Sum() {
			return false
		}
	}
	return true
}

func (w *World) judgeEnd() {
	if !w.agreed() {
		w.Fail("members disagree at the end")
	}
	for _, n := range w.nodes {
		for _, k := range w.services() {
			snap, err := n.m.Query(k)
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

// Random runs a schedule of random faults and changes: 4 minutes of them, then healed; total is the whole.
func Random(seed uint64, members int, total time.Duration, keepLog bool) Result {
	w := Setup(seed, members, keepLog)
	const faultsEnd = 4 * time.Minute
	w.Every(20*time.Second, 7*time.Second, func() bool {
		if w.now < faultsEnd-10*time.Second {
			w.fault(faultsEnd)
			return true
		}
		return false
	})
	w.Every(12*time.Second, 3*time.Second, func() bool {
		if w.now < faultsEnd {
			w.change()
			return true
		}
		return false
	})
	w.RunUntil(faultsEnd + 5*time.Second)
	return w.End(total)
}

func (w *World) anyNode() *Node { return w.nodes[w.rng.IntN(len(w.nodes))] }

// fault breaks something for a while; everything is mended by end.
func (w *World) fault(end time.Duration) {
	left := end - w.now
	d := min(w.Between(2*time.Second, 100*time.Second), left)
	n := w.anyNode()
	switch w.rng.IntN(8) {
	case 0: // a pair
		o := w.anyNode()
		w.net.Cut(n, o)
		w.After(d, func() { w.net.Heal(n, o) })
	case 1: // one from all the others (P2)
		for _, o := range w.nodes {
			w.net.Cut(n, o)
		}
		w.After(d, func() {
			for _, o := range w.nodes {
				w.net.Heal(n, o)
			}
		})
	case 2: // two halves (P7)
		w.split(w.rng.IntN(len(w.nodes)-1)+1, d)
	case 3: // the API, for all (P4, R6)
		w.Logf("the API is down")
		w.api.down = true
		w.After(d, func() { w.api.down = false; w.Logf("the API is up") })
	case 4: // the API, for one
		w.Logf("%s is cut off from the API", n.Name)
		w.api.cut[n] = true
		w.After(d, func() { delete(w.api.cut, n); w.Logf("%s reaches the API", n.Name) })
	case 5: // kill -9 and restart (R3)
		if w.othersComplete(n) {
			n.Kill()
			w.restart(n, min(w.Between(500*time.Millisecond, 20*time.Second), left))
		}
	case 6: // drain and restart (R1)
		if w.othersComplete(n) && left > 65*time.Second {
			n.Drain()
			w.restart(n, 62*time.Second)
		}
	case 7: // freeze (R4)
		n.Freeze(min(d, 60*time.Second), w.rng.IntN(2) == 0)
	}
}

func (w *World) split(at int, d time.Duration) {
	var healers []func()
	for i, a := range w.nodes {
		for j, b := range w.nodes {
			if i < at && j >= at {
				w.net.Cut(a, b)
				healers = append(healers, func() { w.net.Heal(a, b) })
			}
		}
	}
	w.After(d, func() {
		for _, h := range healers {
			h()
		}
	})
}

// restart starts the next process of a pod whose process has ended.
func (w *World) restart(n *Node, d time.Duration) {
	w.After(d, func() {
		if n.m == nil {
			n.Start()
		}
	})
}

// othersComplete: a schedule never takes the last one that holds everything; that is another scenario (P5, R5).
func (w *World) othersComplete(n *Node) bool {
	for _, o := range w.nodes {
		if o != n && o.Up() && !o.leaving && o.m.Self().State == model.StateComplete {
			if ok, _ := o.m.Ready(); ok {
				return true
			}
		}
	}
	return false
}

// change is something that a publisher does.
func (w *World) change() {
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
		if len(w.clients) < 40 {
			w.AddClient(Redo(w.rng.IntN(4)), k)
		}
	}
}
