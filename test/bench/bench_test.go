package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The test binary is the servers too: the limits, and the member that is built from the same sources.
func TestMain(m *testing.M) {
	if os.Getenv("BENCH_TEST_PROGRAM") == "" {
		os.Exit(m.Run())
	}
	args := os.Args[1:]
	if args[0] == "--config" {
		args = append([]string{"member"}, args...)
	}
	os.Exit(program(args))
}

func tiny(t *testing.T) *bench {
	t.Helper()
	t.Setenv("BENCH_TEST_PROGRAM", "1")
	return &bench{
		self: os.Args[0], work: t.TempDir(), say: t.Output(),
		options: options{registry: os.Args[0], profiles: t.TempDir()},
		size: size{
			name: "tiny", rounds: 2, connections: 4, services: 20, queries: 20, asked: 4, web: 20, beating: 10,
			pushes: 2, pushEvery: 2 * pushWindow, subscribers: 3, crowded: 5, fans: 2,
			idle: 5, instances: 200, tombstone: time.Second, giveBack: time.Second,
			settle: 10 * time.Millisecond, afterLast: 10 * time.Millisecond, steady: 10 * time.Millisecond,
		},
	}
}

var figure = regexp.MustCompile(`^-$|^\d+(\.\d+)? `)

// With nothing to measure the figures mean nothing; that each row comes about from real servers does.
func TestEachRowComesAbout(t *testing.T) {
	for name, c := range map[string]struct {
		rows int
		free int // of them, without a figure to reach
		run  func(*bench, context.Context) ([]row, error)
	}{
		"gRPC register":     {2, 0, (*bench).grpcRegister},
		"gRPC query":        {1, 0, (*bench).grpcQuery},
		"HTTP register":     {1, 0, (*bench).httpRegister},
		"HTTP beat":         {1, 0, (*bench).httpBeat},
		"HTTP query":        {1, 0, (*bench).httpQuery},
		"idle pushes":       {2, 0, (*bench).pushIdle},
		"fan-out":           {1, 0, (*bench).pushFanOut},
		"idle connections":  {2, 0, (*bench).memoryConnection},
		"instances":         {2, 0, (*bench).memoryInstance},
		"memory given back": {2, 1, (*bench).memoryGivenBack},
		"crowd":             {3, 0, (*bench).clusterCrowd},
	} {
		t.Run(name, func(t *testing.T) {
			rows, err := c.run(tiny(t), t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(rows) != c.rows {
				t.Errorf("%d rows, want %d", len(rows), c.rows)
			}
			free := 0
			for _, r := range rows {
				if r.target == "-" {
					free++
				}
				if r.what == "" || r.target == "" || r.judged != (r.target != "-") || !figure.MatchString(r.limit) || !figure.MatchString(r.value) {
					t.Errorf("row %+v", r)
				}
			}
			if free != c.free {
				t.Errorf("%d rows have no figure to reach, want %d", free, c.free)
			}
		})
	}
}

// The rows without a figure to reach.
func TestSharesComeAbout(t *testing.T) {
	b := tiny(t)
	b.size.rounds, b.size.asked = 1, 60 // of fewer one member may hold all, by chance
	rows, err := b.clusterShares(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2 {
		t.Errorf("%d rows, want 2", len(rows))
	}
	for _, r := range rows {
		if r.what == "" || r.target != "-" || r.verdict() != "" || !figure.MatchString(r.limit) || !figure.MatchString(r.value) || r.ratio == "" {
			t.Errorf("row %+v", r)
		}
	}
}

func TestProfilesAreWritten(t *testing.T) {
	b := tiny(t)
	if _, err := b.sample(t.Context(), b.registering(), b.profiled); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cpu", "allocs-before", "allocs", "mutex"} {
		if info, err := os.Stat(filepath.Join(b.profiles, name+".pprof")); err != nil || info.Size() == 0 {
			t.Errorf("profile %s: %v", name, err)
		}
	}
}

// A server that cannot start is an error that says why.
func TestAServerThatEnds(t *testing.T) {
	b := tiny(t)
	b.registry = filepath.Join(b.work, "false")
	if err := os.WriteFile(b.registry, []byte("#!/bin/sh\necho no such thing\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := b.members(1, nil)(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no such thing") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error %v", err)
	}
}

func TestTable(t *testing.T) {
	met := row{what: "register", against: "bare", limit: sample{20, 30000}.String(), value: sample{31.25, 12345.6}.String()}
	met.judge(1.5625, 1.6)
	missed := row{what: "query", against: "bare", limit: ms(0.5), value: ms(1.2)}
	missed.judge(2.4, 2)
	tab := table{head: []string{"what", "limit", "at the limit", "Muster", "ratio", "to reach", ""}, about: "A machine.", size: size{name: "full", rounds: 3}}
	for _, r := range []row{met, missed, {what: "seen only", against: "-", limit: "-", value: count(1234567)}} {
		tab.add(r.what, r.against, r.limit, r.value, r.ratio, r.target, r.verdict())
	}
	file := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(file, []byte("before\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := tab.publish(&out, file, "bench", nil); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "table.md")
	if *update {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
	if err := tab.publish(&out, file, "peers", nil); err == nil {
		t.Error("a table was put where there are no marks for it")
	}
	if err := (&table{}).publish(&out, file, "bench", nil); err == nil {
		t.Error("a table without a row was put in")
	}
	// One that is not whole is printed only.
	broken := errors.New("broken")
	tab.add("a", "b", "c", "d", "e", "f", "g")
	out.Reset()
	if err := tab.publish(&out, file, "bench", broken); !errors.Is(err, broken) || !strings.Contains(out.String(), "| a | b |") {
		t.Errorf("error %v, printed %s", err, out.String())
	}
	if again, err := os.ReadFile(file); err != nil || !bytes.Equal(again, got) {
		t.Errorf("the document has changed: %v, %s", err, again)
	}
}

func TestMedianOfRounds(t *testing.T) {
	limits := []sample{{10, 1}, {20, 1}, {40, 1}}
	got := []sample{{15, 1}, {22, 3}, {80, 2}}
	if r := ratio(got, limits); r != 1.5 {
		t.Errorf("ratio %v, want 1.5: the median of 1.5, 1.1 and 2", r)
	}
	if m := medians(got); m != (sample{22, 2}) {
		t.Errorf("medians %v", m)
	}
}

func TestHeapIsJudgedByBoth(t *testing.T) {
	for name, c := range map[string]struct {
		limit, bytes, most, under float64
		met                       bool
	}{
		"both":            {150, 590, 4, 600, true},
		"too many bytes":  {200, 610, 4, 600, false},
		"too many times":  {100, 590, 4, 600, false},
		"only bytes":      {100, 1000, 0, 1024, true},
		"only bytes, bad": {900, 1030, 0, 1024, false},
	} {
		h := heap{limit: c.limit, bytes: c.bytes}
		if h.judgeHeap(c.most, c.under); h.met != c.met {
			t.Errorf("%s: met %v, want %v", name, h.met, c.met)
		}
	}
}

func TestLinesOfTheCollector(t *testing.T) {
	const trace = "gc 1 @0.004s 4%: 0.03+0.5+0.004 ms clock, 0.06+0.2/0.4/0+0.008 ms cpu, 3->4->1 MB, 4 MB goal, 0 MB stacks, 0 MB globals, 2 P\n" +
		"time=x msg=\"gc 9->9->9 MB\"\ngc 2 @1.1s 0%: 0+0+0 ms clock, 0+0/0/0+0 ms cpu, 700->710->512 MB, 800 MB goal, 0 MB stacks, 0 MB globals, 2 P (forced)\n"
	var got []string
	for _, m := range collection.FindAllStringSubmatch(trace, -1) {
		got = append(got, m[1])
	}
	if diff := cmp.Diff([]string{"1", "512"}, got); diff != "" {
		t.Errorf("live megabytes (-want +got):\n%s", diff)
	}
}

func TestWrongFlags(t *testing.T) {
	for name, args := range map[string][]string{
		"a command that is none": {"run"},
		"a size that is none":    {"-size", "huge"},
		"a regexp that is none":  {"-only", "("},
		"a word too much":        {"x.md"},
		"no peer":                {"peers", "-size", "short"},
	} {
		var out strings.Builder
		if code := run(t.Context(), args, &out, &out); code == 0 || !strings.HasPrefix(out.String(), "bench: ") {
			t.Errorf("%s: exit code %d, %s", name, code, out.String())
		}
	}
}
