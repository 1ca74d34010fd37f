package session

import (
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
	"github.com/muster-registry/muster/registry/ring"
)

// TestWithdrawnWhilePublished takes the steps of Publish one by one: what is withdrawn and closed between them is not vouched for.
func TestWithdrawnWhilePublished(t *testing.T) {
	k := model.ServiceKey{Namespace: "public", Group: "DEFAULT_GROUP", Name: "orders"}
	now := model.Time{Mono: time.Hour}
	for name, tt := range map[string]struct {
		before, after func(table *Table)
		vouched       bool
	}{
		"nothing comes between":          {vouched: true},
		"withdrawn before it is written": {before: withdrawing(now, k), vouched: true},
		"withdrawn when it is written":   {after: withdrawing(now, k)},
		"closed before it is written":    {before: closing(now)},
		"closed when it is written":      {after: closing(now)},
	} {
		t.Run(name, func(t *testing.T) {
			table := aloneAt(now)
			table.Open(now, Connection{ID: "c", Naming: true})
			c, err := table.reserve("c", k)
			if err != nil {
				t.Fatal(err)
			}
			key := model.RecordKey{Publisher: c.publisher, Service: k}
			if tt.before != nil {
				tt.before(table)
			}
			table.update(now, key, func(*model.Record) *model.Record {
				return &model.Record{Key: key, Version: table.said(now), Instances: []model.Instance{{IP: "10.0.0.1", Port: 80}}}
			})
			if tt.after != nil {
				tt.after(table)
			}
			if !table.keep(c, key) {
				table.lose(now, key, true)
			}
			vouched := func() bool {
				r := table.store.Record(key)
				return !r.Deleted && r.Unclaimed == model.Vouched
			}
			if vouched() != tt.vouched {
				t.Errorf("vouched for: %v, want %v", vouched(), tt.vouched)
			}
			table.Close(now, "c")
			if vouched() {
				t.Error("it is vouched for, and its connection is closed")
			}
		})
	}
}

func withdrawing(now model.Time, k model.ServiceKey) func(*Table) {
	return func(table *Table) { _ = table.Withdraw(now, "c", k) }
}

func closing(now model.Time) func(*Table) { return func(table *Table) { table.Close(now, "c") } }

// aloneAt is a table of the only member.
func aloneAt(now model.Time) *Table {
	hlc := &model.HLC{}
	store := catalog.New(catalog.Options{Revise: func(now model.Time) int64 { return now.Wall }, TombstoneLifetime: time.Hour})
	t := New(Options{
		Engine: replication.New(replication.Options{Store: store, HLC: hlc}), Store: store, HLC: hlc,
		Timeouts: Timeouts{BeatUnhealthy: 15 * time.Second, BeatRemove: 30 * time.Second},
	})
	v := model.NewView(1, []model.Member{{Incarnation: 1, State: model.StateComplete}}, false)
	t.SetView(now, v, ring.New(v, 0))
	t.SetActive(true)
	return t
}
