package sim

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	seeds = flag.Int("seeds", 200, "random schedules to run")
	seed  = flag.Uint64("seed", 0, "replay this one schedule and print what happens")
	first = flag.Uint64("first", 1, "the first seed")
)

const total = 10 * time.Minute

func membersOf(seed uint64) int { return 3 + int(seed%2)*2 }

// TestRandom runs random schedules of 10 virtual minutes, with 3 and 5 members: first those that failed once.
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
	queue := make(chan uint64)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for s := range queue {
				if res := Random(s, membersOf(s), total, false); len(res.Failures) > 0 {
					t.Errorf("seed %d: %v\nreplay: go test ./test/sim -run TestRandom -seed=%d", s, res.Failures, s)
				}
			}
		})
	}
	for _, s := range schedules(t) {
		queue <- s
	}
	close(queue)
	wg.Wait()
}

// schedules are the seeds to run: those of testdata/seeds, then the range of the flags without them.
func schedules(t *testing.T) []uint64 {
	t.Helper()
	raw, err := os.ReadFile("testdata/seeds")
	if err != nil {
		t.Fatal(err)
	}
	var all []uint64
	known := map[uint64]bool{}
	for _, f := range strings.Fields(string(raw)) {
		s, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			t.Fatalf("testdata/seeds: %v", err)
		}
		known[s], all = true, append(all, s)
	}
	for s := *first; s < *first+uint64(*seeds); s++ {
		if !known[s] {
			all = append(all, s)
		}
	}
	return all
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
