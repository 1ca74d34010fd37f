package model

import (
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
	offset atomic.Int64 // ms that the clock runs ahead of Mono; never falls
	behind atomic.Int64 // ms of that which others' clocks have added; never falls
}

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

// Behind is by how many milliseconds others' clocks have put this one forward so far. A reading given when it was less was
// too low by the difference, as the others count.
func (h *HLC) Behind() int64 { return h.behind.Load() }

// Observe takes note of another member's reading.
func (h *HLC) Observe(now Time, seen Stamp) {
	mono := now.Mono.Milliseconds()
	h.ahead(now.Wall - mono) // what the own wall knows is nothing that others have to tell
	_, by := h.ahead(seen.Millis() - mono)
	h.behind.Add(by)
	for {
		last := h.last.Load()
		if last >= uint64(seen) || h.last.CompareAndSwap(last, uint64(seen)) {
			return
		}
	}
}

func (h *HLC) physical(now Time) uint64 {
	mono := now.Mono.Milliseconds()
	offset, _ := h.ahead(now.Wall - mono)
	return uint64(max(mono+offset, 0)) << logicalBits
}

// ahead raises the offset and returns the largest one, and by how much this call has raised it.
func (h *HLC) ahead(offset int64) (largest, by int64) {
	for {
		o := h.offset.Load()
		if offset <= o {
			return o, 0
		}
		if h.offset.CompareAndSwap(o, offset) {
			return offset, offset - o
		}
	}
}
