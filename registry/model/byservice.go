package model

import (
	"hash/maphash"
	"iter"
)

// OfService is a thing that knows its service.
type OfService interface {
	comparable
	// Names are the same as long as it is held.
	Names() ServiceKey
}

// ByService holds things by their service, one of each, in about 16 bytes a thing: a map with the names for keys takes four
// to eight times as much, and one with their hashes twice. The zero value is empty.
type ByService[T OfService] struct {
	// things and their hashes stand where the hash says, or behind: the zero thing is a free place. A fifth is free at least.
	things []T
	hashes []uint32
	used   int
}

var serviceSeed = maphash.MakeSeed()

func serviceHash(k ServiceKey) uint32 { return uint32(maphash.Comparable(serviceSeed, k) >> 32) }

// Get returns what is held of a service, the zero thing for nothing.
func (b *ByService[T]) Get(k ServiceKey) T {
	i, found := b.find(k, serviceHash(k))
	if !found {
		var none T
		return none
	}
	return b.things[i]
}

// Len is how many there are.
func (b *ByService[T]) Len() int { return b.used }

// All are all of them, in no order. It is not to be changed meanwhile.
func (b *ByService[T]) All() iter.Seq[T] {
	return func(yield func(T) bool) {
		var none T
		for _, t := range b.things {
			if t != none && !yield(t) {
				return
			}
		}
	}
}

// Put holds a thing, in place of another of its service.
func (b *ByService[T]) Put(t T) {
	h := serviceHash(t.Names())
	i, found := b.find(t.Names(), h)
	if found {
		b.things[i] = t
		return
	}
	if 5*(b.used+1) > 4*len(b.things) {
		b.resize(len(b.things) + len(b.things)/4 + 2)
	}
	b.enter(t, h)
	b.used++
}

// Remove takes out what is held of a service. The room of a peak is given back.
func (b *ByService[T]) Remove(k ServiceKey) {
	gap, found := b.find(k, serviceHash(k))
	if !found {
		return
	}
	var none T
	for i := b.next(gap); b.things[i] != none; i = b.next(i) { // who has its own place at the gap or before it moves up
		if b.distance(b.home(b.hashes[i]), i) >= b.distance(gap, i) {
			b.things[gap], b.hashes[gap] = b.things[i], b.hashes[i]
			gap = i
		}
	}
	b.things[gap] = none
	b.used--
	if len(b.things) > 8*b.used+32 {
		b.resize(b.used + b.used/2 + 2)
	}
}

// find returns where what is held of a service is.
func (b *ByService[T]) find(k ServiceKey, h uint32) (i int, found bool) {
	if b.used == 0 {
		return 0, false
	}
	var none T
	for i = b.home(h); b.things[i] != none; i = b.next(i) {
		if b.hashes[i] == h && b.things[i].Names() == k {
			return i, true
		}
	}
	return i, false
}

// enter puts a thing in that is not there, where there is room.
func (b *ByService[T]) enter(t T, h uint32) {
	var none T
	i := b.home(h)
	for b.things[i] != none {
		i = b.next(i)
	}
	b.things[i], b.hashes[i] = t, h
}

func (b *ByService[T]) resize(places int) {
	things, hashes := b.things, b.hashes
	b.things, b.hashes = make([]T, places), make([]uint32, places)
	var none T
	for i, t := range things {
		if t != none {
			b.enter(t, hashes[i])
		}
	}
}

// home is the first place for a hash: places are in its order, so that growing goes through the memory once.
func (b *ByService[T]) home(h uint32) int { return int(uint64(h) * uint64(len(b.things)) >> 32) }

func (b *ByService[T]) next(i int) int {
	if i++; i < len(b.things) {
		return i
	}
	return 0
}

// distance is how far the one place is behind the other.
func (b *ByService[T]) distance(from, to int) int {
	if from <= to {
		return to - from
	}
	return to - from + len(b.things)
}
