package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/push"
)

// Observer subscribes to everything at one process. One that roams moves to others, and drops what is not newer than what
// it holds, as the real clients do. One that does not stays until the process closes it, as Python clients do, and comes back.
type Observer struct {
	w     *World
	name  string
	roams bool
	conns int // that it has had
	// n is where it is connected, nil when it is not; life is the process there, id the connection.
	n    *Node
	life int
	id   string
	out  *push.Conn
	rung bool // out has something to pull
	last map[model.ServiceKey]list
	// seen is what each list showed last: an instance that was taken out and came back is another fact.
	seen map[model.ServiceKey]map[model.InstanceKey]*fact
}

// list is the newest list of a service that a subscriber holds.
type list struct {
	revision int64
	hosts    []model.Instance
	// told is when it was told, and by which process.
	told reading
}

// again: its process has told the same list once more, to one that came back at once.
func (l list) again(n *Node, revision int64, hosts []model.Instance) bool {
	return l.told.process == n.process && l.revision == revision && slices.EqualFunc(l.hosts, hosts, model.Instance.Equal)
}

func newObserver(n *Node) *Observer {
	o := &Observer{w: n.w, name: fmt.Sprintf("observer-%s-%d", n.Name, n.life), last: map[model.ServiceKey]list{}}
	o.connect(n)
	n.every(time.Second, 5*time.Second, func() {
		switch {
		case o.n != nil:
			n.m.Touch(o.id)
		case n.w.returning:
			o.connect(n)
		}
	})
	return o
}

func (o *Observer) connect(n *Node) {
	if n.m.Self().State == model.StateLeaving {
		return
	}
	o.conns++
	id := fmt.Sprintf("%s-%d", o.name, o.conns)
	out := n.m.Connect(member.Connection{ID: id, Client: model.Client{IP: "10.9.9.9", Agent: "observer"}, Naming: true})
	o.n, o.life, o.id, o.out = n, n.life, id, out
	o.seen = map[model.ServiceKey]map[model.InstanceKey]*fact{}
	out.OnWake(func() { o.rung = o.rung || o.out == out })
	for i, k := range o.w.services() {
		if !n.subscribes(i) {
			continue
		}
		snap, err := n.m.Subscribe(o.id, k, "")
		if err != nil {
			o.w.Fail("observer: %v", err)
		}
		if snap.Revision > 0 {
			o.take("an answer", snap)
		}
	}
}

// leave closes the connection.
func (o *Observer) leave() {
	n, life, id := o.n, o.life, o.id
	o.n, o.out, o.rung, o.seen = nil, nil, false, nil
	if n != nil {
		n.hangUp(life, id)
	}
}

// hangUp closes a connection; a frozen process hears it when it wakes.
func (n *Node) hangUp(life int, id string) {
	switch {
	case n.life != life || n.m == nil:
	case n.frozen:
		n.w.After(100*time.Millisecond, func() { n.hangUp(life, id) })
	default:
		n.m.Disconnect(id)
	}
}

// roam starts a subscriber that moves to another ready process again and again, and at once when it loses its own.
func (w *World) roam(interval time.Duration) {
	o := &Observer{w: w, name: fmt.Sprintf("roamer-%d", len(w.roamers)), roams: true, last: map[model.ServiceKey]list{}}
	w.roamers = append(w.roamers, o)
	w.Every(0, interval, func() bool { o.move(); return !w.quiet })
	w.Every(500*time.Millisecond, 500*time.Millisecond, func() bool {
		if n := o.n; n == nil || n.life != o.life || n.frozen && w.now-n.frozenAt > 9*time.Second {
			o.move()
		}
		return true
	})
}

// move goes to another process, drawn by a generator of its own: the others draw what they drew without subscribers that roam.
func (o *Observer) move() {
	from, life := o.n, o.life
	o.leave()
	var ready []*Node
	for _, n := range o.w.nodes {
		if n.Up() && (n != from || n.life != life) && !n.leaving && n.m.ReadsOpen() {
			ready = append(ready, n)
		}
	}
	if len(ready) > 0 {
		o.connect(ready[o.w.roaming.IntN(len(ready))])
	}
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
		case push.ItemReset:
			if o.roams || !o.w.returning {
				o.leave()
				return
			}
		case push.ItemClose:
			o.leave()
			return
		}
	}
}

// take judges a list. A subscriber drops one that is not newer than what it holds. That must not be, unless what it holds was
// told by a process of whose clock this one cannot know yet: no clock can keep up with one that ran ahead behind a cut (P8).
func (o *Observer) take(how string, snap *catalog.Snapshot) {
	k := snap.Service
	hosts, _ := snap.Select("", false)
	o.w.truth.told(o.n, how, k, hosts, o.seen[k])
	if last := o.last[k]; snap.Revision <= last.revision {
		if o.n.hasHeard(last.told) && !last.again(o.n, snap.Revision, hosts) {
			o.w.Fail("%s: revision of %s goes from %d to %d at %s", o.n.Name, k.Name, last.revision, snap.Revision, o.id)
		}
		return
	}
	o.last[k] = list{snap.Revision, hosts, o.n.reading()}
	seen := map[model.InstanceKey]*fact{}
	holds := o.n.holds()
	for _, h := range hosts {
		key := truthKey{k, h.Key()}
		if f := o.w.truth.held[key]; f != nil && holds[key] >= f.stamp {
			seen[h.Key()] = f
		}
	}
	o.seen[k] = seen
	o.w.Logf("%s tells %s: %d", o.n.Name, k.Name, len(hosts))
}

// judgeEnd: who is connected when nothing changes any more has been told the list that a query would show.
func (o *Observer) judgeEnd() {
	if o.n == nil {
		if o.roams {
			o.w.Fail("%s found no member at the end", o.name)
		}
		return
	}
	for i, k := range o.w.services() {
		if !o.n.subscribes(i) {
			continue
		}
		snap, err := o.n.m.Query(k)
		if err != nil {
			o.w.Fail("%s asks %s at the end: %v", o.name, o.n.Name, err)
			continue
		}
		hosts, _ := snap.Select("", false)
		if last := o.last[k]; !slices.EqualFunc(last.hosts, hosts, model.Instance.Equal) {
			o.w.Fail("%s holds %d of %s at the end, and %s shows %d", o.name, len(last.hosts), k.Name, o.n.Name, len(hosts))
		}
	}
}

// subscribes: where members hold a part of the shards only, somebody has no subscriber of a service.
func (n *Node) subscribes(service int) bool { return n.w.factor == 0 || (n.index+service)%3 != 0 }
