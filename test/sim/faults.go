package sim

import (
	"slices"
	"time"

	"github.com/muster-registry/muster/registry/model"
)

// fault breaks something for a while, on n if it is about one node.
type fault func(w *World, n *Node, o outage)

// outage is how long something is broken: for d. left is the time that is left for faults; a process sleeps for sleep at most.
type outage struct{ d, left, sleep time.Duration }

// faults are all kinds. The order is part of what a recorded schedule means: new ones are added at the end.
func faults() []fault {
	return []fault{
		cutPair, cutFromAll, halves, apiDown, apiCut, killed, drained, frozenFor, cutOneWay, flapping, badLines, stepped, drifting,
		scaledUp, scaledDown, strained,
	}
}

// fault breaks something for a while; everything is mended when the time for faults is over.
func (w *World) fault(kinds []fault, pace Pace) {
	left := pace.Faults - w.now
	d := min(w.Between(2*time.Second, pace.Longest), left)
	n := w.anyNode()
	kinds[w.rng.IntN(len(kinds))](w, n, outage{d, left, pace.Sleep})
}

// pods are those that were not taken away.
func (w *World) pods() []*Node {
	pods := make([]*Node, 0, len(w.nodes))
	for _, n := range w.nodes {
		if !n.retired {
			pods = append(pods, n)
		}
	}
	return pods
}

func (w *World) anyNode() *Node {
	pods := w.pods()
	return pods[w.rng.IntN(len(pods))]
}

func cutPair(w *World, n *Node, o outage) {
	other := w.anyNode()
	w.net.Cut(n, other)
	w.After(o.d, func() { w.net.Heal(n, other) })
}

// cutFromAll cuts one from all the others (P2).
func cutFromAll(w *World, n *Node, o outage) {
	for _, other := range w.nodes {
		w.net.Cut(n, other)
	}
	w.After(o.d, func() {
		for _, other := range w.nodes {
			w.net.Heal(n, other)
		}
	})
}

// halves (P7).
func halves(w *World, _ *Node, o outage) {
	w.split(w.rng.IntN(len(w.nodes)-1)+1, o.d)
}

// apiDown is for all (P4, R6).
func apiDown(w *World, _ *Node, o outage) {
	w.Logf("the API is down")
	w.api.down = true
	w.After(o.d, func() { w.api.down = false; w.Logf("the API is up") })
}

// apiCut is for one.
func apiCut(w *World, n *Node, o outage) {
	w.Logf("%s is cut off from the API", n.Name)
	w.api.cut[n] = true
	w.After(o.d, func() { delete(w.api.cut, n); w.Logf("%s reaches the API", n.Name) })
}

// killed is kill -9 and a restart (R3).
func killed(w *World, n *Node, o outage) {
	if w.othersComplete(n) {
		n.Kill()
		w.restart(n, min(w.Between(500*time.Millisecond, 20*time.Second), o.left))
	}
}

// drained is a rollout of one (R1).
func drained(w *World, n *Node, o outage) {
	if w.othersComplete(n) && o.left > 65*time.Second {
		n.Drain()
		w.restart(n, 62*time.Second)
	}
}

// soonBack is before the others give up one that they do not hear.
const soonBack = 8 * time.Second

// frozenFor (R4). The only complete member is back before those who start give it up: longer, and they would start cold (R5), as if
// it had been killed.
func frozenFor(w *World, n *Node, o outage) {
	most := o.sleep
	if !w.othersComplete(n) && w.othersStart(n) {
		most = soonBack
	}
	n.Freeze(min(o.d, most), w.rng.IntN(2) == 0)
}

func (w *World) othersStart(n *Node) bool {
	return slices.ContainsFunc(w.nodes, func(o *Node) bool {
		return o != n && o.Up() && o.m.Self().State == model.StateStarting
	})
}

// cutOneWay: packets pass in the other direction only (P6).
func cutOneWay(w *World, n *Node, o outage) {
	other := w.anyNode()
	w.net.CutWay(n, other)
	w.After(o.d, func() { w.net.Heal(n, other) })
}

// flapping (P6).
func flapping(w *World, n *Node, o outage) {
	if other := w.anyNode(); other != n {
		w.net.Flap(n, other, o.d)
	}
}

// badLines are those between one and all others (P6).
func badLines(w *World, n *Node, o outage) {
	l := Line{Loss: 0.3 * w.rng.Float64(), Delay: w.Between(0, 2*time.Second)}
	others := w.pods()
	for _, other := range others {
		w.net.Spoil(n, other, l)
	}
	w.After(o.d, func() {
		for _, other := range others {
			w.net.Spoil(n, other, Line{})
		}
	})
}

// stepped: a wall clock jumps (P8).
func stepped(w *World, n *Node, _ outage) {
	n.Step([]time.Duration{time.Hour, -time.Hour, time.Minute, -time.Minute}[w.rng.IntN(4)])
}

// drifting: all clocks of a node run too fast or too slow (P8).
func drifting(w *World, n *Node, o outage) {
	n.Drift([]float64{0.1, -0.1}[w.rng.IntN(2)])
	w.After(o.d, func() { n.Drift(0) })
}

// scaledUp adds a pod (R2).
func scaledUp(w *World, _ *Node, _ outage) {
	if len(w.pods()) < 7 {
		w.AddNode().Start()
	}
}

// scaledDown takes a pod away for good (R2, P15).
func scaledDown(w *World, n *Node, o outage) {
	if len(w.pods()) > 2 && o.left > 65*time.Second && n.Up() && w.othersComplete(n) {
		n.Retire()
	}
}

// strained: what comes in waits for seconds (R4).
func strained(w *World, n *Node, o outage) {
	if n.Up() {
		n.Strain(w.Between(500*time.Millisecond, 15*time.Second), o.d)
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
		if n.m == nil && !n.retired {
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
