package model

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Time is one reading of a member's clocks. Timers use Mono, which no clock step moves; Wall feeds versions only.
type Time struct {
	// Mono is the time since some fixed point of this process.
	Mono time.Duration
	// Wall is milliseconds since 1970, and may jump (P8).
	Wall int64
}

// Sub is the time that passed since o.
func (t Time) Sub(o Time) time.Duration { return t.Mono - o.Mono }

// Clock is where a member reads the time. The real one belongs to member.Runner, others to the simulation.
type Clock interface {
	Now() Time
}

// HLC is a member's hybrid logical clock: milliseconds in the upper 48 bits, a counter in the lower 16. It runs on the
// time that no clock step moves, plus the largest offset seen, on the own wall or on another member's: one that has met
// a clock an hour ahead keeps running at that hour and does not stand still for it, and a wall that steps back and is
// set right again moves nothing (P8). Safe for concurrent use.
type HLC struct {
	last   atomic.Uint64
	offset atomic.Int64 // ms that the clock runs ahead of Mono; never falls; raised with mu held

	mu    sync.Mutex
	jumps []jump // the latest, oldest first; guarded by mu
}

// jump is when the clock was put forward by more than clocks that are kept differ.
type jump struct {
	from Stamp // what the clock showed
	by   int64 // ms
}

const (
	leastJump = 100 // ms
	mostJumps = 8
)

// Stamp is a reading of an HLC.
type Stamp uint64

const logicalBits = 16

// Millis is the reading in milliseconds since 1970.
func (s Stamp) Millis() int64 { return int64(s >> logicalBits) }

// Later is the reading that many milliseconds later.
func (s Stamp) Later(millis int64) Stamp { return s + Stamp(millis)<<logicalBits }

// Next returns a reading above every one that this clock gave or saw.
func (h *HLC) Next(now Time) Stamp {
	for {
		last := h.last.Load()
		next := max(h.physical(now), last+1)
		if h.last.CompareAndSwap(last, next) {
			return Stamp(next)
		}
	}
}

// Read returns the present reading without a step, to be shown to peers.
func (h *HLC) Read(now Time) Stamp { return Stamp(max(h.physical(now), h.last.Load())) }

// Misled reports whether a reading looks later than an earlier one only because the clock that gave it ran ahead: this clock was
// put forward since the first was given, and what it would show now if it had not been is still before the second. A second reading
// that a clock put forward by less could have given counts as later.
func (h *HLC) Misled(now Time, first, second Stamp) bool {
	if second <= first {
		return false
	}
	shown := Stamp(h.physical(now))
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, j := range slices.Backward(h.jumps) {
		shown = shown.Later(-j.by)
		if first > j.from {
			break
		}
		if second > shown { // given on a clock that had been put forward as well
			second = second.Later(-j.by)
		}
	}
	return second < first
}

// Observe takes note of another member's reading.
func (h *HLC) Observe(now Time, seen Stamp) {
	mono := now.Mono.Milliseconds()
	h.physical(now) // what the own wall knows is nothing that others have to tell
	h.ahead(mono, seen.Millis()-mono)
	for {
		last := h.last.Load()
		if last >= uint64(seen) || h.last.CompareAndSwap(last, uint64(seen)) {
			return
		}
	}
}

func (h *HLC) physical(now Time) uint64 {
	mono := now.Mono.Milliseconds()
	return uint64(max(mono+h.ahead(mono, now.Wall-mono), 0)) << logicalBits
}

// ahead raises the offset and returns the largest one.
func (h *HLC) ahead(mono, offset int64) int64 {
	if o := h.offset.Load(); offset <= o {
		return o
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.offset.Load()
	if offset <= o {
		return o
	}
	if by := offset - o; o != 0 && by >= leastJump {
		h.jumps = append(h.jumps, jump{from: Stamp(uint64(max(mono+o, 0)) << logicalBits), by: by})
		h.jumps = h.jumps[max(len(h.jumps)-mostJumps, 0):]
	}
	h.offset.Store(offset)
	return offset
}
