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

// meanwhile is a harness whose table lets something happen, once, after the first change that is of interest.
func meanwhile(t *testing.T, of func(catalog.Change) bool) (h *harness, happens *func()) {
	h = newHarness(t, false, 2)
	happens = new(func())
	h.Table = session.New(session.Options{
		Engine: h.engine, Store: h.store, HLC: &model.HLC{}, Timeouts: graces,
		Trace: func(_ model.Time, c catalog.Change) {
			if f := *happens; f != nil && of(c) {
				*happens = nil
				f()
			}
		},
	})
	h.view()
	h.SetActive(true)
	return h, happens
}

func TestClosedWhileStampedAgain(t *testing.T) {
	h, happens := meanwhile(t, func(c catalog.Change) bool { return c.New.Unclaimed == model.Vouched })
	h.open("c", java)
	var keys []model.RecordKey
	for i := range 3 {
		k := orders
		k.Name = fmt.Sprint("orders-", i)
		if _, err := h.Publish(h.now, "c", k, []model.Instance{instance}); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, model.RecordKey{Publisher: model.Publisher{Kind: model.KindConnection, Member: self, ID: "c"}, Service: k})
	}
	h.deaf["c"] = true
	h.members[0].Incarnation = 77 // all of them want a new stamp
	h.view()
	*happens = func() { h.Close(h.now, "c") }
	h.Touch(h.now, "c")
	h.pass(10 * time.Minute)
	for _, k := range keys {
		if h.lives(k) {
			t.Errorf("%s lives ten minutes after its connection was closed", k.Service.Name)
		}
	}
}

func TestBeatsWhileAnotherIsHeard(t *testing.T) {
	h, happens := meanwhile(t, func(c catalog.Change) bool { return c.New.Version.Origin == 2 })
	key, _ := h.beats(self, instance)
	h.pass(2 * time.Second)
	*happens = func() { h.Beat(h.now, key, self) }
	r := h.store.Record(key)
	h.receiveRecord(2, r.Restamped(r.Version.Stamp+1, 2))
	h.pass(10 * time.Minute)
	if h.lives(key) {
		t.Error("who has not beaten for ten minutes is listed")
	}
}
