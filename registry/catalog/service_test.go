package catalog

import (
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/muster-registry/muster/registry/model"
)

// TestServiceRecords: whatever is put in and forgotten, a service has the newest of each publisher, sorted, and no room for
// many more after a peak.
func TestServiceRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var svc service
		want := map[model.Publisher]*model.Record{}
		for range rapid.IntRange(1, 60).Draw(t, "changes") {
			p := model.Publisher{ID: strconv.Itoa(rapid.IntRange(0, 30).Draw(t, "publisher"))}
			r := &model.Record{Key: model.RecordKey{Publisher: p}}
			if rapid.Bool().Draw(t, "put") {
				svc.put(r)
				want[p] = r
				continue
			}
			if svc.forget(r) {
				t.Fatal("forgot a record that it does not have")
			}
			if old := want[p]; old != nil && !svc.forget(old) {
				t.Fatal("did not forget")
			}
			delete(want, p)
		}
		if rapid.Bool().Draw(t, "drop") {
			svc.drop(func(r *model.Record) bool { return r.Key.Publisher.ID > "0" })
			for p := range want {
				if p.ID > "0" {
					delete(want, p)
				}
			}
		}
		for p, r := range want {
			if svc.record(p) != r {
				t.Errorf("%s: not what was put last", p)
			}
		}
		if !slices.IsSortedFunc(svc.records, func(a, b *model.Record) int { return a.Key.Publisher.Compare(b.Key.Publisher) }) || len(svc.records) != len(want) {
			t.Errorf("%d records of %d, or not sorted", len(svc.records), len(want))
		}
		if c := cap(svc.records); c > 8 && len(svc.records) < c/4 {
			t.Errorf("%d records take the room of %d", len(svc.records), c)
		}
	})
}
