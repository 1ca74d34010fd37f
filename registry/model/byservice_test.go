package model

import (
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

type thing struct {
	service ServiceKey
	number  int
}

func (t *thing) Names() ServiceKey { return t.service }

// crowdedServices are such as come into each other's way: two pairs of one hash, and many whose first place is one of the last.
func crowdedServices(t *testing.T) []ServiceKey {
	var crowd []ServiceKey
	byHash, twins, late := map[uint32]ServiceKey{}, 0, 0
	for i := 0; twins < 2 || late < 12; i++ {
		if i == 1<<24 {
			t.Fatalf("of %d services no two have one hash", i)
		}
		k := ServiceKey{Namespace: "public", Group: "g", Name: strconv.Itoa(i)}
		h := serviceHash(k)
		if first, taken := byHash[h]; taken && twins < 2 {
			crowd = append(crowd, first, k)
			twins++
		}
		byHash[h] = k
		if h >= 0xF0000000 && late < 12 {
			crowd = append(crowd, k)
			late++
		}
	}
	for i := range 8 {
		crowd = append(crowd, ServiceKey{Name: "other-" + strconv.Itoa(i)})
	}
	return crowd
}

// TestByService: it holds what a map by service would.
func TestByService(t *testing.T) {
	crowd := crowdedServices(t)
	rapid.Check(t, func(t *rapid.T) {
		var b ByService[*thing]
		want := map[ServiceKey]*thing{}
		for n := range rapid.IntRange(1, 100).Draw(t, "changes") {
			k := rapid.SampledFrom(crowd).Draw(t, "service")
			if rapid.IntRange(0, 2).Draw(t, "remove") == 0 {
				b.Remove(k)
				delete(want, k)
			} else {
				want[k] = &thing{k, n}
				b.Put(want[k])
			}
			for _, k := range crowd {
				if b.Get(k) != want[k] {
					t.Fatalf("%v: got %+v, want %+v", k, b.Get(k), want[k])
				}
			}
		}
		all := slices.Collect(b.All())
		got := map[ServiceKey]*thing{}
		for _, held := range all {
			got[held.service] = held
		}
		if !maps.Equal(got, want) || len(all) != len(want) || b.Len() != len(want) {
			t.Errorf("%d of %d, want %d:\n%s", len(all), b.Len(), len(want), cmp.Diff(want, got, cmp.AllowUnexported(thing{})))
		}
	})
}

// TestByServiceRoom: full to a half at least while it grows, and without the room of a peak when that is over.
func TestByServiceRoom(t *testing.T) {
	var b ByService[*thing]
	key := func(i int) ServiceKey { return ServiceKey{Name: strconv.Itoa(i)} }
	for i := range 10_000 {
		b.Put(&thing{service: key(i)})
		if places := len(b.things); places > 2*(i+1) {
			t.Fatalf("%d places for %d", places, i+1)
		}
	}
	for i := range 10_000 {
		b.Remove(key(i))
		if left := 10_000 - i - 1; len(b.things) > 8*left+32 {
			t.Fatalf("%d places for %d that are left", len(b.things), left)
		}
	}
	if _, found := b.find(key(1), serviceHash(key(1))); found || b.used != 0 || slices.ContainsFunc(b.things, func(t *thing) bool { return t != nil }) {
		t.Errorf("%d are left", b.used)
	}
}
