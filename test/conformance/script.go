// Package conformance replays requests whose answers were recorded at real Nacos servers, and says where a server of
// ours differs. testdata/requests holds the scripts and testdata/answers what Nacos 2.5.1 answered, both as they were
// recorded; testdata/accepted-*.yaml holds the differences that we want, or do not mind yet, with the reason. README.md
// explains the format.
package conformance

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Script is an ordered list of steps on names of its own.
type Script struct {
	Area   string           `json:"-"`
	Name   string           `json:"name"`
	About  string           `json:"about"`
	Settle *float64         `json:"settle"` // pause after every write, in seconds; nil = 0.8
	Serial bool             `json:"serial"` // runs alone, after the others
	Steps  []map[string]any `json:"steps"`
}

// Load reads the scripts of the areas.
func Load(areas ...string) ([]Script, error) {
	var all []Script
	for _, area := range areas {
		file := filepath.Join("testdata", "requests", area+".yaml")
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var doc struct {
			Area    string   `json:"area"`
			Scripts []Script `json:"scripts"`
		}
		if err := yaml.UnmarshalStrict(text, &doc); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for i := range doc.Scripts {
			doc.Scripts[i].Area = doc.Area
		}
		all = append(all, doc.Scripts...)
	}
	return all, nil
}

// Step is one step with its names filled in. Which keys it has depends on its kind.
type Step struct {
	Kind string         `json:"-"`
	Raw  map[string]any `json:"-"`
	Name string         `json:"name"` // "" = not recorded

	// Sending.
	HTTP    string         `json:"http"`
	Query   map[string]any `json:"query"`
	Form    map[string]any `json:"form"`
	JSON    any            `json:"json"`
	Body    any            `json:"body"`
	Headers map[string]any `json:"headers"`
	Settle  *float64       `json:"settle"`
	Wait    float64        `json:"wait"`

	// Repeating until the answer fits.
	Until  *Until   `json:"until"`
	Within *float64 `json:"within"`

	// Recording (README of testdata, N10 to N13).
	Save     map[string]string `json:"save"`
	Sort     Strings           `json:"sort"`
	SortKeys bool              `json:"sort_keys"`
	Shape    bool              `json:"shape"`
	Pick     string            `json:"pick"`
	Mask     map[string]string `json:"mask"`
}

// Until is what an answer must be like.
type Until struct {
	Contains string `json:"contains"`
	Lacks    string `json:"lacks"`
	Status   int    `json:"status"`
}

func (u *Until) fits(status int, body string) bool {
	return u == nil || (u.Contains == "" || strings.Contains(body, u.Contains)) &&
		(u.Lacks == "" || !strings.Contains(body, u.Lacks)) && (u.Status == 0 || u.Status == status)
}

// Strings is a list that may be written as one string.
type Strings []string

// UnmarshalJSON implements json.Unmarshaler.
func (s *Strings) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*s = make(Strings, 1)
		return json.Unmarshal(b, &(*s)[0])
	}
	return json.Unmarshal(b, (*[]string)(s))
}

// kinds are the keys that say what a step does. The first that a step has counts: a connect may have an ack.
var kinds = []string{"listen", "unlisten", "http", "connect", "beat", "grpc", "send", "expect", "forget", "ack", "close", "wait"}

// known are all keys that a step may have: one that nobody reads must not pass for one that was obeyed.
var known = append([]string{
	"name", "query", "form", "json", "body", "headers", "settle", "until", "within", "save", "sort", "sort_keys", "shape", "pick", "mask",
	"setup", "conn", "raw", "bare", "where", "type", "drop_ack", "idle", "timeout",
}, kinds...)

// newStep fills in names and finds out what the step does.
func newStep(raw map[string]any, vars map[string]string) (Step, error) {
	filled, _ := fill(raw, vars).(map[string]any)
	s := Step{Raw: filled}
	i := slices.IndexFunc(kinds, func(k string) bool { _, has := filled[k]; return has })
	if i < 0 {
		return s, fmt.Errorf("step %v: no known kind", raw)
	}
	s.Kind = kinds[i]
	for key := range filled {
		if !slices.Contains(known, key) {
			return s, fmt.Errorf("step %v: unknown key %q", raw, key)
		}
	}
	b, err := json.Marshal(filled)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("step %v: %w", raw, err)
	}
	return s, nil
}

var variable = regexp.MustCompile(`\$\{(\w+)\}|\$(run|ns|s)\b`)

// fill replaces $run, $s, $ns and ${saved} in all strings.
func fill(x any, vars map[string]string) any {
	switch x := x.(type) {
	case string:
		return variable.ReplaceAllStringFunc(x, func(m string) string {
			if v, ok := vars[strings.Trim(m, "${}")]; ok {
				return v
			}
			return m
		})
	case map[string]any:
		out := make(map[string]any, len(x))
		for k, v := range x {
			out[fill(k, vars).(string)] = fill(v, vars)
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i, v := range x {
			out[i] = fill(v, vars)
		}
		return out
	}
	return x
}
