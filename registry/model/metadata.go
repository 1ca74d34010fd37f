package model

import (
	"encoding/binary"
	"iter"
	"slices"
	"strings"
)

// Metadata are the pairs of an instance, sorted by key and packed into one string: a map of two takes ten times the memory,
// and the collector ten times as long. The zero value is none. Comparable.
type Metadata struct {
	packed string // length and text of each key and value
}

// Pair is one of them.
type Pair struct{ Key, Value string }

// NewMetadata packs pairs; of several with one key the last counts. It may sort them.
func NewMetadata(pairs ...Pair) Metadata {
	slices.SortStableFunc(pairs, func(a, b Pair) int { return strings.Compare(a.Key, b.Key) })
	var few [128]byte
	b := few[:0]
	for i, p := range pairs {
		if i+1 < len(pairs) && pairs[i+1].Key == p.Key {
			continue
		}
		b = append(binary.AppendUvarint(b, uint64(len(p.Key))), p.Key...)
		b = append(binary.AppendUvarint(b, uint64(len(p.Value))), p.Value...)
	}
	return Metadata{string(b)}
}

// MetadataOf packs a map.
func MetadataOf(m map[string]string) Metadata {
	pairs := make([]Pair, 0, len(m))
	for k, v := range m {
		pairs = append(pairs, Pair{k, v})
	}
	return NewMetadata(pairs...)
}

// Empty reports whether there are none.
func (m Metadata) Empty() bool { return m.packed == "" }

// Size is about how many bytes they take.
func (m Metadata) Size() int { return len(m.packed) }

// All are the pairs by key.
func (m Metadata) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for rest := m.packed; rest != ""; {
			var key, value string
			key, rest = unpack(rest)
			value, rest = unpack(rest)
			if !yield(key, value) {
				return
			}
		}
	}
}

// unpack takes the first text off.
func unpack(s string) (text, rest string) {
	n, size := 0, 0
	for shift := 0; ; shift += 7 {
		c := s[size]
		size++
		n |= int(c&0x7f) << shift
		if c < 0x80 {
			return s[size : size+n], s[size+n:]
		}
	}
}

// Get is the value of a key, "" when there is none.
func (m Metadata) Get(key string) string {
	v, _ := m.Lookup(key)
	return v
}

// Lookup tells an empty value from none.
func (m Metadata) Lookup(key string) (value string, ok bool) {
	for k, v := range m.All() {
		if k == key {
			return v, true
		}
	}
	return "", false
}

// With lays other pairs over these.
func (m Metadata) With(over Metadata) Metadata {
	var pairs []Pair
	for _, part := range []Metadata{m, over} {
		for k, v := range part.All() {
			pairs = append(pairs, Pair{k, v})
		}
	}
	return NewMetadata(pairs...)
}

// Map is a copy as a map, nil when there are none.
func (m Metadata) Map() map[string]string {
	if m.Empty() {
		return nil
	}
	out := map[string]string{}
	for k, v := range m.All() {
		out[k] = v
	}
	return out
}

// Equal reports whether both hold the same.
func (m Metadata) Equal(o Metadata) bool { return m == o }
