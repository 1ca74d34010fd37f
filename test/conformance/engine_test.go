package conformance

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNormalise(t *testing.T) {
	masks := []mask{{"127.0.0.1:8848", "{server}"}, {"8848", "{server-port}"}, {"r12", "{run}"}}
	tests := map[string]struct{ in, want string }{
		"page":                {"<!DOCTYPE html><p>x", "{html page}"},
		"time in ms":          {`{"lastRefTime":1732250000000,"x":1}`, `{"lastRefTime":"{ms}","x":1}`},
		"time in a string":    {`{"data":"{\"lastRefTime\":1732250000000}"}`, `{"data":"{\"lastRefTime\":\"{ms}\"}"}`},
		"number":              {`{"cpu":0.5E-3,"load":-1}`, `{"cpu":"{number}","load":"{number}"}`},
		"ISO time":            {`{"timestamp":"2025-11-22T03:04:05.678+00:00"}`, `{"timestamp":"{time}"}`},
		"connection id":       {`"1732250000000_127.0.0.1_5000"`, `"{connection-id}"`},
		"request id":          {`{"requestId":"17"}`, `{"requestId":"{request-id}"}`},
		"own request id":      {`{"requestId":"q-17"}`, `{"requestId":"q-17"}`},
		"UUID":                {`01234567-89ab-cdef-0123-456789abcdef`, `{uuid}`},
		"snowflake":           {`"123456789012345678#DEFAULT#s"`, `"{snowflake}#DEFAULT#s"`},
		"version":             {`{"version":"2.5.1"}`, `{"version":"{version}"}`},
		"address":             {`"http://127.0.0.1:8848/nacos"`, `"http://{server}/nacos"`},
		"port as a value":     {`{"port":8848}`, `{"port":"{server-port}"}`},
		"port in text":        {`local port:8848.`, `local port:8848.`},
		"port at the end":     {`port 8848`, `port {server-port}`},
		"part of a number":    {`{"x":18848,"y":88481,"z":0.8848}`, `{"x":18848,"y":88481,"z":0.8848}`},
		"token":               {`"sr12-v1-x"`, `"s{run}-v1-x"`},
		"nothing to replace":  {`{"hosts":[]}`, `{"hosts":[]}`},
		"metadata of a group": {`{"metaDataMap":{"leader":{"x":1}}}`, `{"metaDataMap":{}}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, normalise(tt.in, masks)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCompare(t *testing.T) {
	body := func(s string) Answer { return Answer{Status: 200, Body: &s} }
	media := func(s string) Answer { return Answer{ContentType: &s} }
	tests := map[string]struct {
		want, got Answer
		kinds     []Kind
	}{
		"same":                  {body(`{"a":1,"b":[true,null]}`), body(`{"b":[true,null],"a":1.0}`), nil},
		"other status":          {Answer{Status: 200}, Answer{Status: 400}, []Kind{KindStatus}},
		"other push":            {Answer{Push: "NotifySubscriberRequest"}, Answer{Push: "nothing within 1 s"}, []Kind{KindStatus}},
		"other gRPC type":       {Answer{Type: "InstanceResponse"}, Answer{Type: "ErrorResponse"}, []Kind{KindStatus}},
		"content type":          {media("text/plain;charset=UTF-8"), media("application/json"), []Kind{KindType}},
		"content type, blanks":  {media("text/plain;charset=UTF-8"), media("text/plain; charset=utf-8"), nil},
		"no content type":       {Answer{}, media("text/plain"), []Kind{KindType}},
		"key missing":           {body(`{"a":1,"b":2}`), body(`{"a":1}`), []Kind{KindShape}},
		"key too many":          {body(`{"a":1}`), body(`{"a":1,"b":null}`), []Kind{KindExtra}},
		"other type":            {body(`{"a":1}`), body(`{"a":"1"}`), []Kind{KindShape}},
		"null":                  {body(`{"a":null}`), body(`{"a":""}`), []Kind{KindShape}},
		"other value":           {body(`{"a":{"b":1}}`), body(`{"a":{"b":2}}`), []Kind{KindValue}},
		"list too long":         {body(`[1]`), body(`[1,2]`), []Kind{KindValue}},
		"order of a list":       {body(`[1,2]`), body(`[2,1]`), []Kind{KindValue, KindValue}},
		"JSON in a string":      {body(`{"a":"{\"x\":1,\"y\":2}"}`), body(`{"a":"{\"y\":2,\"x\":1}"}`), nil},
		"other JSON in string":  {body(`{"a":"{\"x\":1}"}`), body(`{"a":"{\"x\":2}"}`), []Kind{KindValue}},
		"text":                  {body("ok"), body("OK"), []Kind{KindText}},
		"text for JSON":         {body(`{"a":1}`), body("ok"), []Kind{KindShape}},
		"no body":               {body("ok"), Answer{Status: 200}, []Kind{KindText}},
		"header":                {Answer{Headers: map[string]string{"Allow": "GET"}}, Answer{}, []Kind{KindValue}},
		"shape, order of lists": {Answer{Shape: []any{"string", "number"}}, Answer{Shape: []any{"number", "string"}}, nil},
		"other shape":           {Answer{Shape: map[string]any{"a": "string"}}, Answer{Shape: map[string]any{"a": "number"}}, []Kind{KindValue}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var kinds []Kind
			for _, d := range Compare(tt.want, tt.got) {
				kinds = append(kinds, d.Kind)
			}
			if diff := cmp.Diff(tt.kinds, kinds); diff != "" {
				t.Errorf("kinds (-want +got):\n%s", diff)
			}
		})
	}
	sorted := body(`{"hosts":[{"ip":"b"},{"ip":"a"}]}`)
	sorted.Sort = []string{"hosts"}
	if found := Compare(body(`{"hosts":[{"ip":"a"},{"ip":"b"}]}`), sorted); found != nil {
		t.Errorf("a list whose order does not count: %v", found)
	}
}

func TestAccepted(t *testing.T) {
	a := &Accepted{used: map[string]bool{}, entries: map[string]acceptedEntry{
		"area/one/*":    {Reason: "all of it"},
		"area/two/step": {Reason: "the value", Kinds: []Kind{KindValue}},
		"area/three/*":  {Reason: "matches nothing"},
	}}
	found := []Difference{{KindStatus, "s"}, {KindValue, "v"}}
	if left := a.Remaining("area/one/any", found); len(left) != 0 {
		t.Errorf("a glob leaves %v", left)
	}
	if diff := cmp.Diff(found[:1], a.Remaining("area/two/step", found)); diff != "" {
		t.Errorf("an entry for one kind (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(found, a.Remaining("area/four/step", found)); diff != "" {
		t.Errorf("no entry (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"area/three/*"}, a.Unused()); diff != "" {
		t.Errorf("unused (-want +got):\n%s", diff)
	}
}

// A script runs in order, polls until the answer fits, keeps a part of it for later, and sends what it says.
func TestPlay(t *testing.T) {
	var polls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		switch r.URL.Path {
		case "/poll":
			if polls.Add(1) < 3 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			_, _ = w.Write([]byte("id=7 service=" + r.FormValue("s")))
		default:
			_ = r.ParseForm()
			_, _ = w.Write([]byte(r.Method + " " + r.RequestURI + " " + r.PostForm.Encode() + " " + r.UserAgent()))
		}
	}))
	defer server.Close()
	script := Script{Area: "http-v1-x", Name: "script", Steps: []map[string]any{
		{"wait": 0.1},
		{"name": "poll", "http": "GET /poll?s=$s-a", "until": map[string]any{"status": 200}, "save": map[string]any{"id": `id=(\d+)`}},
		{"name": "form", "http": "POST //double path", "query": map[string]any{"id": "${id}"}, "form": map[string]any{"a": "b c"}},
		{"name": "mask", "http": "GET /x", "mask": map[string]any{`(GET) /x`: `\1 #`}, "headers": map[string]any{"User-Agent": "me"}},
	}}
	r := &Runner{HTTP: strings.TrimPrefix(server.URL, "http://"), Run: "r1", Jobs: 2, Steps: HTTPSteps()}
	got, err := r.Play(t.Context(), []Script{script})
	if err != nil {
		t.Fatal(err)
	}
	bodies := map[string]string{}
	for name, a := range got {
		bodies[name] = *a.Body
	}
	want := map[string]string{
		"http-v1-x/script/poll": "id=7 service=s{run}-v1-x-script-a",
		"http-v1-x/script/form": "POST //double%20path?id=7 a=b+c replay",
		"http-v1-x/script/mask": "GET #  me",
	}
	if diff := cmp.Diff(want, bodies); diff != "" {
		t.Errorf("bodies (-want +got):\n%s", diff)
	}
}

