package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

const simulation = "test/sim"

// witness is what catches a rule that is switched off: a script, or a random schedule as testdata/seeds records it.
type witness struct {
	script                                string
	seed, members, kinds, factor, roamers int
}

func (w witness) String() string {
	if w.script != "" {
		return w.script
	}
	return fmt.Sprintf("schedule %d %d %d %d %d", w.seed, w.members, w.kinds, w.factor, w.roamers)
}

func (w witness) args() []string {
	if w.script != "" {
		return []string{"-test.run=^" + w.script + "$"}
	}
	return []string{
		"-test.run=^TestRandom$", fmt.Sprintf("-seed=%d", w.seed), fmt.Sprintf("-members=%d", w.members),
		fmt.Sprintf("-kinds=%d", w.kinds), fmt.Sprintf("-factor=%d", w.factor), fmt.Sprintf("-roamers=%d", w.roamers),
	}
}

// edit replaces a text that occurs once in a file.
type edit struct{ file, old, new string }

// overlay writes the changed files below dir, and says where.
func (r rule) overlay(dir string) (map[string]string, error) {
	changed := map[string]string{}
	for _, e := range r.edits {
		text, ok := changed[e.file]
		if !ok {
			raw, err := os.ReadFile(filepath.FromSlash(e.file))
			if err != nil {
				return nil, err
			}
			text = string(raw)
		}
		if n := strings.Count(text, e.old); n != 1 {
			return nil, fmt.Errorf("%s has %q %d times, not once: the rule is written differently now", e.file, e.old, n)
		}
		changed[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	overlay := map[string]string{}
	for file, text := range changed {
		original, err := filepath.Abs(filepath.FromSlash(file))
		if err != nil {
			return nil, err
		}
		overlay[original] = filepath.Join(dir, strings.ReplaceAll(file, "/", "-"))
		if err := os.WriteFile(overlay[original], []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	return overlay, nil
}

// binary is the compiled tests of the simulation.
type binary string

// build compiles them in dir, with some files replaced.
func build(dir string, replace map[string]string) (binary, error) {
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	list, out := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "sim.test")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		return "", err
	}
	// without vet: a rule that is switched off may leave code behind that nobody reaches
	said, err := exec.Command("go", "test", "-c", "-vet=off", "-overlay="+list, "-o="+out, "./"+simulation).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", simulation, err, said)
	}
	return binary(out), nil
}

// run reports what the tests said, and whether they pass.
func (b binary) run(w witness) (out string, passes bool, err error) {
	out, err = b.exec(w.args()...)
	var failed *exec.ExitError
	switch {
	case errors.As(err, &failed) && strings.Contains(out, "panic: "):
		return out, false, fmt.Errorf("%s panics", w)
	case errors.As(err, &failed):
		return out, false, nil
	case err == nil && strings.Contains(out, "no tests to run"):
		return out, false, fmt.Errorf("there is no %s", w)
	}
	return out, err == nil, err
}

func (b binary) exec(args ...string) (string, error) {
	cmd := exec.Command(string(b), args...)
	cmd.Dir = filepath.FromSlash(simulation)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

var (
	failedTest   = regexp.MustCompile(`(?m)^--- FAIL: (Test[PRLT]\w+)`)
	firstFailure = regexp.MustCompile(`seed \d+: .*`)
	failedSeed   = regexp.MustCompile(`(?m)seed \d+: \[(.*?)\]?\n\s+replay: .* -seed=(\d+) -members=(\d+) -kinds=(\d+) -factor=(\d+) -roamers=(\d+)`)
)

// search lists what fails: scripts, recorded schedules, and when none does the first random ones.
func (b binary) search(seeds int) (string, error) {
	out, _ := b.exec("-test.run=^Test[A-QS-Z]|^TestR[0-9]|^TestRedo")
	var found []string
	for _, m := range failedTest.FindAllStringSubmatch(out, -1) {
		found = append(found, m[1]+": "+firstFailure.FindString(out))
	}
	found = append(found, b.schedules("-seeds=0")...)
	const batch = 20
	for first := 1; first <= seeds && len(found) == 0; first += batch {
		found = b.schedules(fmt.Sprintf("-first=%d", first), fmt.Sprintf("-seeds=%d", batch))
	}
	if len(found) == 0 {
		return "", fmt.Errorf("nothing catches it, in %d schedules", seeds)
	}
	return "found:\n    " + strings.Join(found, "\n    "), nil
}

// schedules lists the random schedules that fail.
func (b binary) schedules(args ...string) []string {
	out, _ := b.exec(append([]string{"-test.run=^TestRandom$"}, args...)...)
	var found []string
	for _, m := range failedSeed.FindAllStringSubmatch(out, -1) {
		found = append(found, fmt.Sprintf("schedule %s: %.150s", strings.Join(m[2:], " "), m[1]))
	}
	return found
}

// tail is the end of what was said.
func tail(s string) string { return s[max(0, len(s)-2000):] }
