// Command mutants shows that the simulation can find things: it switches off one rule of the design after the other, and
// runs the script or the random schedule of test/sim that is known to catch it. The rules are in rules.go. The source
// stays untouched: the changed text goes to the compiler as an overlay. It is run by `make sim-mutants`, from the top of the
// repository.
//
// A rule whose text is not found any more, a witness that fails although no rule is switched off, and one that passes
// although its rule is, are all failures. With -search it looks for witnesses instead.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

func main() {
	only := flag.String("only", "", "rules whose names match this expression; empty: all")
	search := flag.Int("search", 0, "random schedules to try with each rule switched off, to find those that catch it")
	flag.Parse()
	if err := run(*only, *search); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(only string, search int) error {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	sound, err := build(filepath.Join(dir, "sound"), nil)
	if err != nil {
		return err
	}
	var failures []error
	tried := 0
	for i, r := range rules() {
		if !pattern.MatchString(r.name) {
			continue
		}
		tried++
		start := time.Now()
		verdict, err := try(filepath.Join(dir, fmt.Sprint(i)), sound, r, search)
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", r.name, err))
			verdict = "FAILED: " + err.Error()
		}
		fmt.Printf("%-58s %-28s %s (%.0fs)\n", r.name, r.place, verdict, time.Since(start).Seconds())
	}
	fmt.Printf("%d of %d rules caught when switched off\n", tried-len(failures), tried)
	if tried == 0 {
		return errors.New("no rule matches")
	}
	return errors.Join(failures...)
}

// try switches one rule off and says what catches it.
func try(dir string, sound binary, r rule, search int) (string, error) {
	overlay, err := r.overlay(dir)
	if err != nil {
		return "", err
	}
	broken, err := build(dir, overlay)
	if err != nil {
		return "", err
	}
	if search > 0 {
		return broken.search(search)
	}
	if out, passes, err := sound.run(r.by); err != nil || !passes {
		return "", fmt.Errorf("%s fails although nothing is switched off (%w)\n%s", r.by, err, tail(out))
	}
	out, passes, err := broken.run(r.by)
	switch {
	case err != nil:
		return "", err
	case passes:
		return "", fmt.Errorf("%s does not catch it any more: find another with -search=2000", r.by)
	case !regexp.MustCompile(r.says).MatchString(out):
		return "", fmt.Errorf("%s fails, but does not say %q\n%s", r.by, r.says, tail(out))
	}
	return "caught by " + r.by.String(), nil
}
