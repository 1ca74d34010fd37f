package session

import (
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/muster-registry/muster/registry/model"
)

// TestHoldings: they hold what a map by service would, also where two services have one hash.
func TestHoldings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h holdings
		want := map[string]model.Stamp{}
		stranger := &model.Record{Key: model.RecordKey{Service: model.ServiceKey{Name: "stranger"}}}
		taken := rapid.IntRange(0, 4).Draw(t, "taken")
		h.byHash = map[uint64]*model.Record{}
		for i := range taken { // as if the stranger's hash was theirs
			h.byHash[model.ServiceKey{Name: strconv.Itoa(i)}.Hash()] = stranger
		}
		for stamp := range rapid.IntRange(1, 30).Draw(t, "changes") {
			k := model.ServiceKey{Name: strconv.Itoa(rapid.IntRange(0, 7).Draw(t, "service"))}
			if rapid.Bool().Draw(t, "remove") {
				h.remove(k)
				delete(want, k.Name)
			} else {
				h.put(&model.Record{Key: model.RecordKey{Service: k}, Version: model.Version{Stamp: model.Stamp(stamp)}})
				want[k.Name] = model.Stamp(stamp)
			}
			for i := range 8 {
				k := model.ServiceKey{Name: strconv.Itoa(i)}
				stamp, held := want[k.Name]
				if r := h.get(k); held != (r != nil) || held && (r.Key.Service != k || r.Version.Stamp != stamp) {
					t.Fatalf("service %d: %+v, want %d, %t", i, r, stamp, held)
				}
			}
		}
		got := map[string]model.Stamp{}
		last := model.ServiceKey{}
		for _, r := range h.sorted() {
			if r != stranger {
				got[r.Key.Service.Name] = r.Version.Stamp
			}
			if r.Key.Service.Compare(last) < 0 {
				t.Errorf("%s comes after %s", r.Key.Service, last)
			}
			last = r.Key.Service
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("all (-want +got):\n%s", d)
		}
	})
}
