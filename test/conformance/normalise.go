package conformance

import (
	"regexp"
	"strings"
)

// mask is a value of this run, and what stands for it in the recording (N2).
type mask struct{ value, placeholder string }

// masks are those of every script, ports before the token that may contain their digits.
func (r *Runner) masks() []mask {
	var all []mask
	for _, t := range []struct{ label, address string }{{"server", r.HTTP}, {"grpc", r.GRPC}} {
		if i := strings.LastIndexByte(t.address, ':'); i >= 0 {
			all = append(all, mask{t.address, "{" + t.label + "}"}, mask{t.address[i+1:], "{" + t.label + "-port}"})
		}
	}
	return all
}

// rewrite is a rule of the recording, in its order.
type rewrite struct {
	pattern *regexp.Regexp
	with    string
}

// quoted matches a key, also inside of a JSON string, where quotes are escaped.
func quoted(keys string) string { return `((\\?")(?:` + keys + `)\\?"\s*:\s*)` }

const number = `\\?"?-?[0-9][0-9.eE+-]*\\?"?`

var rewrites = []rewrite{
	{regexp.MustCompile(`"metaDataMap":\{(?:"\w+":\{[^{}]*\},?)*\}`), `"metaDataMap":{}`},                                 // N14
	{regexp.MustCompile(`\b\d{13}_127\.0\.0\.1_\d+`), `{connection-id}`},                                                  // N3
	{regexp.MustCompile(quoted("lastRefTime|lastUpdatedTime|lastRefreshTime|lastBeatTime") + number), `${1}${2}{ms}${2}`}, // N4
	{regexp.MustCompile(quoted("cpu|load|mem|appliedIndex|term") + number), `${1}${2}{number}${2}`},                       // N4
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)`), `{time}`},                            // N5
	{regexp.MustCompile(quoted("requestId") + `"\d+"`), `${1}"{request-id}"`},                                             // N6
	{regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`), `{uuid}`},                    // N7
	{regexp.MustCompile(`\b\d{15,20}#`), `{snowflake}#`},                                                                  // N8
	{regexp.MustCompile(quoted("version") + `"\d+\.\d+[^"]*"`), `${1}"{version}"`},                                        // N9
	{regexp.MustCompile(quoted("clientPort") + `"?\d+"?`), `${1}"{client-port}"`},                                         // N9
}

// normalise takes out of a body what differs from run to run. N12 (the order of keys) needs no rule here: JSON is
// compared as JSON.
func normalise(text string, masks []mask) string {
	if start := strings.ToLower(text[:min(len(text), 15)]); start == "<!doctype html>" || strings.HasPrefix(start, "<html>") {
		return "{html page}" // N1
	}
	for _, r := range rewrites {
		text = r.pattern.ReplaceAllString(text, r.with)
	}
	for _, m := range masks {
		if strings.Trim(m.value, "0123456789") == "" {
			text = maskNumber(text, m)
		} else {
			text = strings.ReplaceAll(text, m.value, m.placeholder)
		}
	}
	return text
}

// maskNumber replaces a number that is not part of a longer one. As a JSON value it becomes a string.
func maskNumber(text string, m mask) string {
	var b strings.Builder
	for {
		i := strings.Index(text, m.value)
		if i < 0 {
			return b.String() + text
		}
		before, after := text[:i], text[i+len(m.value):]
		switch {
		case endsIn(before, "0123456789.") || startsWith(after, "0123456789."):
			b.WriteString(before + m.value)
		case endsIn(before, ":") && startsWith(after, ",}]"):
			b.WriteString(before + `"` + m.placeholder + `"`)
		default:
			b.WriteString(before + m.placeholder)
		}
		text = after
	}
}

func endsIn(s, chars string) bool     { return s != "" && strings.IndexByte(chars, s[len(s)-1]) >= 0 }
func startsWith(s, chars string) bool { return s != "" && strings.IndexByte(chars, s[0]) >= 0 }
