package member_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/model"
)

// TestAnswersOfOthers: a member answers also for services that it does not hold.
func TestAnswersOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.factor = 2
		var nodes []*node
		for _, name := range []string{"a", "b", "c", "d"} {
			nodes = append(nodes, w.start(name))
		}
		pass(50 * time.Second)
		var all []string
		for i := range 40 {
			k := service(i)
			all = append(all, k.Name)
			nodes[i%4].RegisterInstance(k, instance(i+1), model.Client{})
		}
		slices.Sort(all)
		pass(time.Second)
		for _, n := range nodes {
			elsewhere := 0
			for i := range 40 {
				k := service(i)
				if !n.Holds(k) {
					elsewhere++
				}
				snap, err := n.Query(k)
				if err != nil || len(snap.Hosts) != 1 || int(snap.Hosts[0].Port) != i+1 || !snap.Known || snap.Revision == 0 {
					t.Fatalf("%s, %v: %+v (%v)", n.address, k, snap, err)
				}
				if in, err := n.Instance(k, instance(i+1).Key()); err != nil || int(in.Port) != i+1 {
					t.Fatalf("%s, instance of %v: %+v (%v)", n.address, k, in, err)
				}
			}
			if elsewhere == 0 || elsewhere == 40 {
				t.Errorf("%s holds all but %d of 40", n.address, elsewhere)
			}
			names, err := n.ServiceNames(shop.Namespace, shop.Group)
			if err != nil || !slices.Equal(names, all) {
				t.Errorf("%s lists %v (%v)", n.address, names, err)
			}
		}
		ordersElsewhere(t, nodes)
		waitsForCopy(t, nodes)
		manyNames(t, nodes)
		for _, n := range nodes {
			n.kill()
		}
	})
}

// ordersElsewhere: beats, changes and deregistrations at a member that does not hold the service reach those that do.
func ordersElsewhere(t *testing.T, nodes []*node) {
	k := service(1)
	n := stranger(t, nodes, k)
	res, err := n.Beat(t.Context(), member.Beat{Service: k, IP: instance(2).IP, Port: 2})
	if err != nil || !res.Known {
		t.Errorf("a beat of a publisher that others know: %+v (%v)", res, err)
	}
	if res, err := n.Beat(t.Context(), member.Beat{Service: k, IP: "10.9.9.9", Port: 2}); err != nil || res.Known {
		t.Errorf("a beat of one that nobody knows: %+v (%v)", res, err)
	}
	changed := instance(2)
	changed.Weight = 7
	if err := n.OverrideInstance(k, changed); err != nil {
		t.Fatal(err)
	}
	if err := n.OverrideInstance(service(99), changed); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("a change of nothing: %v", err)
	}
	if err := n.ConfigureService(k, model.Settings{ProtectThreshold: 0.3}); err != nil {
		t.Fatal(err)
	}
	if err := n.ConfigureService(service(99), model.Settings{}); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("settings of nothing: %v", err)
	}
	pass(time.Second)
	for _, o := range nodes {
		if in, err := o.Instance(k, instance(2).Key()); err != nil || in.Weight != 7 {
			t.Errorf("%s shows %+v (%v)", o.address, in, err)
		}
		if snap, err := o.Query(k); err != nil || snap.Settings == nil || snap.Settings.ProtectThreshold != 0.3 {
			t.Errorf("%s shows the service as %+v (%v)", o.address, snap, err)
		}
	}
	if err := n.DeregisterInstance(k, instance(2).Key()); err != nil {
		t.Fatal(err)
	}
	pass(time.Second)
	for _, o := range nodes {
		if snap, err := o.Query(k); err != nil || len(snap.Hosts) != 0 {
			t.Errorf("%s still lists %+v (%v)", o.address, snap, err)
		}
	}
}

func waitsForCopy(t *testing.T, nodes []*node) {
	k := service(2)
	n := stranger(t, nodes, k)
	n.Connect(member.Connection{ID: "s", Naming: true})
	snap, err := n.Subscribe("s", k, "")
	if err != nil || len(snap.Hosts) != 1 || snap.Revision == 0 {
		t.Errorf("the answer to a subscription: %+v (%v)", snap, err)
	}
}

// manyNames: a group with more names than go into one message is listed everywhere. They are gathered from those that hold them.
func manyNames(t *testing.T, nodes []*node) {
	const group, services = "large", 6000
	for i := range services {
		k := model.ServiceKey{Namespace: shop.Namespace, Group: group, Name: fmt.Sprintf("%0500d", i)}
		nodes[i%len(nodes)].RegisterInstance(k, instance(i%60_000+1), model.Client{})
	}
	pass(time.Second)
	for _, n := range nodes {
		if names, err := n.ServiceNames(shop.Namespace, group); err != nil || len(names) != services {
			t.Errorf("%s lists %d services (%v), want %d", n.address, len(names), err, services)
		}
	}
}

// stranger is a node that does not hold a service.
func stranger(t *testing.T, nodes []*node, k model.ServiceKey) *node {
	t.Helper()
	i := slices.IndexFunc(nodes, func(n *node) bool { return !n.Holds(k) })
	if i < 0 {
		t.Fatalf("everybody holds %v", k)
	}
	return nodes[i]
}
