package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
)

// truth is what really is: who is alive and registered. It judges what members do and tell.
type truth struct {
	w    *World
	keys []model.ServiceKey
	held map[truthKey]*fact
	// stamped counts the changes of each record at each member in the second.
	stamped map[stampedAt]int
	second  time.Duration
	// ended are the tombstones that there were anywhere.
	ended map[ending]bool
	// pushes counts the lists that were judged.
	pushes int
	// heard is told every list as well, when a script asks for it.
	heard func(n *Node, k model.ServiceKey, hosts []model.Instance)
	// removed is told every removal of a record at a member, when a script asks for it.
	removed func(n *Node, c catalog.Change)
}

type truthKey struct {
	service  model.ServiceKey
	instance model.InstanceKey
}

// ending is a version of a record that somebody has ended.
type ending struct {
	key     model.RecordKey
	version model.Version
}

// fact is one instance that its process has registered.
type fact struct {
	client *Client
	// alive and registered now.
	here bool
	// stamp is of the record that the registration made: what is older shows a former life of the same instance.
	stamp model.Stamp
	// established: every process held it at some time since; when that was so.
	established   bool
	establishedAt time.Duration
}

type stampedAt struct {
	n   *Node
	key model.RecordKey
}

func (t *truth) init() {
	t.held, t.stamped, t.ended = map[truthKey]*fact{}, map[stampedAt]int{}, map[ending]bool{}
}

// services are all that clients may publish, in a fixed order.
func (w *World) services() []model.ServiceKey { return w.truth.keys }

// AddService makes a name.
func (w *World) AddService(name string) model.ServiceKey {
	k := model.ServiceKey{Namespace: "public", Group: "DEFAULT_GROUP", Name: name}
	w.truth.keys = append(w.truth.keys, k)
	return k
}

func (t *truth) registered(n *Node, c *Client, k model.ServiceKey) {
	key := truthKey{k, c.Instance().Key()}
	if f := t.held[key]; f != nil && f.here {
		return
	}
	stamp := n.holds()[key]
	t.held[key] = &fact{client: c, here: true, stamp: stamp}
	t.shown(n, key, stamp)
}

// shown: where a list shows an instance already, nobody is told that its publisher has said it anew; whoever was told the list relies on
// that from now on.
func (t *truth) shown(n *Node, key truthKey, said model.Stamp) {
	f := t.held[key]
	if f == nil || !f.here || said < f.stamp {
		return
	}
	for _, o := range append([]*Observer{n.observer}, t.w.roamers...) {
		if o == nil || o.n != n {
			continue
		}
		if _, listed := o.seen[key.service][key.instance]; listed {
			o.seen[key.service][key.instance] = f
		}
	}
}

// gone: unless another connection of the same process publishes it too.
func (t *truth) gone(c *Client, k model.ServiceKey) {
	f := t.held[truthKey{k, c.Instance().Key()}]
	if f == nil {
		return
	}
	for _, o := range t.w.clients {
		if o != c && o.ip == c.ip && o.alive && o.done[k] {
			f.client = o
			return
		}
	}
	f.here, f.established = false, false
}

// forget is for the moment when no process holds anything: what comes back is what clients bring back.
func (t *truth) forget() {
	for _, f := range t.held {
		f.established = false
	}
}

// goes: what a process held that ends, or sleeps for longer than it stays a member, is lost with it until clients bring it back, unless
// one that is awake holds it too, and not for itself alone. With a factor that may be a shard of which all copies go within seconds,
// though others live (R5).
func (t *truth) goes(n *Node) {
	var others []map[truthKey]model.Stamp
	for _, o := range t.w.nodes {
		if o != n && o.keeps() {
			others = append(others, o.holds())
		}
	}
	for key := range n.holds() {
		if f := t.held[key]; f != nil && !slices.ContainsFunc(others, func(held map[truthKey]model.Stamp) bool { return held[key] > 0 }) {
			f.established = false
		}
	}
}

// keeps reports whether what the process holds is not lost when others go: it is awake, and holds it not for itself alone.
func (n *Node) keeps() bool { return n.Up() && !n.isolated() }

// isolated reports whether it is cut off from the API and from everybody: what only it holds is not known to the others (P13).
func (n *Node) isolated() bool {
	return n.w.api.cut[n] && !slices.ContainsFunc(n.w.nodes, func(o *Node) bool { return o != n && o.Up() && n.w.net.Reach(n, o) })
}

