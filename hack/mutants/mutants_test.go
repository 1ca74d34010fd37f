package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestOverlay: a text that is not there once is an error, never a change that changes nothing.
func TestOverlay(t *testing.T) {
	const source = "if a {\n\treturn b\n}\nif c {\n\treturn b\n}\n"
	for name, tc := range map[string]struct {
		edits []edit
		want  string // of the changed file
		fails string
	}{
		"one edit":              {[]edit{{"f.go", "if a {", "if false {"}}, strings.Replace(source, "if a", "if false", 1), ""},
		"two in one file":       {[]edit{{"f.go", "if a {", "if x {"}, {"f.go", "if c {", "if y {"}}, "if x {\n\treturn b\n}\nif y {\n\treturn b\n}\n", ""},
		"a text that has gone":  {[]edit{{"f.go", "if z {", ""}}, "", "0 times"},
		"a text that is twice":  {[]edit{{"f.go", "return b", ""}}, "", "2 times"},
		"a file that has gone":  {[]edit{{"g.go", "if a {", ""}}, "", "no such file"},
		"the second finds none": {[]edit{{"f.go", "if a {", "if c {"}, {"f.go", "if a {", ""}}, "", "0 times"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if err := os.WriteFile("f.go", []byte(source), 0o600); err != nil {
				t.Fatal(err)
			}
			overlay, err := rule{edits: tc.edits}.overlay(t.TempDir())
			if tc.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tc.fails) {
					t.Fatalf("the error is %v, want %q", err, tc.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			original, err := filepath.Abs("f.go")
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(overlay[original])
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, string(got)); d != "" {
				t.Error(d)
			}
			if left, _ := os.ReadFile("f.go"); string(left) != source {
				t.Error("the source was touched")
			}
		})
	}
}

// TestRules: each has a name of its own, a place, and a witness that says something.
func TestRules(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rules() {
		if r.name == "" || seen[r.name] || r.place == "" || len(r.edits) == 0 {
			t.Errorf("rule %q has no name of its own, no place or no edits", r.name)
		}
		seen[r.name] = true
		if (r.by.script == "") == (r.by.seed == 0) {
			t.Errorf("rule %q needs a script or a schedule that catches it", r.name)
		}
		if _, err := regexp.Compile(r.says); err != nil || r.says == "" {
			t.Errorf("rule %q: what its witness says is %q (%v)", r.name, r.says, err)
		}
	}
	if len(seen) < 10 {
		t.Errorf("%d rules", len(seen))
	}
}

// TestWhatFailed reads what the simulation says, as the search does.
func TestWhatFailed(t *testing.T) {
	const said = `--- FAIL: TestR3Kills (1.00s)
    scenario_test.go:1: seed 3: [  616.450s not so: no ghost outlives its bound]
--- FAIL: TestRandom (2.00s)
    sim_test.go:2: seed 30: [  164.531s false removal: client 18]
        replay: go test ./test/sim -v -run TestRandom -seed=30 -members=3 -kinds=15 -factor=2 -roamers=2
`
	if m := failedTest.FindAllStringSubmatch(said, -1); len(m) != 2 || m[0][1] != "TestR3Kills" {
		t.Errorf("failed tests: %v", m)
	}
	want := [][]string{{"  164.531s false removal: client 18", "30", "3", "15", "2", "2"}}
	var got [][]string
	for _, m := range failedSeed.FindAllStringSubmatch(said, -1) {
		got = append(got, m[1:])
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