func TestPlayRefusesWhatItDoesNotKnow(t *testing.T) {
	tests := map[string]map[string]any{
		"kind without a taker": {"name": "x", "grpc": "ServerCheckRequest"},
		"no kind":              {"name": "x"},
		"unknown key":          {"name": "x", "http": "GET /", "until_status": 200},
		"wrong type":           {"name": "x", "http": "GET /", "within": "long"},
	}
	for name, step := range tests {
		t.Run(name, func(t *testing.T) {
			r := &Runner{HTTP: "127.0.0.1:0", Steps: map[string]StepFunc{
				"http": func(context.Context, *Session, Step) (*Answer, error) { return nil, nil },
			}}
			if _, err := r.Play(t.Context(), []Script{{Area: "a", Name: "s", Steps: []map[string]any{step}}}); err == nil {
				t.Error("the script ran")
			}
		})
	}
}

// Every recorded answer belongs to a step of a script, and the other way round: nothing is compared with nothing.
func TestRecordingIsWhole(t *testing.T) {
	areas := []string{"http-v1-instance", "http-v1-admin", "health", "grpc"}
	scripts, err := Load(areas...)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Recorded(areas...)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scripts {
		for _, step := range s.Steps {
			if step["name"] == nil {
				continue
			}
			name := s.Area + "/" + s.Name + "/" + step["name"].(string)
			if _, ok := want[name]; !ok {
				t.Errorf("%s: no answer is recorded", name)
			}
			delete(want, name)
		}
	}
	for name := range want {
		t.Errorf("%s: no step asks for it", name)
	}
}