// startsAlone judges a member that begins, or begins again, with nobody to merge with: nobody who is complete may be seen through the API. What the
// clients of a member that is cut off from the API and from its peers have registered is not known to the others (P13).
func (t *truth) startsAlone(n *Node) {
	t.w.Logf("%s starts alone", n.Name)
	if !t.w.api.reach(n) && t.w.now-t.w.api.heard[n] > 6*time.Second {
		t.w.Fail("%s starts alone though it cannot reach the API", n.Name)
	}
	for _, o := range t.w.nodes {
		if o != n && o.m != nil && t.w.net.streams[pairOf(n, o)] == nil && t.w.api.showsComplete(o) && t.w.now > 5*time.Second {
			t.w.Fail("%s starts alone though %s is complete", n.Name, o.Name)
		}
	}
	n.aloneAt = t.w.now
	t.forget()
}

// settle notes what all processes hold now, and not only those that sleep.
func (t *truth) settle() {
	var holders []*Node
	for _, n := range t.w.nodes {
		if n.m != nil && n.m.Self().State != model.StateStarting {
			holders = append(holders, n)
		}
	}
	if len(holders) == 0 {
		t.forget()
		return
	}
	var lists []map[truthKey]model.Stamp
	for key, f := range t.held {
		if !f.here || f.established {
			continue
		}
		if lists == nil { // most of the time there is nothing to settle
			for _, n := range holders {
				lists = append(lists, n.holds())
			}
		}
		copies, awake := 0, false
		f.established = true
		for i, n := range holders {
			if n.m.Holds(key.service) || n.emptyYet() {
				copies++
				f.established = f.established && lists[i][key] >= f.stamp
				awake = awake || n.keeps()
			}
		}
		f.established = f.established && awake && copies >= min(max(t.w.factor, 1), len(holders))
		f.establishedAt = t.w.now
	}
}

// emptyYet: with a factor, who starts alone takes all shards for its own a moment later, as it has them.
func (n *Node) emptyYet() bool { return n.alone > 0 && n.w.now-n.aloneAt < time.Second }

// unnoticed is how long a cut is not noticed: peers that say nothing for so long still count as in reach (adr/0005).
const unnoticed = 2500 * time.Millisecond

// completes is for a member that is complete from now on. What the others have taken a moment ago is on its way to it, as if it had been
// complete then. And it may be cut off without having noticed it: what those behind the cut have taken since they hold without it.
func (t *truth) completes(n *Node) {
	own := n.holds()
	here := []map[truthKey]model.Stamp{own}
	for _, o := range t.w.nodes {
		if o != n && o.Up() && t.w.net.Reach(n, o) {
			here = append(here, o.holds())
		}
	}
	for key, f := range t.held {
		known := slices.ContainsFunc(here, func(held map[truthKey]model.Stamp) bool { return held[key] >= f.stamp })
		since := t.w.now - f.establishedAt
		if since < unnoticed && !known || since < underway && own[key] < f.stamp {
			f.established = false
		}
	}
}

// holds is everything that a process holds, whether it answers or not, with the newest stamp of each.
func (n *Node) holds() map[truthKey]model.Stamp {
	out := map[truthKey]model.Stamp{}
	for _, r := range n.m.Records() {
		if r.Deleted {
			continue
		}
		for _, in := range r.Instances {
			key := truthKey{r.Key.Service, in.Key()}
			out[key] = max(out[key], r.Version.Said)
		}
	}
	return out
}

// told judges a list that a member has told: F = 0.
func (t *truth) told(n *Node, how string, k model.ServiceKey, hosts []model.Instance, before map[model.InstanceKey]*fact) {
	t.pushes++
	if t.heard != nil {
		t.heard(n, k, hosts)
	}
	listed := make(map[model.InstanceKey]bool, len(hosts))
	for _, h := range hosts {
		if listed[h.Key()] {
			t.w.Fail("%s tells %s twice in %s", n.Name, h.Key(), k.Name)
		}
		listed[h.Key()] = true
		if f := t.held[truthKey{k, h.Key()}]; f != nil && f.here && f.established && !h.Healthy && n.late < t.w.now {
			t.w.Fail("false removal: client %d (%s) is unhealthy in %s of %s in service %s", f.client.id, h.Key(), how, n.Name, k.Name)
		}
	}
	for key, f := range t.held {
		if key.service == k && f.here && !listed[key.instance] && (f.established && n.late < t.w.now || before[key.instance] == f) {
			t.w.Fail("false removal: client %d (%s) is missing in %s of %s in service %s",
				f.client.id, key.instance, how, n.Name, k.Name)
		}
	}
}

