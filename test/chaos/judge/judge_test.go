package judge_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-registry/muster/test/chaos/judge"
)

// at is a second of the test's own time.
func at(s int) time.Time { return time.Unix(1000+int64(s), 0) }

// list is what the observer o was told of the service s; an address that ends in ! is unhealthy.
func list(second int, addresses ...string) judge.List {
	l := judge.List{Observer: "o", Service: "s", Asked: at(second), Hosts: map[string]bool{}}
	for _, a := range addresses {
		l.Hosts[strings.TrimSuffix(a, "!")] = !strings.HasSuffix(a, "!")
	}
	return l
}

func TestJudge(t *testing.T) {
	tests := map[string]struct {
		play func(j *judge.Judge)
		want judge.Counts
	}{
		"all is well": {
			func(j *judge.Judge) { j.Registered("s", "a"); j.Told(list(1, "a")); j.Told(list(2, "a")) },
			judge.Counts{Lists: 2},
		},
		"who was never listed is not missed: he is new": {
			func(j *judge.Judge) { j.Registered("s", "a"); j.Told(list(1)); j.Told(list(2, "a")) },
			judge.Counts{Lists: 2},
		},
		"who was listed is, once until he is back": {
			func(j *judge.Judge) {
				j.Registered("s", "a")
				for _, l := range []judge.List{list(1, "a"), list(2), list(3), list(4, "a"), list(5)} {
					j.Told(l)
				}
			},
			judge.Counts{Lists: 5, Removals: 2},
		},
		"unhealthy is missing": {
			func(j *judge.Judge) { j.Registered("s", "a"); j.Told(list(1, "a")); j.Told(list(2, "a!")) },
			judge.Counts{Lists: 2, Removals: 1},
		},
		"one observer's loss is nothing to another": {
			func(j *judge.Judge) {
				j.Registered("s", "a")
				j.Told(list(1, "a"))
				other := list(2)
				other.Observer = "p"
				j.Told(other)
			},
			judge.Counts{Lists: 2},
		},
		"nor is another service": {
			func(j *judge.Judge) {
				j.Registered("s", "a")
				j.Told(list(1, "a"))
				other := list(2)
				other.Service = "r"
				j.Told(other)
			},
			judge.Counts{Lists: 2},
		},
		"what is held everybody must list": {
			func(j *judge.Judge) { j.Registered("s", "a"); j.Hold(at(5)); j.Told(list(6)) },
			judge.Counts{Lists: 1, Removals: 1},
		},
		"but not who asked before": {
			func(j *judge.Judge) { j.Registered("s", "a"); j.Hold(at(5)); j.Told(list(4)) },
			judge.Counts{Lists: 1},
		},
		"who leaves may be dropped, and listed until the deadline": {
			func(j *judge.Judge) {
				j.Registered("s", "a")
				j.Told(list(1, "a"))
				j.Gone("s", "a", at(5))
				j.Told(list(2))
				j.Told(list(5, "a"))
			},
			judge.Counts{Lists: 3},
		},
		"and is a ghost after it, once": {
			func(j *judge.Judge) {
				j.Registered("s", "a")
				j.Gone("s", "a", at(5))
				j.Told(list(6, "a"))
				j.Told(list(7, "a!"))
			},
			judge.Counts{Lists: 2, Ghosts: 1},
		},
		"and once more when it comes back": {
			func(j *judge.Judge) {
				j.Registered("s", "a")
				j.Gone("s", "a", at(5))
				for _, l := range []judge.List{list(6, "a"), list(7), list(8), list(9, "a")} {
					j.Told(l)
				}
			},
			judge.Counts{Lists: 4, Ghosts: 2},
		},
		"a list that stands becomes a ghost by itself": {
			func(j *judge.Judge) {
				j.Registered("s", "a")
				l := list(1, "a")
				l.Standing = true
				j.Told(l)
				j.Gone("s", "a", at(5))
				j.Look(at(5))
				j.Look(at(6))
				j.Look(at(7))
			},
			judge.Counts{Lists: 1, Ghosts: 1},
		},
		"an answer does not, nor what an observer held that has ended": {
			func(j *judge.Judge) {
				j.Registered("s", "a")
				j.Told(list(1, "a"))
				j.Gone("s", "a", at(5))
				j.Look(at(6))
				l := list(4, "a")
				l.Standing = true
				j.Told(l)
				j.Forget("o")
				j.Look(at(6))
			},
			judge.Counts{Lists: 2},
		},
		"who comes back is new again": {
			func(j *judge.Judge) {
				j.Registered("s", "a")
				j.Told(list(1, "a"))
				j.Gone("s", "a", at(5))
				j.Registered("s", "a")
				j.Told(list(2))
				j.Told(list(9, "a"))
			},
			judge.Counts{Lists: 3},
		},
		"to register again is no new registration": {
			func(j *judge.Judge) {
				j.Registered("s", "a")
				j.Told(list(1, "a"))
				j.Registered("s", "a")
				j.Told(list(2))
			},
			judge.Counts{Lists: 2, Removals: 1},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			j := judge.New()
			tt.play(j)
			if diff := cmp.Diff(tt.want, j.Counts()); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if got := len(j.Violations()); got < tt.want.Removals+tt.want.Ghosts || got > 0 && tt.want.Removals+tt.want.Ghosts == 0 {
				t.Errorf("%d lines: %q", got, j.Violations())
			}
		})
	}
}

func TestDiffers(t *testing.T) {
	j := judge.New()
	j.Registered("s", "a")
	j.Registered("s", "b")
	for _, step := range []struct {
		told []string
		want string
	}{
		{nil, "o was told nothing of s"},
		{[]string{"a"}, "o lacks b of s"},
		{[]string{"a", "b!"}, "o lacks b of s"},
		{[]string{"a", "b", "c"}, "o lists 3 of s, 2 are there"},
		{[]string{"a", "b"}, ""},
	} {
		if step.told != nil {
			j.Told(list(1, step.told...))
		}
		if got := j.Differs("o", "s", "unheard of"); got != step.want {
			t.Errorf("told %v: %q, want %q", step.told, got, step.want)
		}
	}
}
