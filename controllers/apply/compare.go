package apply

import (
	"encoding/json"
	"reflect"
	"strings"
)

// The question "would this apply change anything?" is answered without a request, from what the API server keeps in
// managedFields: the set of fields that our last apply owned, by path. The object is as we want it if that set is
// exactly the set of fields in the desired object, and each of them still has its value. A field that somebody else
// changed has left our set, a field that we no longer want is still in it: both show without knowing any schema, and
// defaults that the server filled in do not disturb.

// owned is a level of FieldsV1: "f:<name>" fields, "k:<json>" and "v:<json>" list elements, "." the level itself.
type owned map[string]any

// upToDate reports whether applying desired over live would change nothing. Both are the JSON form of the object
// below metadata.name; fields is what our manager owns in live.
func upToDate(fields owned, desired, live any) bool {
	if len(fields) == 0 {
		return covers(desired, live)
	}
	switch want := desired.(type) {
	case map[string]any:
		return mapUpToDate(fields, want, live)
	case []any:
		return listUpToDate(fields, want, live)
	}
	return false
}

func mapUpToDate(fields owned, desired map[string]any, live any) bool {
	have, ok := live.(map[string]any)
	if !ok {
		return false
	}
	for name, value := range desired {
		below, ok := level(fields, "f:"+name)
		if !ok || !upToDate(below, value, have[name]) {
			return false
		}
	}
	return members(fields) == len(desired)
}

func listUpToDate(fields owned, desired []any, live any) bool {
	have, ok := live.([]any)
	if !ok || members(fields) != len(desired) {
		return false
	}
	for _, want := range desired {
		below, matches, ok := elementLevel(fields, want)
		if !ok {
			return false
		}
		found := false
		for _, element := range have {
			if matches(element) {
				found = upToDate(below, want, element)
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}

// elementLevel finds the entry of a list element among the owned ones, and how to find it in the live list.
func elementLevel(fields owned, want any) (below owned, matches func(any) bool, ok bool) {
	for path := range fields {
		kind, text, _ := strings.Cut(path, ":")
		var key any
		if kind != "k" && kind != "v" || json.Unmarshal([]byte(text), &key) != nil {
			continue
		}
		is := func(element any) bool { return same(key, element) }
		if kind == "k" {
			is = func(element any) bool { return covers(key, element) }
		}
		if !is(want) {
			continue
		}
		below, ok = level(fields, path)
		return below, is, ok
	}
	return nil, nil, false
}

// covers reports whether every value in want is in have. Maps may hold more, since the server fills in defaults.
func covers(want, have any) bool {
	switch w := want.(type) {
	case map[string]any:
		h, ok := have.(map[string]any)
		if !ok {
			return false
		}
		for k, v := range w {
			if !covers(v, h[k]) {
				return false
			}
		}
		return true
	case []any:
		h, ok := have.([]any)
		if !ok || len(h) != len(w) {
			return false
		}
		for i := range w {
			if !covers(w[i], h[i]) {
				return false
			}
		}
		return true
	}
	return same(want, have)
}

// same compares scalars. Numbers come as int64 from one decoder and as float64 from another.
func same(a, b any) bool {
	x, isNumber := number(a)
	y, areNumbers := number(b)
	if isNumber && areNumbers {
		return x == y
	}
	return reflect.DeepEqual(a, b)
}

func number(v any) (float64, bool) {
	switch n := v.(type) {
	case int64:
		return float64(n), true
	case float64:
		return n, true
	}
	return 0, false
}

func level(fields owned, path string) (owned, bool) {
	below, ok := fields[path].(map[string]any)
	return below, ok
}

func members(fields owned) int {
	n := len(fields)
	if _, ok := fields["."]; ok {
		n--
	}
	return n
}
