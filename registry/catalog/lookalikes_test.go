package catalog

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/muster-registry/muster/registry/model"
)

// TestLookalikes: whatever was merged, evicted and forgotten, exactly the live records of connections with that client and an
// instance in common are found, in services that are looked through and in those that have an index.
func TestLookalikes(t *testing.T) {
	var indexed, lookedThrough int
	rapid.Check(t, func(t *rapid.T) {
		s := New(Options{TombstoneLifetime: time.Minute})
		k := model.ServiceKey{Name: "orders"}
		ids := []string{"a", "b", "c", "d", "e", "f"}
		room := rapid.SampledFrom([]int{3, 40}).Draw(t, "ports") // little room: many share a port
		now := model.Time{}
		for stamp := range rapid.IntRange(1, 25).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"put", "put", "put", "again", "evict", "sweep"}).Draw(t, "step") {
			case "put":
				r := randomRecord(t, k, ids, room)
				r.Version = model.Version{Stamp: model.Stamp(stamp + 1), Said: model.Stamp(stamp + 1), Origin: 1}
				s.Apply(now, r)
			case "again":
				if held := s.Service(k); len(held) > 0 {
					s.Apply(now, rapid.SampledFrom(held).Draw(t, "held").Restamped(model.Stamp(stamp+1), 2))
				}
			case "evict":
				id := rapid.SampledFrom(ids).Draw(t, "evicted")
				s.Evict(now, nil, func(r *model.Record) bool { return r.Key.Publisher.ID == id })
			case "sweep":
				now.Mono += time.Minute
				s.Sweep(now)
			}
			for range 3 {
				checkLookalikes(t, s, k, randomRecord(t, k, ids, room))
			}
			st, _ := s.stripe(k)
			if svc := st.services.Get(k); svc != nil && svc.alike != nil {
				indexed++
			} else {
				lookedThrough++
			}
		}
	})
	if indexed == 0 || lookedThrough == 0 {
		t.Errorf("%d looks at an index, %d at a service without one: not both are tried", indexed, lookedThrough)
	}
}

func randomRecord(t *rapid.T, k model.ServiceKey, ids []string, room int) *model.Record {
	kind := rapid.SampledFrom([]model.PublisherKind{model.KindConnection, model.KindConnection, model.KindBeat}).Draw(t, "kind")
	r := &model.Record{
		Key:     model.RecordKey{Service: k, Publisher: model.Publisher{Kind: kind, ID: rapid.SampledFrom(ids).Draw(t, "publisher")}},
		Client:  &model.Client{IP: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "client")},
		Deleted: rapid.IntRange(0, 3).Draw(t, "deleted") == 0,
	}
	if !r.Deleted {
		first := rapid.IntRange(1, room).Draw(t, "first port")
		for port := range rapid.SampledFrom([]int{0, 1, 2, room}).Draw(t, "instances") {
			r.Instances = append(r.Instances, model.Instance{Port: int32(first + port)})
		}
	}
	return r
}

func checkLookalikes(t *rapid.T, s *Store, k model.ServiceKey, of *model.Record) {
	var want []*model.Record
	for _, r := range s.Service(k) {
		if !r.Deleted && r.Key.Publisher.Kind == model.KindConnection && r.By() == of.By() && r.Overlaps(of.Instances) {
			want = append(want, r)
		}
	}
	if got := s.Lookalikes(k, of.By(), of.Instances); !slices.Equal(got, want) {
		t.Fatalf("found %v, want %v", got, want)
	}
}

// TestLookalikesForget: an index keeps nothing of what is gone.
func TestLookalikesForget(t *testing.T) {
	var svc service
	var records []*model.Record
	for i, id := range []string{"a", "b", "c"} {
		r := &model.Record{
			Key:       model.RecordKey{Publisher: model.Publisher{Kind: model.KindConnection, ID: id}},
			Version:   model.Version{Stamp: 1, Origin: 1},
			Instances: []model.Instance{{Port: 1}, {Port: int32(2 + i)}, {Port: 1}},
		}
		svc.put(r)
		records = append(records, r)
	}
	svc.alike = newLookalikes(svc.records)
	index := svc.alike
	for i, r := range records {
		if found := index.of(model.Client{}, r.Instances); len(found) != 3-i || !slices.Contains(found, r) {
			t.Errorf("%d found, want %d", len(found), 3-i)
		}
		svc.put(r.Tombstone(r.Version))
	}
	if len(index.first)+len(index.more) != 0 {
		t.Errorf("kept: %v %v", index.first, index.more)
	}
}
