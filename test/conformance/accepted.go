package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"

	"sigs.k8s.io/yaml"
)

// Accepted are differences that are meant or known, by a name or glob of names, each with its reason. Entries that
// match nothing any more are found, so that the file stays true.
type Accepted struct {
	entries map[string]acceptedEntry
	used    map[string]bool
}

// acceptedEntry is written as its reason alone, or with the kinds of difference that it is about.
type acceptedEntry struct {
	Reason string `json:"reason"`
	Kinds  []Kind `json:"kinds"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (e *acceptedEntry) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &e.Reason)
	}
	type plain acceptedEntry // without this method
	return json.Unmarshal(b, (*plain)(e))
}

// LoadAccepted reads testdata/accepted-<name>.yaml.
func LoadAccepted(name string) (*Accepted, error) {
	file := filepath.Join("testdata", "accepted-"+name+".yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	a := &Accepted{used: map[string]bool{}}
	if err := yaml.UnmarshalStrict(text, &a.entries); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for pattern, e := range a.entries {
		if _, err := path.Match(pattern, ""); err != nil || e.Reason == "" {
			return nil, fmt.Errorf("%s: %q: not a pattern with a reason", file, pattern)
		}
	}
	return a, nil
}

// Remaining is what no entry accepts.
func (a *Accepted) Remaining(name string, found []Difference) []Difference {
	return slices.DeleteFunc(slices.Clone(found), func(d Difference) bool {
		accepted := false
		for pattern, e := range a.entries {
			// The pattern was tried when it was loaded.
			if ok, _ := path.Match(pattern, name); ok && (e.Kinds == nil || slices.Contains(e.Kinds, d.Kind)) {
				a.used[pattern], accepted = true, true
			}
		}
		return accepted
	})
}

// Unused are the entries that matched no difference.
func (a *Accepted) Unused() []string {
	var unused []string
	for _, pattern := range slices.Sorted(maps.Keys(a.entries)) {
		if !a.used[pattern] {
			unused = append(unused, pattern)
		}
	}
	return unused
}
