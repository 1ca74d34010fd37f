package session_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/session"
)

// What a member vouches for has a publisher behind it, whatever comes at once: nobody else would ever end it. In these tests the
// second thing comes while the first one is being done, between two of its steps.

// meanwhile is a bench whose table lets something happen, once, after the first change that is of interest.
func meanwhile(t *testing.T, of func(catalog.Change) bool) (b *bench, happens *func()) {
	b = newBench(t, false, 2)
	happens = new(func())
	b.Table = session.New(session.Options{
		Engine: b.engine, Store: b.store, HLC: &model.HLC{}, Timeouts: graces,
		Trace: func(_ model.Time, c catalog.Change) {
			if f := *happens; f != nil && of(c) {
				*happens = nil
				f()
			}
		},
	})
	b.view()
	b.SetActive(true)
	return b, happens
}

func TestClosedWhileStampedAgain(t *testing.T) {
	b, happens := meanwhile(t, func(c catalog.Change) bool { return c.New.Unclaimed == model.Vouched })
	b.open("c", java)
	var keys []model.RecordKey
	for i := range 3 {
		k := orders
		k.Name = fmt.Sprint("orders-", i)
		if _, err := b.Publish(b.now, "c", k, []model.Instance{instance}); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, model.RecordKey{Publisher: model.Publisher{Kind: model.KindConnection, Member: self, ID: "c"}, Service: k})
	}
	b.deaf["c"] = true
	b.members[0].Incarnation = 77 // all of them want a new stamp
	b.view()
	*happens = func() { b.Close(b.now, "c") }
	b.Touch(b.now, "c")
	b.pass(10 * time.Minute)
	for _, k := range keys {
		if b.lives(k) {
			t.Errorf("%s lives ten minutes after its connection was closed", k.Service.Name)
		}
	}
}

func TestBeatsWhileAnotherIsHeard(t *testing.T) {
	b, happens := meanwhile(t, func(c catalog.Change) bool { return c.New.Version.Origin == 2 })
	key, _ := b.beats(self, instance)
	b.pass(2 * time.Second)
	*happens = func() { b.Beat(b.now, key, self) }
	r := b.store.Record(key)
	b.receiveRecord(2, r.Restamped(r.Version.Stamp+1, 2))
	b.pass(10 * time.Minute)
	if b.lives(key) {
		t.Error("who has not beaten for ten minutes is listed")
	}
}