// changed judges every change of a record at a member.
func (t *truth) changed(n *Node, c catalog.Change) {
	t.w.note("%s holds %s of %s: %s", n.Name, c.Key.Publisher, c.Key.Service.Name, describe(c.New))
	first := t.ends(c)
	if c.Old == nil || c.New == nil {
		return
	}
	if c.New.Version.Compare(c.Old.Version) < 0 {
		t.w.Fail("%s: the version of %s in %s goes down", n.Name, c.Key.Publisher, c.Key.Service.Name)
	}
	if c.New.Version != c.Old.Version {
		t.storms(n, c)
	}
	if !c.New.Deleted && c.New.Version.Said > c.Old.Version.Said {
		for _, in := range c.New.Instances {
			t.shown(n, truthKey{c.Key.Service, in.Key()}, c.New.Version.Said)
		}
	}
	if c.New.Deleted && !c.Old.Deleted && t.removed != nil {
		t.removed(n, c)
	}
	if c.New.Deleted && !c.Old.Deleted && c.New.Version == c.Old.Version {
		t.unordered(n, c, first)
	}
}

// ends reports whether a change makes a tombstone that nobody has held before: this member has decided that, and not heard of it.
func (t *truth) ends(c catalog.Change) bool {
	if c.New == nil || !c.New.Deleted {
		return false
	}
	end := ending{c.Key, c.New.Version}
	first := !t.ended[end]
	t.ended[end] = true
	return first
}

// storms judges how often one record gets a new version: members never out-stamp each other.
func (t *truth) storms(n *Node, c catalog.Change) {
	const limit = 20 // in a second
	if second := t.w.now / time.Second; second != t.second {
		t.second = second
		clear(t.stamped)
	}
	key := stampedAt{n, c.Key}
	if t.stamped[key]++; t.stamped[key] > limit {
		t.w.Fail("%s sees %s stamped more than %d times in a second", n.Name, c.Key.Publisher, limit)
	}
}

func describe(r *model.Record) string {
	s := fmt.Sprintf("%x@%s", uint64(r.Version.Stamp), r.Version.Origin.String()[:4])
	if r.Deleted {
		return s + " deleted"
	}
	for _, in := range r.Instances {
		s += fmt.Sprintf(" %s healthy %v answered %v", in.IP, in.Healthy, r.Answered)
	}
	if r.Unclaimed != model.Vouched {
		s += fmt.Sprintf(" unclaimed %d since %v", r.Unclaimed, r.Since)
	}
	return s
}

// unordered judges a tombstone of exactly the version that a member held. That is no order of its publisher, which makes a new version;
// and who has registered elsewhere has a successor in it. Where the origin of the version lives and the two can talk, two things are
// wrong.
//   - Another member decides it: the first that has the tombstone anywhere. While the origin is a member it alone ends what it said,
//     be it of a connection or of one that beats, vouched for or not.
//   - A connection that the origin holds goes, whoever decided it. Of one that beats the origin alone knows when it fell silent, and
//     others may hear of that and of the end in one.
func (t *truth) unordered(n *Node, c catalog.Change, first bool) {
	origin := t.inReach(n, c.Old.Version.Origin)
	if origin == nil {
		return
	}
	if first && c.New.Successor() == nil && n.m.View().Has(c.Old.Version.Origin) {
		t.w.Fail("%s ends a record of %s, whose origin %s is a member, alive and reachable", n.Name, c.Key.Publisher, origin.Name)
	}
	if c.Key.Publisher.Kind != model.KindConnection || c.Old.Unclaimed != model.Vouched {
		return
	}
	for _, cl := range t.w.clients {
		if cl.node == origin && cl.conn == c.Key.Publisher.ID && cl.alive {
			t.w.Fail("%s removes a record of client %d, whose origin %s is alive and reachable", n.Name, cl.id, origin.Name)
		}
	}
}

// inReach is the process with an incarnation, if it is another one that is awake and both have a stream that packets pass on.
func (t *truth) inReach(n *Node, id model.Incarnation) *Node {
	for _, o := range t.w.nodes {
		if o != n && o.Up() && o.m.Self().Incarnation == id && t.w.net.Reach(n, o) && t.w.net.streams[pairOf(n, o)] != nil {
			return o
		}
	}
	return nil
}
