package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRulesFit: a refactoring takes the rules along. The texts that they replace are in the files, once.
func TestRulesFit(t *testing.T) {
	for _, r := range rules() {
		for _, e := range r.edits {
			text, err := os.ReadFile(filepath.Join("..", "..", e.file))
			if err != nil {
				t.Errorf("%s: %v", r.name, err)
				continue
			}
			if n := strings.Count(string(text), e.old); n != 1 {
				t.Errorf("%s: %s has its text %d times:\n%s", r.name, e.file, n, e.old)
			}
		}
	}
}
