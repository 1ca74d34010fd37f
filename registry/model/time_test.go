package model_test

import (
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/muster-registry/muster/registry/model"
)

const hour = time.Hour

// start is a reading some way into the life of a process.
var start = model.Time{Mono: 90 * time.Second, Wall: 1_800_000_000_000}

// after is the reading d later, on a wall that was stepped meanwhile.
func after(t model.Time, d, step time.Duration) model.Time {
	return model.Time{Mono: t.Mono + d, Wall: t.Wall + (d + step).Milliseconds()}
}

// TestClockProperties: whatever a wall does and whatever is heard, no reading is given twice or falls, and each is above
// all that was seen (P8).
func TestClockProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h model.HLC
		now := start
		var given, floor model.Stamp // the last of Next; the highest that was given or seen
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			passed := time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond
			step := time.Duration(rapid.SampledFrom([]int{0, 0, 0, -3600, 3600, -1, 1}).Draw(t, "step")) * time.Second
			now = after(now, passed, step)
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				s := h.Next(now)
				if s <= given || s < floor {
					t.Fatalf("Next gave %d after %d, and after seeing %d", s, given, floor)
				}
				given, floor = s, max(floor, s)
			case 1:
				s := h.Read(now)
				if s < floor {
					t.Fatalf("Read gave %d, below %d that was given or seen", s, floor)
				}
				floor = s
			default:
				seen := model.Stamp(uint64(start.Wall+rapid.Int64Range(-7_200_000, 7_200_000).Draw(t, "seen")) << 16)
				h.Observe(now, seen)
				if s := h.Next(now); s <= seen {
					t.Fatalf("Next gave %d after seeing %d", s, seen)
				} else {
					given, floor = s, max(floor, s)
				}
			}
		}
	})
}

// TestClockRunsOn: a clock keeps the pace of time whatever others and its own wall say (P8).
func TestClockRunsOn(t *testing.T) {
	seen := func(d time.Duration) *time.Duration { return &d }
	tests := map[string]struct {
		meet *time.Duration  // another member's reading, relative to the own wall
		step []time.Duration // of the own wall, a minute apart
		want time.Duration   // ahead of where it began, beside the minutes that passed
	}{
		"nothing happens":                    {step: []time.Duration{0}},
		"met one an hour ahead":              {meet: seen(hour), step: []time.Duration{0}, want: hour},
		"met one an hour behind":             {meet: seen(-hour), step: []time.Duration{0}},
		"own wall steps an hour ahead":       {step: []time.Duration{hour}, want: hour},
		"own wall steps an hour back":        {step: []time.Duration{-hour}},
		"steps back and is set right":        {step: []time.Duration{-hour, hour}},
		"steps back and is right, again":     {step: []time.Duration{-hour, hour, -hour, hour}},
		"met an hour ahead, then steps back": {meet: seen(hour), step: []time.Duration{-hour}, want: hour},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var h, peer model.HLC
			now := start
			first := h.Next(now)
			if test.meet != nil {
				h.Observe(now, model.Stamp(uint64(now.Wall+test.meet.Milliseconds())<<16))
			}
			honest := now
			var passed time.Duration
			for _, step := range test.step {
				passed += time.Minute
				now, honest = after(now, time.Minute, step), after(honest, time.Minute, 0)
				// a peer with a right clock hears and is heard, as members do all the time
				peer.Observe(honest, h.Read(now))
				h.Observe(now, peer.Read(honest))
			}
			got := time.Duration(h.Next(now).Millis()-first.Millis()) * time.Millisecond
			if off := got - passed - test.want; off < -time.Millisecond || off > 5*time.Millisecond {
				t.Errorf("the clock moved by %v, want %v", got, passed+test.want)
			}
		})
	}
}

