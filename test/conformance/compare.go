package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Kind says how grave a difference is.
type Kind string

// Kinds of difference.
const (
	KindStatus Kind = "status" // HTTP status, type of a gRPC answer, push or none
	KindType   Kind = "type"   // content type
	KindShape  Kind = "shape"  // a JSON key is missing, or of another type
	KindExtra  Kind = "extra"  // a JSON key that real servers do not send
	KindValue  Kind = "value"  // same shape, other value
	KindText   Kind = "text"   // no JSON, other text
)

// Difference is one thing that is not as recorded.
type Difference struct {
	Kind Kind
	Text string
}

// String implements fmt.Stringer.
func (d Difference) String() string { return "[" + string(d.Kind) + "] " + d.Text }

// Compare lists where got is not what was recorded.
func Compare(want, got Answer) []Difference {
	var c comparison
	c.equal("status", want.Status, got.Status)
	c.equal("type", want.Type, got.Type)
	c.equal("push", want.Push, got.Push)
	c.equal("grpc status", want.GRPCStatus, got.GRPCStatus)
	c.equal("type url", want.TypeURL, got.TypeURL)
	if w, g := mediaOf(want.ContentType), mediaOf(got.ContentType); w != g {
		c.add(KindType, "content type: expected %s, got %s", w, g)
	}
	c.maps("headers", want.Headers, got.Headers)
	c.maps("response headers", want.ResponseHeaders, got.ResponseHeaders)
	if want.GRPCDetails != got.GRPCDetails {
		c.add(KindText, "details: expected %q, got %q", want.GRPCDetails, got.GRPCDetails)
	}
	if want.Shape != nil || got.Shape != nil {
		c.json("shape", sortLists(want.Shape, nil, true), sortLists(got.Shape, nil, true))
	}
	c.bodies(want.Body, got.Body, got.Sort)
	return c.found
}

type comparison struct{ found []Difference }

func (c *comparison) add(k Kind, format string, args ...any) {
	c.found = append(c.found, Difference{k, fmt.Sprintf(format, args...)})
}

func (c *comparison) equal(what string, want, got any) {
	if want != got {
		c.add(KindStatus, "%s: expected %v, got %v", what, want, got)
	}
}

func (c *comparison) maps(what string, want, got map[string]string) {
	if !maps.Equal(want, got) {
		c.add(KindValue, "%s: expected %v, got %v", what, want, got)
	}
}

func (c *comparison) bodies(want, got *string, sorted []string) {
	if want == nil && got == nil {
		return
	}
	w, g := "(none)", "(none)"
	if want != nil {
		w = *want
	}
	if got != nil {
		g = *got
	}
	wantJSON, isJSON := parse(w)
	gotJSON, gotIsJSON := parse(g)
	switch {
	case isJSON && gotIsJSON:
		c.json("$", sortLists(wantJSON, sorted, false), sortLists(gotJSON, sorted, false))
	case w == g:
	case isJSON || gotIsJSON:
		c.add(KindShape, "body: expected %s\n got %s", short(w), short(g))
	default:
		c.add(KindText, "body: expected %q\n got %q", short(w), short(g))
	}
}

// json compares values of decoded JSON, also inside of strings.
func (c *comparison) json(path string, want, got any) {
	switch w := want.(type) {
	case map[string]any:
		if g, ok := got.(map[string]any); ok {
			c.objects(path, w, g)
			return
		}
	case []any:
		if g, ok := got.([]any); ok {
			if len(w) != len(g) {
				c.add(KindValue, "%s: expected %d elements, got %d: %s", path, len(w), len(g), short(dump(g)))
			}
			for i := range min(len(w), len(g)) {
				c.json(fmt.Sprintf("%s[%d]", path, i), w[i], g[i])
			}
			return
		}
	default:
		if fmt.Sprintf("%T", want) == fmt.Sprintf("%T", got) {
			c.scalars(path, want, got)
			return
		}
	}
	c.add(KindShape, "%s: expected %s, got %s", path, short(dump(want)), short(dump(got)))
}

func (c *comparison) objects(path string, want, got map[string]any) {
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if _, ok := got[k]; !ok {
			c.add(KindShape, "%s.%s: missing, expected %s", path, k, short(dump(want[k])))
			continue
		}
		c.json(path+"."+k, want[k], got[k])
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[k]; !ok {
			c.add(KindExtra, "%s.%s: not expected, got %s", path, k, short(dump(got[k])))
		}
	}
}

func (c *comparison) scalars(path string, want, got any) {
	if want == got {
		return
	}
	w, wok := want.(string)
	g, gok := got.(string)
	if wok && gok {
		wantJSON, is := parse(w)
		gotJSON, also := parse(g)
		if is && also {
			c.json(path, wantJSON, gotJSON)
			return
		}
	}
	c.add(KindValue, "%s: expected %s, got %s", path, short(dump(want)), short(dump(got)))
}

// parse decodes an object or a list.
func parse(text string) (any, bool) {
	if text == "" || text[0] != '{' && text[0] != '[' {
		return nil, false
	}
	var doc any
	return doc, json.Unmarshal([]byte(text), &doc) == nil
}

func dump(x any) string {
	b, err := json.Marshal(x)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func short(s string) string {
	const limit = 300
	if len(s) > limit {
		return s[:limit] + "…"
	}
	return s
}

var blank = regexp.MustCompile(`\s+`)

func mediaOf(t *string) string {
	if t == nil {
		return "none"
	}
	return blank.ReplaceAllString(strings.ToLower(*t), "")
}

// sortLists puts the lists under the named keys ("." = the outermost), or all, into one order.
func sortLists(x any, keys []string, all bool) any {
	var walk func(x any, key string) any
	walk = func(x any, key string) any {
		switch x := x.(type) {
		case map[string]any:
			out := make(map[string]any, len(x))
			for k, v := range x {
				out[k] = walk(v, k)
			}
			return out
		case []any:
			out := make([]any, len(x))
			for i, v := range x {
				out[i] = walk(v, "")
			}
			if all || slices.Contains(keys, key) {
				slices.SortFunc(out, func(a, b any) int { return strings.Compare(dump(a), dump(b)) })
			}
			return out
		case string:
			if doc, ok := parse(x); ok && len(keys) > 0 {
				return dump(walk(doc, "."))
			}
		}
		return x
	}
	return walk(x, ".")
}

// shapeOf has types for values; a list has the different shapes of its elements (N11).
func shapeOf(x any) any {
	switch x := x.(type) {
	case map[string]any:
		out := make(map[string]any, len(x))
		for k, v := range x {
			out[k] = shapeOf(v)
		}
		return out
	case []any:
		out := []any{}
		for _, v := range x {
			s := shapeOf(v)
			if !slices.ContainsFunc(out, func(o any) bool { return dump(o) == dump(s) }) {
				out = append(out, s)
			}
		}
		return out
	case nil:
		return "null"
	case bool:
		return "boolean"
	case float64:
		return "number"
	case string:
		if x == "{ms}" || x == "{number}" {
			return "number"
		}
	}
	return "string"
}
