package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Answer is what a server answered to one step, in the form of the recording. Absent fields are not part of it.
type Answer struct {
	Name    string `json:"name"`
	Request any    `json:"request"`

	// HTTP.
	Status      int               `json:"status"`
	ContentType *string           `json:"content_type"`
	Headers     map[string]string `json:"headers"`

	// gRPC and its stream.
	Type            string            `json:"type"`
	TypeURL         string            `json:"type_url"`
	ResponseHeaders map[string]string `json:"response_headers"`
	Push            string            `json:"push"`
	GRPCStatus      string            `json:"grpc_status"`
	GRPCDetails     string            `json:"grpc_details"`

	Body *string `json:"body"`
	// Shape stands for a body of which only the types count.
	Shape any `json:"shape"`

	// Sort names lists whose order does not count (N10).
	Sort []string `json:"-"`
}

// Recorded reads the answers of the areas. Fields that no step of ours has are left out.
func Recorded(areas ...string) (map[string]Answer, error) {
	all := map[string]Answer{}
	for _, area := range areas {
		file := filepath.Join("testdata", "answers", area+".jsonl")
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for i, line := range bytes.Split(bytes.TrimSpace(text), []byte("\n")) {
			var a Answer
			if err := json.Unmarshal(line, &a); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", file, i+1, err)
			}
			all[a.Name] = a
		}
	}
	return all, nil
}

// Record puts a body into the answer, normalised as the recording is (N1 to N13).
func (s *Session) Record(a *Answer, body string, step Step) error {
	if step.Pick != "" {
		var err error
		if body, err = pick(step.Pick, body); err != nil {
			return err
		}
	}
	// The token last: it could be part of what stands before it.
	body = normalise(body, append(slices.Clone(s.masks), mask{s.Run, "{run}"}))
	for _, pattern := range slices.Sorted(maps.Keys(step.Mask)) {
		re, err := regexp.Compile(pattern)
		if err != nil {
			return err
		}
		body = re.ReplaceAllString(body, goTemplate(step.Mask[pattern]))
	}
	if step.Shape {
		if doc, ok := parse(body); ok {
			a.Shape = shapeOf(doc)
			return nil
		}
	}
	a.Body = &body
	return nil
}

// pick keeps the first match. A member of an object becomes an object.
func pick(pattern, body string) (string, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return "", err
	}
	m := re.FindString(body)
	if m == "" {
		return "(no match)", nil
	}
	if _, ok := parse("{" + m + "}"); ok && strings.HasPrefix(m, `"`) && strings.Contains(m, `":{`) {
		m = "{" + m + "}"
	}
	return m, nil
}

var pythonGroup = regexp.MustCompile(`\\(\d)`)

// goTemplate turns \1 into ${1}.
func goTemplate(s string) string {
	return pythonGroup.ReplaceAllString(strings.ReplaceAll(s, "$", "$$"), "$${$1}")
}
