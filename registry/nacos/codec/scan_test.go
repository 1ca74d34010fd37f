package codec

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// members keeps what it is told, as encoding/json would.
type members map[string]json.RawMessage

func (m members) Field(name, value []byte) error {
	m[string(name)] = json.RawMessage(string(value))
	return nil
}

// testingT is a test, or a check of rapid's.
type testingT interface {
	Helper()
	Errorf(format string, args ...any)
}

// checkScan compares with encoding/json, which is the judge of what is JSON.
func checkScan(t testingT, text []byte) {
	t.Helper()
	var want members
	err := json.Unmarshal(text, &want)
	if want == nil { // null, or no object
		want, err = members{}, errCoerce
	}
	got := members{}
	if scanned := DecodeObject(text, got); (scanned == nil) != (err == nil) {
		t.Errorf("%q: %v, encoding/json says %v", text, scanned, err)
		return
	}
	if err == nil && !maps.EqualFunc(want, got, func(a, b json.RawMessage) bool { return string(a) == string(b) }) {
		t.Errorf("%q: (-want +got):\n%s", text, cmp.Diff(want, got))
	}
}

func TestDecodeObjectTakesWhatJSONTakes(t *testing.T) {
	for _, text := range []string{
		``, ` `, `{`, `}`, `{}`, ` { } `, `{}x`, `{} {}`, `null`, `[]`, `"a"`, `1`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{"a":1 "b":2}`,
		`{"a":1,"b":2}`, "{\n\t\"a\" : 1 , \"b\" : [ 1 , { } ] }\r\n", `{"a":1,"a":2}`, `{a:1}`, `{'a':1}`, `{"a":'b'}`,
		`{"a":0}`, `{"a":-0}`, `{"a":01}`, `{"a":+1}`, `{"a":-}`, `{"a":1.}`, `{"a":.5}`, `{"a":1e}`, `{"a":1e+}`, `{"a":-1.5E-07}`, `{"a":0x1}`, `{"a":NaN}`,
		`{"a":true}`, `{"a":tru}`, `{"a":truex}`, `{"a":nul}`, `{"a":false,"b":null}`,
		`{"a":"\n\u00e4\/\"\\"}`, `{"a":"\x"}`, `{"a":"\u12g4"}`, `{"a":"\u12`, `{"a":"\`, `{"a":"b`, "{\"a\":\"\n\"}", "{\"a\":\"\x00\"}",
		`{"\u0061b":1}`, "{\"\xff\":1}", `{"\ud800":1}`, `{"a":[1,]}`, `{"a":[,]}`, `{"a":[1 2]}`, `{"a":[`, `{"a":{"b":{"c":[[]]}}}`, `{"a":{"b":1]}`,
		strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100),
	} {
		checkScan(t, []byte(text))
	}
}

func TestDecodeObjectIsBounded(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 2*maxDepth) + "1" + strings.Repeat("}", 2*maxDepth)
	if err := DecodeObject([]byte(deep), members{}); err == nil {
		t.Error("no bound on how deep values are nested")
	}
	wide := `{"a":[` + strings.TrimSuffix(strings.Repeat("{},", 3*maxDepth), ",") + `]}`
	if err := DecodeObject([]byte(wide), members{}); err != nil {
		t.Errorf("what is side by side counts as nested: %v", err)
	}
}

// FuzzScan: whatever comes, it is JSON to us exactly when it is JSON to encoding/json.
func FuzzScan(f *testing.F) {
	f.Add([]byte(`{"ip":"10.0.0.1","port":"8080","weight":1e3,"metadata":{"a":1,"b":[null]}}`))
	f.Add([]byte(`{"a":"\ud83d\ude00 \u0000 ä"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if strings.Count(string(text), "{")+strings.Count(string(text), "[") < maxDepth {
			checkScan(t, text)
		}
	})
}

// TestScanProperty draws texts that are nearly JSON, which a fuzzer finds too seldom.
func TestScanProperty(t *testing.T) {
	piece := rapid.SampledFrom([]string{
		"{", "}", "[", "]", ",", ":", `"`, `"a"`, `"b":`, `\`, `\u00e4`, "1", "-", "0", ".5", "e9", "true", "null", " ", "\n", "ä", `{"a":`, `}}`,
	})
	rapid.Check(t, func(t *rapid.T) {
		checkScan(t, []byte("{"+strings.Join(rapid.SliceOfN(piece, 0, 12).Draw(t, "pieces"), "")))
	})
}