// TestMisled: a reading is known to come from a clock that ran ahead when this clock, put forward since, would not have got there
// without. All times are from the start, on a right clock; readings are given at such a time, on a clock that is ahead by as much.
func TestMisled(t *testing.T) {
	type given struct{ at, ahead time.Duration }
	const second, minute = time.Second, time.Minute
	for name, tc := range map[string]struct {
		heard         []given // others' readings, in this order, when they are given
		first, second given
		now           time.Duration
		want          bool
	}{
		"nothing was heard":                         {first: given{at: 20 * second}, second: given{10 * second, hour}, now: minute},
		"given before, an hour ahead":               {heard: []given{{minute, hour}}, first: given{at: 20 * second}, second: given{10 * second, hour}, now: minute, want: true},
		"known for an hour":                         {heard: []given{{minute, hour}}, first: given{at: 20 * second}, second: given{10 * second, hour}, now: 59 * minute, want: true},
		"given after, an hour ahead":                {heard: []given{{minute, hour}}, first: given{at: 10 * second}, second: given{20 * second, hour}, now: minute},
		"given after, on a right clock":             {heard: []given{{minute, hour}}, first: given{at: 10 * second}, second: given{at: 20 * second}, now: minute},
		"given after that was known":                {heard: []given{{minute, hour}}, first: given{at: 10 * second}, second: given{2 * minute, hour}, now: 2 * minute},
		"the first as well":                         {heard: []given{{minute, hour}}, first: given{20 * second, hour}, second: given{10 * second, hour}, now: minute},
		"ahead by less than was passed since":       {heard: []given{{minute, 20 * second}}, first: given{at: 15 * second}, second: given{10 * second, 20 * second}, now: minute},
		"ahead by as little as clocks differ":       {heard: []given{{minute, 50 * time.Millisecond}}, first: given{at: minute - 10*time.Millisecond}, second: given{minute - 20*time.Millisecond, 50 * time.Millisecond}, now: minute},
		"ahead by two steps, given before":          {heard: []given{{minute, hour}, {2 * minute, 2 * hour}}, first: given{at: 20 * second}, second: given{10 * second, 2 * hour}, now: 2 * minute, want: true},
		"the first after one step, the other ahead": {heard: []given{{minute, hour}, {3 * minute, 2 * hour}}, first: given{2 * minute, hour}, second: given{90 * second, 2 * hour}, now: 3 * minute, want: true},
		"a little more since, given before":         {heard: []given{{minute, hour}, {minute + second, hour + 5*second}}, first: given{at: 50 * second}, second: given{40 * second, hour}, now: 2 * minute, want: true},
		"a little more since, given after":          {heard: []given{{minute, hour}, {minute + second, hour + 5*second}}, first: given{at: 40 * second}, second: given{50 * second, hour}, now: 2 * minute},
		"a step between, the second before it":      {heard: []given{{minute, hour}, {3 * minute, 2 * hour}}, first: given{2 * minute, hour}, second: given{150 * second, hour}, now: 3 * minute},
	} {
		t.Run(name, func(t *testing.T) {
			var h model.HLC
			reading := func(g given) model.Stamp {
				return model.Stamp(uint64(start.Wall+(g.at+g.ahead).Milliseconds()) << 16)
			}
			h.Next(start)
			for _, g := range tc.heard {
				h.Observe(after(start, g.at, 0), reading(g))
			}
			if got := h.Misled(after(start, tc.now, 0), reading(tc.first), reading(tc.second)); got != tc.want {
				t.Errorf("misled: %v, want %v", got, tc.want)
			}
		})
	}
}

func TestClockConcurrently(t *testing.T) {
	var h model.HLC
	const workers, each = 8, 500
	given := make([][]model.Stamp, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				if i%10 == 0 {
					h.Observe(start, h.Read(start)+model.Stamp(i))
				}
				given[w] = append(given[w], h.Next(start))
			}
		})
	}
	wg.Wait()
	seen := map[model.Stamp]bool{}
	for w, stamps := range given {
		for i, s := range stamps {
			if seen[s] || i > 0 && s <= stamps[i-1] {
				t.Fatalf("worker %d was given %d after %v, seen before: %v", w, s, stamps[max(i-1, 0)], seen[s])
			}
			seen[s] = true
		}
	}
}
