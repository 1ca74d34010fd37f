package session

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/muster-registry/muster/registry/model"
)

// TestLookalikes: whatever order the changes of a few records are noted in, all live ones are found, under every mark
// that they have, and nobody under one that it does not have.
func TestLookalikes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type change struct{ old, now *model.Record }
		var changes []change
		last := map[string]*model.Record{}
		for stamp := range rapid.IntRange(1, 12).Draw(t, "changes") {
			id := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "publisher")
			old := last[id]
			r := &model.Record{
				Key:     model.RecordKey{Publisher: model.Publisher{ID: id}},
				Version: model.Version{Stamp: model.Stamp(stamp + 1), Origin: 1},
				Client:  &model.Client{IP: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "client")},
				Deleted: rapid.Bool().Draw(t, "deleted"),
			}
			if old != nil && !old.Deleted && rapid.Bool().Draw(t, "stamped again") {
				r = old.Restamped(r.Version.Stamp, r.Version.Origin)
			} else if !r.Deleted {
				for _, port := range rapid.SliceOfNDistinct(rapid.IntRange(1, 3), 0, 3, rapid.ID[int]).Draw(t, "ports") {
					r.Instances = append(r.Instances, model.Instance{Port: int32(port)})
				}
			}
			changes = append(changes, change{old, r})
			last[id] = r
		}
		l := newLookalikes()
		for _, i := range rapid.Permutation(indices(len(changes))).Draw(t, "order") {
			l.note(changes[i].old, changes[i].now)
		}
		for _, ip := range []string{"x", "y"} {
			for port := range 4 {
				want := map[string]bool{}
				for id, r := range last {
					if !r.Deleted && r.By().IP == ip && r.Overlaps([]model.Instance{{Port: int32(port)}}) {
						want[id] = true
					}
				}
				for _, r := range l.of(model.ServiceKey{}, model.Client{IP: ip}, []model.Instance{{Port: int32(port)}}) {
					if r.By().IP != ip || !r.Overlaps([]model.Instance{{Port: int32(port)}}) {
						t.Fatalf("%s is found under a mark that it does not have", r.Key.Publisher.ID)
					}
					delete(want, r.Key.Publisher.ID)
				}
				if len(want) > 0 {
					t.Fatalf("client %s, port %d: not found: %v", ip, port, want)
				}
			}
		}
	})
}

// TestLookalikesForget: in order, nothing is kept of what is gone.
func TestLookalikesForget(t *testing.T) {
	l := newLookalikes()
	var records []*model.Record
	for _, id := range []string{"a", "b", "c"} {
		r := &model.Record{
			Key: model.RecordKey{Publisher: model.Publisher{ID: id}}, Version: model.Version{Stamp: 1, Origin: 1},
			Instances: []model.Instance{{Port: 1}, {Port: 2}},
		}
		l.note(nil, r)
		records = append(records, r)
	}
	if found := l.of(model.ServiceKey{}, model.Client{}, records[0].Instances); len(found) != 3 {
		t.Fatalf("%d of 3 found", len(found))
	}
	for i, r := range records {
		l.note(r, r.Tombstone(r.Version))
		if found := l.of(model.ServiceKey{}, model.Client{}, r.Instances); len(found) != 2-i || slices.Contains(found, r) {
			t.Errorf("%d found, want %d others", len(found), 2-i)
		}
	}
	if len(l.first)+len(l.more) != 0 {
		t.Errorf("kept: %v %v", l.first, l.more)
	}
}

func indices(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
