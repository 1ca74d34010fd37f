package replication_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
)

// pipe joins engines in memory: what one pulls, the other receives, in order.
type pipe struct {
	now   time.Duration
	nodes []*node
	// cut links carry nothing.
	cut map[[2]int]bool
	// watch, when set, sees every message on its way.
	watch func(from, to *node, m replication.Message)
}

// node is one engine with what it stands on; each has a clock of its own.
type node struct {
	id     model.Incarnation
	store  *catalog.Store
	hlc    *model.HLC
	engine *replication.Engine
	mono   time.Duration // its process is that much older
	wall   time.Duration // its wall is that much ahead
	inputs []replication.Input
	// onChange runs after a write, with no lock held.
	onChange func()
}

func newPipe(n int) *pipe {
	p := &pipe{cut: map[[2]int]bool{}}
	for i := range n {
		n := &node{id: model.Incarnation(i + 1), hlc: &model.HLC{}, mono: time.Duration(i+1) * time.Hour, onChange: func() {}}
		n.store = catalog.New(catalog.Options{
			Revise:            func(now model.Time) int64 { return n.hlc.Read(now).Millis() },
			OnChange:          func(model.ServiceKey) { n.onChange() },
			TombstoneLifetime: 10 * time.Minute,
		})
		n.engine = replication.New(replication.Options{Store: n.store, HLC: n.hlc})
		n.engine.SetStatus(replication.Status{Complete: true})
		p.nodes = append(p.nodes, n)
	}
	return p
}

// joined is a pipe of n engines with all streams up, and nothing left to say.
func joined(n int) *pipe {
	p := newPipe(n)
	for i := range p.nodes {
		for j := range i {
			p.connect(i, j)
		}
	}
	p.settle()
	return p
}

func (p *pipe) time(n *node) model.Time {
	return model.Time{Mono: p.now + n.mono, Wall: 1_800_000_000_000 + (p.now + n.wall).Milliseconds()}
}

func (p *pipe) connect(i, j int) {
	a, b := p.nodes[i], p.nodes[j]
	a.engine.PeerUp(p.time(a), b.id)
	b.engine.PeerUp(p.time(b), a.id)
}

func (p *pipe) setCut(i, j int, cut bool) { p.cut[[2]int{i, j}], p.cut[[2]int{j, i}] = cut, cut }

// settle carries messages until nobody has anything to say.
func (p *pipe) settle() {
	for moved := true; moved; {
		moved = false
		for i := range p.nodes {
			for j := range p.nodes {
				moved = p.carry(i, j) || moved
			}
		}
	}
}

// carry takes what waits from one to the other.
func (p *pipe) carry(i, j int) bool {
	from, to := p.nodes[i], p.nodes[j]
	if i == j || p.cut[[2]int{i, j}] {
		return false
	}
	ms := from.engine.Pull(p.time(from), to.id)
	for _, m := range ms {
		if p.watch != nil {
			p.watch(from, to, m)
		}
		to.inputs = append(to.inputs, to.engine.Receive(p.time(to), from.id, m))
	}
	return len(ms) > 0
}

// stall lets a stream keep for a while what one has for the other, and whatever happens meanwhile.
func (p *pipe) stall(i, j int, d time.Duration, meanwhile func()) {
	from, to := p.nodes[i], p.nodes[j]
	ms := from.engine.Pull(p.time(from), to.id)
	p.now += d
	meanwhile()
	for _, m := range ms {
		to.inputs = append(to.inputs, to.engine.Receive(p.time(to), from.id, m))
	}
}

// pass lets time pass in ticks of 100 ms, and carries what comes of it.
func (p *pipe) pass(d time.Duration) {
	for range d / (100 * time.Millisecond) {
		p.now += 100 * time.Millisecond
		for _, n := range p.nodes {
			n.engine.Tick(p.time(n))
		}
		p.settle()
	}
}

// write commits at a node what shape makes of a new version.
func (p *pipe) write(i int, key model.RecordKey, shape func(model.Version, *model.Record) *model.Record) *model.Record {
	n := p.nodes[i]
	v := model.Version{Stamp: n.hlc.Next(p.time(n)), Origin: n.id}
	n.engine.Update(p.time(n), key, func(cur *model.Record) *model.Record { return shape(v, cur) })
	return n.store.Record(key)
}

func (p *pipe) register(i int, key model.RecordKey, port int) *model.Record {
	return p.write(i, key, func(v model.Version, _ *model.Record) *model.Record {
		return &model.Record{Key: key, Version: v, Instances: []model.Instance{{IP: "10.0.0.1", Port: int32(port), Weight: 1, Healthy: true, Enabled: true}}}
	})
}

func (p *pipe) remove(i int, key model.RecordKey) *model.Record {
	return p.write(i, key, func(v model.Version, cur *model.Record) *model.Record {
		return (&model.Record{Key: key}).Tombstone(v)
	})
}

// unclaim notes that nobody vouches for the record, since the present.
func (p *pipe) unclaim(i int, key model.RecordKey, cause model.Cause) {
	n := p.nodes[i]
	n.engine.Update(p.time(n), key, func(cur *model.Record) *model.Record { return cur.WithUnclaimed(cause, p.time(n).Mono) })
}

func key(service int, publisher string) model.RecordKey {
	return model.RecordKey{
		Publisher: model.Publisher{Kind: model.KindConnection, Member: 1, ID: publisher},
		Service:   model.ServiceKey{Namespace: "public", Group: "DEFAULT_GROUP", Name: fmt.Sprint(service)},
	}
}

// count returns how many messages of each kind were carried while do ran.
func (p *pipe) count(do func()) map[replication.Kind]int {
	n := map[replication.Kind]int{}
	before := p.watch
	p.watch = func(from, to *node, m replication.Message) {
		n[m.Kind]++
		if before != nil {
			before(from, to, m)
		}
	}
	do()
	p.watch = before
	return n
}

// live are the records that a node shows, without what is the holder's own time.
func (n *node) live() []*model.Record {
	var rs []*model.Record
	for _, r := range n.store.Collect(func(r *model.Record) bool { return !r.Deleted }) {
		c := *r
		c.Since = 0
		rs = append(rs, &c)
	}
	return rs
}

// agree fails when two nodes hold different live records, or sums.
func (p *pipe) agree(t interface {
	Helper()
	Fatalf(string, ...any)
},
) {
	t.Helper()
	for _, n := range p.nodes[1:] {
		if d := cmp.Diff(p.nodes[0].live(), n.live()); d != "" {
			t.Fatalf("%v and %v differ: %s", p.nodes[0].id, n.id, d)
		}
		if p.nodes[0].store.Sum() != n.store.Sum() {
			t.Fatalf("the sums of %v and %v differ", p.nodes[0].id, n.id)
		}
	}
}

// holds fails when a node's record of a key is not the wanted one.
func (n *node) holds(t *testing.T, want *model.Record) {
	t.Helper()
	got := n.store.Record(want.Key)
	if got == nil || got.Version != want.Version || got.Deleted != want.Deleted {
		t.Errorf("%v holds %+v, want %+v", n.id, got, want)
	}
}
