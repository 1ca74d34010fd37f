package model

import "math/bits"

// ShardSet is a set of shards, two kilobytes whatever it holds. The zero value is empty. Numbers beyond the last shard, which
// only garbage names (B3), are in no set.
type ShardSet struct {
	words [ShardCount / 64]uint64
}

// AllShards is the set of all.
func AllShards() *ShardSet {
	var s ShardSet
	for i := range s.words {
		s.words[i] = ^uint64(0)
	}
	return &s
}

// ShardsOf is the set of the given ones.
func ShardsOf(shards ...Shard) *ShardSet {
	var s ShardSet
	for _, sh := range shards {
		s.Add(sh)
	}
	return &s
}

// Has reports whether s holds the shard. A nil set holds none.
func (s *ShardSet) Has(sh Shard) bool {
	return s != nil && sh < ShardCount && s.words[sh/64]&(1<<(sh%64)) != 0
}

// Add puts the shard in.
func (s *ShardSet) Add(sh Shard) {
	if sh < ShardCount {
		s.words[sh/64] |= 1 << (sh % 64)
	}
}

// Remove takes it out.
func (s *ShardSet) Remove(sh Shard) {
	if sh < ShardCount {
		s.words[sh/64] &^= 1 << (sh % 64)
	}
}

// Count is how many it holds.
func (s *ShardSet) Count() int {
	n := 0
	for _, w := range s.words {
		n += bits.OnesCount64(w)
	}
	return n
}

// Empty reports whether it holds none.
func (s *ShardSet) Empty() bool {
	for _, w := range s.words {
		if w != 0 {
			return false
		}
	}
	return true
}

// Clone is a copy that shares nothing.
func (s *ShardSet) Clone() *ShardSet {
	c := *s
	return &c
}

// With is the union, a new set.
func (s *ShardSet) With(o *ShardSet) *ShardSet {
	c := *s
	for i := range c.words {
		c.words[i] |= o.words[i]
	}
	return &c
}

// Without is what s holds and o does not, a new set.
func (s *ShardSet) Without(o *ShardSet) *ShardSet {
	c := *s
	for i := range c.words {
		c.words[i] &^= o.words[i]
	}
	return &c
}

// And is what both hold, a new set.
func (s *ShardSet) And(o *ShardSet) *ShardSet {
	c := *s
	for i := range c.words {
		c.words[i] &= o.words[i]
	}
	return &c
}

// Each calls do for every shard, in order.
func (s *ShardSet) Each(do func(Shard)) {
	for i, w := range s.words {
		for ; w != 0; w &= w - 1 {
			do(Shard(i*64 + bits.TrailingZeros64(w)))
		}
	}
}

// Slice lists the shards in order.
func (s *ShardSet) Slice() []Shard {
	out := make([]Shard, 0, s.Count())
	s.Each(func(sh Shard) { out = append(out, sh) })
	return out
}
