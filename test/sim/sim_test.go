package sim

import (
	"flag"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	seeds = flag.Int("seeds", 20, "random schedules to run")
	seed  = flag.Uint64("seed", 0, "replay this one schedule and print what happens")
	first = flag.Uint64("first", 1, "the first seed")
)

const total = 10 * time.Minute

func membersOf(seed uint64) int { return 3 + int(seed%2)*2 }

// TestRandom runs random schedules of 10 virtual minutes, with 3 and 5 members.
func TestRandom(t *testing.T) {
	if *seed != 0 {
		res := Random(*seed, membersOf(*seed), total, true)
		for _, l := range res.Log {
			fmt.Println(l)
		}
		for _, f := range res.Failures {
			t.Error(f)
		}
		return
	}
	var next atomic.Uint64
	next.Store(*first - 1)
	last := *first + uint64(*seeds) - 1
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for s := next.Add(1); s <= last; s = next.Add(1) {
				if res := Random(s, membersOf(s), total, false); len(res.Failures) > 0 {
					t.Errorf("seed %d: %v\nreplay: go test ./test/sim -run TestRandom -seed=%d", s, res.Failures, s)
				}
			}
		})
	}
	wg.Wait()
}

// TestReplay: the same seed gives the same bytes.
func TestReplay(t *testing.T) {
	for s := uint64(1); s <= 4; s++ {
		a, b := Random(s, membersOf(s), total, false), Random(s, membersOf(s), total, false)
		if a.Trace != b.Trace {
			t.Errorf("seed %d: two runs differ: %x and %x", s, a.Trace, b.Trace)
		}
	}
}
