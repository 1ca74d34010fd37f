package member_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/push"
)

// beat is one of the web server, at a port.
func beat(port int, full bool) member.Beat {
	b := member.Beat{Service: mail, IP: webServer.IP, Port: port}
	if full {
		in := webServer
		in.Port = int32(port)
		b.Full = &in
	}
	return b
}

// answer waits for the responsible member, as an adapter does.
func answer(t *testing.T, s *peer, b member.Beat) member.BeatResult {
	t.Helper()
	res, wait := s.Beat(b)
	if wait == nil {
		return res
	}
	s.c.flow()
	select {
	case known := <-wait:
		return s.Resolve(b, known)
	default:
		t.Fatal("the responsible member has not answered")
		return res
	}
}

// TestBeats: any member takes a beat; the responsible one decides whether an unknown publisher registers anew (20404).
func TestBeats(t *testing.T) {
	for name, at := range map[string]func(responsible, other *peer) *peer{
		"at the responsible member": func(r, _ *peer) *peer { return r },
		"at another member":         func(_, o *peer) *peer { return o },
	} {
		t.Run(name, func(t *testing.T) {
			c, a, b, d := three(t)
			port := portFor(b, a)
			taker := at(b, a)
			if res := answer(t, taker, beat(port, false)); res.Known {
				t.Error("a light beat of nobody is known")
			}
			if res := answer(t, taker, beat(port, true)); !res.Known || res.Interval != 5*time.Second {
				t.Errorf("a full beat registers: %+v", res)
			}
			c.flow()
			if d.shows() != 1 {
				t.Fatal("the registration has not reached the others")
			}
			c.pass(time.Second)
			if taker.Counts().BeatClients != 0 && taker != b || b.Counts().BeatClients != 1 {
				t.Errorf("vouched for by the taker %d, the responsible %d", taker.Counts().BeatClients, b.Counts().BeatClients)
			}
			for range 12 { // only beats at the taker keep it
				if res, wait := taker.Beat(beat(port, false)); !res.Known || wait != nil {
					t.Fatalf("a beat of one who is registered: %+v", res)
				}
				c.pass(5 * time.Second)
			}
			if in, err := d.Instance(mail, model.InstanceKey{IP: webServer.IP, Port: port, Cluster: "DEFAULT"}); err != nil || !in.Healthy {
				t.Errorf("after a minute of beats: %+v, %v", in, err)
			}
		})
	}
}

// TestBeatWhileResponsibleIsCutOff: the taker stands in, and nobody orders a registration anew that others may hold.
func TestBeatWhileResponsibleIsCutOff(t *testing.T) {
	c, a, b, _ := three(t)
	port := portFor(b, a)
	answer(t, a, beat(port, true))
	c.pass(time.Second)
	c.cut(a, b)
	for range 12 {
		if res, wait := a.Beat(beat(port, false)); !res.Known || wait != nil {
			t.Fatalf("%+v", res)
		}
		c.pass(5 * time.Second)
	}
	if in, err := a.Instance(mail, model.InstanceKey{IP: webServer.IP, Port: port, Cluster: "DEFAULT"}); err != nil || !in.Healthy {
		t.Errorf("after a minute: %+v, %v", in, err)
	}
}

// TestRegistrationsArrive: what is registered and deregistered at one member shows at another, whatever the protocol.
func TestRegistrationsArrive(t *testing.T) {
	c, a, b, _ := three(t)
	a.client("publisher")
	a.publish("publisher")
	a.RegisterInstance(mail, model.Instance{IP: "10.0.0.2", Port: 80, Cluster: "DEFAULT", Healthy: true, Enabled: true}, model.Client{})
	c.flow()
	if b.shows() != 2 {
		t.Fatalf("shows %d, want 2", b.shows())
	}
	if err := b.DeregisterInstance(mail, model.InstanceKey{IP: "10.0.0.2", Port: 80, Cluster: "DEFAULT"}); err != nil {
		t.Fatal(err)
	}
	if err := a.Withdraw("publisher", mail); err != nil {
		t.Fatal(err)
	}
	c.flow()
	if a.shows() != 0 || b.shows() != 0 {
		t.Errorf("shows %d and %d, want none", a.shows(), b.shows())
	}
	if _, err := b.Instance(mail, webServer.Key()); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("instance: %v, want not found", err)
	}
}

