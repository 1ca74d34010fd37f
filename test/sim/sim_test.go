package sim

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
)

var (
	seeds   = flag.Int("seeds", 200, "random schedules to run")
	first   = flag.Uint64("first", 0, "the first seed; 0: the recorded schedules, then from 1")
	seed    = flag.Uint64("seed", 0, "replay this one schedule and print what happens")
	members = flag.Int("members", 0, "members of the one to replay; 0: as the seed says")
	factor  = flag.Int("factor", -1, "replication factor of the one to replay, and of those that start at -first; -1: as the seed says")
	pace    = flag.String("pace", "brisk", "how fast things happen: brisk or slow")
	kinds   = flag.Int("kinds", 0, "kinds of faults of the one to replay; 0: all")
	roamers = flag.Int("roamers", -1, "subscribers that roam in the one to replay; -1: as the seed says")
)

// TestMain gives worlds, which are small and short-lived, more room between two collections.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	os.Exit(m.Run())
}

// TestRandom runs random schedules, of 10 virtual minutes or of 27: first those that failed once.
func TestRandom(t *testing.T) {
	if *seed != 0 {
		s := ScheduleOf(*seed, paceOf(t, *pace))
		s.Members, s.Kinds, s.Factor = cmp.Or(*members, s.Members), cmp.Or(*kinds, s.Kinds), factorOf(s)
		if *roamers >= 0 {
			s.Roamers = *roamers
		}
		res := Random(s, true)
		for _, l := range res.Log {
			fmt.Println(l)
		}
		for _, f := range res.Failures {
			t.Error(f)
		}
		return
	}
	queue := make(chan Schedule)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for s := range queue {
				if res := Random(s, false); len(res.Failures) > 0 {
					t.Errorf("seed %d: %v\nreplay: go test ./test/sim -v -run TestRandom -seed=%d -members=%d -kinds=%d -factor=%d -roamers=%d -pace=%s",
						s.Seed, res.Failures, s.Seed, s.Members, s.Kinds, s.Factor, s.Roamers, s.Pace.Name)
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

// schedules are the ones to run: those that are recorded, a line of seed, members, kinds of faults, factor, pace and roamers each, and
// the range of the flags.
func schedules(t *testing.T) []Schedule {
	t.Helper()
	if *first != 0 {
		return seedsFrom(t, *first)
	}
	raw, err := os.ReadFile("testdata/seeds")
	if err != nil {
		t.Fatal(err)
	}
	var all []Schedule
	for line := range strings.Lines(string(raw)) {
		var s Schedule
		var name string
		if _, err := fmt.Sscan(line, &s.Seed, &s.Members, &s.Kinds, &s.Factor, &name, &s.Roamers); err != nil || s.Members < 2 || s.Kinds < 1 || s.Kinds > len(faults()) {
			t.Fatalf("testdata/seeds: %q is not a seed, members, kinds of faults, a replication factor, a pace and roamers (%v)", line, err)
		}
		s.Pace = paceOf(t, name)
		all = append(all, s)
	}
	return append(all, seedsFrom(t, 1)...)
}

// factorOf is what the flags say, or the schedule.
func factorOf(s Schedule) int {
	if *factor >= 0 {
		return *factor
	}
	return s.Factor
}

// paceOf is the pace with a name.
func paceOf(t *testing.T, name string) Pace {
	t.Helper()
	pace, known := map[string]Pace{"brisk": Brisk(), "slow": Slow()}[name]
	if !known {
		t.Fatalf("there is no pace %q", name)
	}
	return pace
}

func seedsFrom(t *testing.T, first uint64) []Schedule {
	t.Helper()
	all, at := make([]Schedule, *seeds), paceOf(t, *pace)
	for i := range all {
		all[i] = ScheduleOf(first+uint64(i), at)
		all[i].Factor = factorOf(all[i])
	}
	return all
}

// TestReplay: the same seed gives the same bytes.
func TestReplay(t *testing.T) {
	for s := uint64(1); s <= 4; s++ {
		a, b := Random(ScheduleOf(s, Brisk()), false), Random(ScheduleOf(s, Brisk()), false)
		if a.Trace != b.Trace {
			t.Errorf("seed %d: two runs differ: %x and %x", s, a.Trace, b.Trace)
		}
	}
}
