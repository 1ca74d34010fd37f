package model_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/muster-registry/muster/registry/model"
)

// TestMetadata: it says what a map would, whatever the bytes, and equal pairs are equal in whatever order they came.
func TestMetadata(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
		rapid.Map(rapid.IntRange(100, 20_000), func(n int) string { return strings.Repeat("x", n) }))
	rapid.Check(t, func(t *rapid.T) {
		pairs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) model.Pair {
			return model.Pair{Key: rapid.OneOf(text, rapid.SampledFrom([]string{"a", "b", "c"})).Draw(t, "key"), Value: text.Draw(t, "value")}
		}), 0, 6).Draw(t, "pairs")
		want := map[string]string{}
		for _, p := range pairs {
			want[p.Key] = p.Value
		}
		m := model.NewMetadata(slices.Clone(pairs)...)
		if d := cmp.Diff(want, maps.Collect(m.All())); d != "" {
			t.Fatalf("not the pairs (-want +got):\n%s", d)
		}
		if m.Empty() != (len(want) == 0) || len(m.Map()) != len(want) {
			t.Errorf("empty %t, map of %d, want %d pairs", m.Empty(), len(m.Map()), len(want))
		}
		if !m.Equal(model.MetadataOf(want)) {
			t.Error("the same pairs from a map differ")
		}
		for k, v := range want {
			if got, ok := m.Lookup(k); !ok || got != v || m.Get(k) != v {
				t.Errorf("%q is %q, %t, want %q", k, got, ok, v)
			}
		}
		if v, ok := m.Lookup("no such key, for it is too long"); ok || v != "" {
			t.Errorf("found %q under no key", v)
		}
		var keys []string
		for k := range m.All() {
			keys = append(keys, k)
		}
		if !slices.IsSorted(keys) {
			t.Errorf("not sorted: %q", keys)
		}
		n := rapid.IntRange(0, len(pairs)).Draw(t, "first")
		laid := model.NewMetadata(slices.Clone(pairs[:n])...).With(model.NewMetadata(slices.Clone(pairs[n:])...))
		if !laid.Equal(m) {
			t.Errorf("%d pairs with %d over them: %v, want %v", n, len(pairs)-n, laid.Map(), want)
		}
	})
}