// TestOverride needs a service, and shows everywhere.
func TestOverride(t *testing.T) {
	c, a, b, _ := three(t)
	over := webServer
	over.Weight = 5
	if err := a.OverrideInstance(mail, over); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("no such service: %v, want not found", err)
	}
	a.client("publisher")
	a.publish("publisher")
	if err := b.OverrideInstance(mail, over); err != nil {
		t.Fatal(err)
	}
	c.flow()
	if in, err := a.Instance(mail, webServer.Key()); err != nil || in.Weight != 5 {
		t.Errorf("weight %v, %v", in.Weight, err)
	}
}

// TestProtected: the settings of a service need one, and its subscribers everywhere are told what they show.
func TestProtected(t *testing.T) {
	c, a, b, _ := three(t)
	if err := a.ConfigureService(mail, model.Settings{ProtectThreshold: 0.5}); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("no such service: %v, want not found", err)
	}
	a.client("publisher")
	sick := webServer
	sick.Port, sick.Healthy = 81, false
	if err := a.Publish("publisher", mail, []model.Instance{webServer, sick}); err != nil {
		t.Fatal(err)
	}
	c.flow()
	sub := b.client("subscriber")
	if _, err := b.Subscribe("subscriber", mail, ""); err != nil {
		t.Fatal(err)
	}
	c.pass(time.Second)
	if err := a.ConfigureService(mail, model.Settings{ProtectThreshold: 0.5}); err != nil {
		t.Fatal(err)
	}
	c.flow()
	c.pass(time.Second)
	var last *push.Item
	for it, ok := sub.Next(); ok; it, ok = sub.Next() {
		last = &it
	}
	if last == nil {
		t.Fatal("nothing was pushed")
	}
	if hosts, protected := last.Snapshot.Select("", false); !protected || len(hosts) != 2 || !hosts[1].Healthy {
		t.Errorf("protected %v: %+v", protected, hosts)
	}
}

// TestSubscribers are told of changes once, and answers count as told.
func TestSubscribers(t *testing.T) {
	c, a, b, _ := three(t)
	sub := b.client("subscriber")
	if _, err := b.Subscribe("nobody", mail, ""); !errors.Is(err, model.ErrUnregistered) {
		t.Errorf("no such connection: %v", err)
	}
	if snap, err := b.Subscribe("subscriber", mail, ""); err != nil || snap.Revision == 0 {
		t.Fatalf("revision %d, %v", snap.Revision, err)
	}
	a.client("publisher")
	a.publish("publisher")
	c.pass(time.Second)
	if got := kinds(sub); !slices.Equal(got, []push.ItemKind{push.ItemNotify}) {
		t.Errorf("told %v, want one push", got)
	}
	if _, err := b.Unsubscribe("subscriber", mail); err != nil {
		t.Fatal(err)
	}
	if err := a.Withdraw("publisher", mail); err != nil {
		t.Fatal(err)
	}
	c.pass(time.Second)
	if got := kinds(sub); slices.Contains(got, push.ItemNotify) {
		t.Errorf("told %v after the end of the subscription", got)
	}
}

