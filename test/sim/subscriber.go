package sim

import (
	"fmt"
	"time"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/push"
)

// Observer subscribes to everything at one process. One that roams moves to others, and drops what is not newer than what
// it holds, as the real clients do.
type Observer struct {
	n    *Node
	life int
	id   string
	out  *push.Conn
	rung bool // out has something to pull
	last map[model.ServiceKey]int64
	// seen is what each list showed last: an instance that was taken out and came back is another fact.
	seen map[model.ServiceKey]map[model.InstanceKey]*fact
}

func newObserver(n *Node) *Observer {
	o := &Observer{last: map[model.ServiceKey]int64{}}
	o.connect(n, fmt.Sprintf("observer-%s-%d", n.Name, n.life))
	n.every(time.Second, 5*time.Second, func() { n.m.Touch(o.id) })
	return o
}

func (o *Observer) connect(n *Node, id string) {
	o.n, o.life, o.id = n, n.life, id
	o.seen = map[model.ServiceKey]map[model.InstanceKey]*fact{}
	out, err := n.m.Connect(member.Connection{ID: o.id, Client: model.Client{IP: "10.9.9.9", Agent: "observer"}, Naming: true})
	if err != nil {
		n.w.Fail("observer: %v", err)
		return
	}
	o.out = out
	out.OnWake(func() { o.rung = o.rung || o.out == out })
	for i, k := range n.w.services() {
		if !n.subscribes(i) {
			continue
		}
		snap, err := n.m.Subscribe(o.id, k, "")
		if err != nil {
			n.w.Fail("observer: %v", err)
		}
		if snap.Revision > 0 {
			o.take("an answer", snap)
		}
	}
}

// roam starts a subscriber that moves to another ready process again and again.
func (w *World) roam(interval time.Duration) {
	o := &Observer{last: map[model.ServiceKey]int64{}}
	w.roamers = append(w.roamers, o)
	moves := 0
	w.Every(0, interval, func() bool {
		if o.n != nil && o.n.life == o.life && o.n.Up() {
			o.n.m.Disconnect(o.id)
		}
		from := o.n
		o.n, o.out, o.rung = nil, nil, false
		var ready []*Node
		for _, n := range w.nodes {
			if n.Up() && n != from && !n.leaving && n.m.ReadsOpen() {
				ready = append(ready, n)
			}
		}
		if len(ready) > 0 {
			moves++
			o.connect(ready[w.rng.IntN(len(ready))], fmt.Sprintf("roamer-%d", moves))
		}
		return !w.quiet
	})
}

func (o *Observer) pull() {
	if !o.rung {
		return
	}
	o.rung = false
	for {
		it, ok := o.out.Next()
		if !ok {
			return
		}
		switch it.Kind {
		case push.ItemNotify:
			o.take("a push", it.Snapshot)
			o.n.m.Ack(o.id, it.ID, true)
		case push.ItemDetect:
			o.n.m.Touch(o.id)
		case push.ItemReset, push.ItemClose:
			o.n.m.Disconnect(o.id)
			return
		}
	}
}

func (o *Observer) take(how string, snap *catalog.Snapshot) {
	k := snap.Service
	if snap.Revision <= o.last[k] {
		o.n.w.Fail("%s: revision of %s goes from %d to %d at %s", o.n.Name, k.Name, o.last[k], snap.Revision, o.id)
	}
	o.last[k] = snap.Revision
	hosts, _ := snap.Select("", false)
	o.n.w.truth.told(o.n, how, k, hosts, o.seen[k])
	seen := map[model.InstanceKey]*fact{}
	holds := o.n.holds()
	for _, h := range hosts {
		key := truthKey{k, h.Key()}
		if f := o.n.w.truth.held[key]; f != nil && holds[key] >= f.stamp {
			seen[h.Key()] = f
		}
	}
	o.seen[k] = seen
	o.n.w.Logf("%s tells %s: %d", o.n.Name, k.Name, len(hosts))
}

// subscribes: where members hold a part of the shards only, somebody has no subscriber of a service.
func (n *Node) subscribes(service int) bool { return n.w.factor == 0 || (n.index+service)%3 != 0 }