// TestDrain: first the peers hear it, then the clients; the member stops when nothing would be lost.
func TestDrain(t *testing.T) {
	c, a, b, d := three(t)
	out := a.client("publisher")
	a.publish("publisher")
	a.Drain()
	a.Drain() // again is no change
	if got := kinds(out); !slices.Equal(got, []push.ItemKind{push.ItemReset}) {
		t.Errorf("the client is told %v, want to move", got)
	}
	if ok, _ := a.Ready(); ok {
		t.Error("ready while it leaves")
	}
	c.flow()
	if p, _ := b.View().Find(a.Self().Incarnation); p.State != model.StateLeaving {
		t.Errorf("its peers see it as %v", p.State)
	}
	if slices.Contains(b.ring().Members(), a.Self().Incarnation) {
		t.Error("rings still count on it")
	}
	if a.shows() != 1 {
		t.Error("it answers no more, though clients are still there")
	}
	c.pass(time.Second)
	if a.HandedOver() {
		t.Fatal("handed over with an open connection")
	}
	a.CloseConnections()
	if got := kinds(out); !slices.Contains(got, push.ItemClose) {
		t.Errorf("the client is told %v, want the end", got)
	}
	a.Disconnect("publisher")
	if a.HandedOver() {
		t.Error("handed over before its peers have heard that nobody vouches for the record")
	}
	c.pass(time.Second)
	if !a.HandedOver() {
		t.Fatal("not handed over")
	}
	for _, r := range d.Records() {
		if r.Key.Service == mail && r.Unclaimed != model.CauseOurs {
			t.Errorf("a connection that we closed ourselves: cause %d, want ours", r.Unclaimed)
		}
	}
	left := a.Self().Incarnation
	a.Leave()
	c.flow()
	if b.View().Has(left) || d.View().Has(left) {
		t.Error("its peers still count it in")
	}
	if c.pass(500 * time.Millisecond); !a.Told() {
		t.Error("its last words are not acknowledged")
	}
	c.pass(4 * time.Minute)
	if b.shows() != 1 || d.shows() != 1 {
		t.Errorf("shows %d and %d, want 1: its publisher has not come back yet", b.shows(), d.shows())
	}
}

// TestConnectWhileLeaving: a client that had looked before the member began to leave is served, asked to move, and lost by our doing.
func TestConnectWhileLeaving(t *testing.T) {
	c, a, _, d := three(t)
	a.Drain()
	out := a.client("late")
	if got := kinds(out); !slices.Equal(got, []push.ItemKind{push.ItemReset}) {
		t.Errorf("the client is told %v, want to move", got)
	}
	a.publish("late")
	if snap, err := a.Subscribe("late", mail, ""); err != nil || len(snap.Hosts) != 1 {
		t.Errorf("subscribed to %+v, %v; want its own instance", snap, err)
	}
	c.flow()
	a.Disconnect("late")
	c.pass(time.Second)
	for _, r := range d.Records() {
		if r.Key.Service == mail && r.Unclaimed != model.CauseOurs {
			t.Errorf("its record: cause %d, want ours", r.Unclaimed)
		}
	}
	if d.shows() != 1 || !a.HandedOver() {
		t.Errorf("another member shows %d instances, handed over: %v; want 1 and true", d.shows(), a.HandedOver())
	}
}

// TestDrainAlone: who has nobody to hand over to does not wait.
func TestDrainAlone(t *testing.T) {
	c, a, b, d := three(t)
	for _, s := range []*peer{b, d} {
		s.Drain()
		c.pass(time.Second)
		s.Leave()
		c.flow()
	}
	a.Drain()
	c.pass(time.Second)
	if !a.HandedOver() {
		t.Error("waits for nobody")
	}
}

// TestDrainWaitsForComplete: a successor that is not complete would lose what it was handed.
func TestDrainWaitsForComplete(t *testing.T) {
	c, a, b, d := three(t)
	n := c.add("n", membership.PolicyLease())
	c.relist()
	c.connect(n, a) // it waits for the others, which nobody can reach any more
	c.cut(a, b)
	c.cut(a, d)
	a.Drain()
	c.pass(10 * time.Second)
	if a.HandedOver() {
		t.Fatal("handed over to a member that is not complete")
	}
	c.pass(21 * time.Second)
	if ok, why := n.Ready(); !ok || !a.HandedOver() {
		t.Errorf("the successor is ready %v (%s), handed over %v", ok, why, a.HandedOver())
	}
}
