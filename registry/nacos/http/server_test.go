package http

import (
	"io"
	"log/slog"
	"net"
	nethttp "net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/model"
)

const (
	textType = "text/plain;charset=UTF-8"
	jsonType = "application/json"
)

// call is one request and what must be answered.
type call struct {
	method, target string // below /nacos
	form           string // a form as body
	header         map[string]string

	status int
	media  string // "" = no content type
	body   string // exactly; times are TIME
}

var timestamp = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00`)

func newServer(t testing.TB, core Core) *Server {
	t.Helper()
	s, err := New(Options{Core: core, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// do sends the request and returns the answer.
func (c call) do(s *Server) *httptest.ResponseRecorder {
	r := httptest.NewRequest(c.method, "/nacos"+c.target, strings.NewReader(c.form))
	if c.form != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
	}
	for k, v := range c.header {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func (c call) check(t *testing.T, s *Server) {
	t.Helper()
	w := c.do(s)
	want := answer{status: c.status, contentType: c.media, body: []byte(c.body)}
	got := answer{status: w.Code, contentType: w.Header().Get("Content-Type"), body: timestamp.ReplaceAll(w.Body.Bytes(), []byte("TIME"))}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(answer{}), cmp.Transformer("text", func(b []byte) string { return string(b) })); diff != "" {
		t.Errorf("%s %s: answer (-want +got):\n%s", c.method, c.target, diff)
	}
}

// frameworkJSON is the framework's error.
func frameworkJSON(status int, text, path string) string {
	return `{"timestamp":"TIME","status":` + strconv.Itoa(status) + `,"error":"` + nethttp.StatusText(status) +
		`","message":"` + text + `","path":"/nacos` + path + `"}`
}

func TestPaths(t *testing.T) {
	noAPI := func(method, path string) call {
		return call{method: method, target: path, status: 501, media: jsonType, body: frameworkJSON(501, "no such api:"+method+":/nacos"+path, path)}
	}
	absent := func(method, path string) call {
		return call{method: method, target: path, status: 404, media: jsonType, body: frameworkJSON(404, "No message available", path)}
	}
	tests := map[string]call{
		"unknown naming path":     noAPI("GET", "/v1/ns/nosuch"),
		"naming root":             noAPI("GET", "/v1/ns"),
		"partial update":          noAPI("PATCH", "/v1/ns/instance"),
		"metadata batch":          noAPI("PUT", "/v1/ns/instance/metadata/batch"),
		"statuses":                noAPI("GET", "/v1/ns/instance/statuses"),
		"service object":          noAPI("POST", "/v1/ns/service"),
		"catalog":                 noAPI("GET", "/v1/ns/catalog/services"),
		"switches":                noAPI("PUT", "/v1/ns/operator/switches"),
		"peers of 1.x":            noAPI("GET", "/v1/ns/raft/leader"),
		"list by POST":            noAPI("POST", "/v1/ns/instance/list"),
		"beat by POST":            noAPI("POST", "/v1/ns/instance/beat"),
		"list by OPTIONS":         noAPI("OPTIONS", "/v1/ns/instance/list"),
		"list by HEAD":            noAPI("HEAD", "/v1/ns/instance/list"),
		"v2":                      absent("POST", "/v2/ns/instance"),
		"v3":                      absent("GET", "/v3/client/ns/instance/list"),
		"v3 login":                absent("POST", "/v3/auth/user/login"), // sends Java 3.x to v1 (nacos-protocol §5.1)
		"configuration":           absent("GET", "/v1/cs/configs"),
		"upper case":              absent("GET", "/v1/NS/instance/list"),
		"unknown health path":     absent("GET", "/v1/console/health/nosuch"),
		"trailing slash":          {method: "GET", target: "/v1/ns/operator/metrics/", status: 200, media: jsonType, body: `{"status":"UP"}`},
		"alias":                   {method: "GET", target: "/v1/ns/ops/metrics", status: 200, media: jsonType, body: `{"status":"UP"}`},
		"unknown, trailing slash": {method: "GET", target: "/v1/ns/x/", status: 501, media: jsonType, body: frameworkJSON(501, "no such api:GET:/nacos/v1/ns/x/", "/v1/ns/x/")},
		"double slash": {
			method: "GET", target: "//v1/ns/instance/list", status: 500, media: jsonType,
			body: frameworkJSON(500, `The request was rejected because the URL contained a potentially malicious String \"//\"`, "//v1/ns/instance/list"),
		},
		"not normalised": {
			method: "GET", target: "/v1/ns/../ns/instance/list", status: 500, media: jsonType,
			body: frameworkJSON(500, "The request was rejected because the URL was not normalized.", "/v1/ns/../ns/instance/list"),
		},
	}
	s := newServer(t, newFakeCore())
	for name, c := range tests {
		t.Run(name, func(t *testing.T) { c.check(t, s) })
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/v1/ns/instance/list", nil))
	if w.Code != 404 || w.Header().Get("Content-Type") != typeHTML {
		t.Errorf("outside of the context path: %d %s", w.Code, w.Header())
	}
}

func TestHealthStateLogin(t *testing.T) {
	const token = `{"accessToken":"AUTH_DISABLED","tokenTtl":18000,"globalAdmin":false,"username":"nacos"}`
	notSent := func(name string) string {
		return "caused: Required request parameter &#39;" + name + "&#39; for method parameter type String is not present;"
	}
	ready, starting := newFakeCore(), newFakeCore()
	starting.notReady = "merging with 10.0.0.2:9849"
	tests := map[string]struct {
		core *fakeCore
		call
	}{
		"alive":                      {starting, call{method: "GET", target: "/v1/console/health/liveness", status: 200, media: textType, body: "OK"}},
		"alive by HEAD":              {ready, call{method: "HEAD", target: "/v1/console/health/liveness", status: 200, media: textType, body: "OK"}},
		"alive by POST":              {ready, call{method: "POST", target: "/v1/console/health/liveness", status: 500, media: textType, body: "caused: Request method &#39;POST&#39; not supported;"}},
		"ready":                      {ready, call{method: "GET", target: "/v1/console/health/readiness", status: 200, media: textType, body: "OK"}},
		"not ready":                  {starting, call{method: "GET", target: "/v1/console/health/readiness", status: 500, media: textType, body: "naming not in readiness"}},
		"status":                     {ready, call{method: "GET", target: "/v1/ns/operator/metrics?onlyStatus=TRUE", status: 200, media: jsonType, body: `{"status":"UP"}`}},
		"status of one not ready":    {starting, call{method: "GET", target: "/v1/ns/operator/metrics", status: 503, body: "server is DOWNnow, please try again later!, detailed error message: merging with 10.0.0.2:9849"}},
		"status asked by a server":   {starting, call{method: "GET", target: "/v1/ns/operator/metrics", header: map[string]string{"User-Agent": "Nacos-Server:v2.5.1"}, status: 200, media: jsonType, body: `{"status":"DOWN"}`}},
		"login, query":               {ready, call{method: "POST", target: "/v1/auth/login?username=nacos&password=x", status: 200, media: jsonType, body: token}},
		"login, form":                {ready, call{method: "POST", target: "/v1/auth/users/login", form: "username=nacos&password=x", status: 200, media: jsonType, body: token}},
		"login, query and form":      {ready, call{method: "POST", target: "/v1/auth/users/login?username=nacos", form: "password=x", status: 200, media: jsonType, body: token}},
		"login without a user":       {ready, call{method: "POST", target: "/v1/auth/users/login", status: 500, media: textType, body: notSent("username")}},
		"login without a password":   {ready, call{method: "POST", target: "/v1/auth/login?username=nacos", status: 500, media: textType, body: notSent("password")}},
		"login by GET":               {ready, call{method: "GET", target: "/v1/auth/login?username=nacos&password=x", status: 500, media: textType, body: "caused: Request method &#39;GET&#39; not supported;"}},
		"numbers of an empty member": {ready, call{method: "GET", target: "/v1/ns/operator/metrics?onlyStatus=no", status: 200, media: jsonType, body: `{"status":"UP","serviceCount":0,"instanceCount":0,"subscribeCount":4,"responsibleInstanceCount":0,"clientCount":3,"connectionBasedClientCount":3,"ephemeralIpPortClientCount":0,"persistentIpPortClientCount":0,"responsibleClientCount":3,"cpu":-1,"load":-1,"mem":-1}`}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { tt.check(t, newServer(t, tt.core)) })
	}
	w := call{method: "POST", target: "/v1/auth/login?username=nacos&password=x"}.do(newServer(t, ready))
	if got := w.Header().Get("Authorization"); got != "Bearer AUTH_DISABLED" {
		t.Errorf("Authorization: %q", got)
	}
}

// What clients shall try again is a 503; the words are those of Nacos' server status.
func TestFailuresOfTheMember(t *testing.T) {
	const again = "now, please try again later!, detailed error message: why"
	tests := map[string]struct {
		code   model.Code
		status int
		media  string
		body   string
	}{
		"invalid":      {model.CodeInvalid, 400, textType, "why"},
		"not ready":    {model.CodeNotReady, 503, "", "server is WRITE_ONLY" + again},
		"unregistered": {model.CodeUnregistered, 500, textType, "caused: why;"},
	}
	const query = "?serviceName=s&ip=10.0.0.1&port=80&pageNo=1&pageSize=10&protectThreshold=0"
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			core := newFakeCore()
			core.err = model.Errorf(tt.code, "why")
			s := newServer(t, core)
			for _, r := range namingRoutes() {
				if r.name == "operator.metrics" || r.name == "instance.register" {
					continue // it cannot fail
				}
				call{method: r.method, target: "/v1/ns" + r.path + query, status: tt.status, media: tt.media, body: tt.body}.check(t, s)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	core := newFakeCore()
	s := newServer(t, core)
	call{
		method: "POST", target: "/v1/ns/instance", form: "serviceName=s&ip=1.1.1.1&port=1&metadata=" + strings.Repeat("x", maxBody), status: 413, media: jsonType,
		body: frameworkJSON(413, "the form is larger than 2097152 bytes", "/v1/ns/instance"),
	}.check(t, s)
	var different strings.Builder
	for i := range maxParams + 1 {
		different.WriteString("&p" + strconv.Itoa(i) + "=")
	}
	repeated := "serviceName=s&ip=1.1.1.1&port=1" + strings.Repeat("&a=1", maxParams-3)
	for _, form := range []string{different.String(), repeated + "&a=1", "a=%" + strings.Repeat("&=%", maxParams)} {
		call{
			method: "POST", target: "/v1/ns/instance", form: form, status: 400, media: jsonType,
			body: frameworkJSON(400, "more than 1000 parameters", "/v1/ns/instance"),
		}.check(t, s)
	}
	call{
		method: "POST", target: "/v1/ns/instance?app=a", form: repeated, status: 400, media: jsonType,
		body: frameworkJSON(400, "more than 1000 parameters", "/v1/ns/instance"),
	}.check(t, s)
	if len(core.services) != 0 {
		t.Errorf("stored %v", core.services)
	}
	call{method: "POST", target: "/v1/ns/instance", form: repeated + "&&", status: 200, media: textType, body: "ok"}.check(t, s)
}

// TestLogIsShort: an answer may repeat all that was sent, the log does not.
func TestLogIsShort(t *testing.T) {
	var log strings.Builder
	handler := slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})
	s, err := New(Options{Core: newFakeCore(), Log: slog.New(handler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	metadata := strings.Repeat("ä", 100_000)
	c := call{method: "POST", target: "/v1/ns/instance", form: "serviceName=s&ip=1.1.1.1&port=1&metadata=" + metadata}
	if body := c.do(s).Body.String(); !strings.Contains(body, metadata) {
		t.Errorf("the answer has %d bytes", len(body))
	}
	if got := log.String(); !strings.Contains(got, "metadata format incorrect:ä") || len(got) > 600 || !utf8.ValidString(got) {
		t.Errorf("%d bytes are logged: %.600s", len(got), got)
	}
}

// panicking is a core with a bug.
type panicking struct{ *fakeCore }

func (panicking) ServiceNames(string, string) ([]string, error) { panic("a bug") }

func (panicking) Counts() member.Counts { panic("a bug") }

func TestPanicEndsOneRequest(t *testing.T) {
	s := newServer(t, panicking{newFakeCore()})
	call{
		method: "GET", target: "/v1/ns/service/list?pageNo=1&pageSize=1", status: 500, media: jsonType,
		body: frameworkJSON(500, "Server failed", "/v1/ns/service/list"),
	}.check(t, s)
	call{method: "GET", target: "/v1/ns/operator/metrics", status: 200, media: jsonType, body: `{"status":"UP"}`}.check(t, s)
}

// serving runs the server on a socket until the test ends.
func serving(t *testing.T, s *Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.http.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// Whoever sends his request a byte at a time, or none at all, or a header without end, is cut off (B1).
func TestSlowAndGarbled(t *testing.T) {
	tests := map[string]struct{ sent, want string }{
		"half a header":   {"POST /nacos/v1/ns/instance HTTP/1.1\r\nHost:", ""},
		"half a body":     {"POST /nacos/v1/ns/instance HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 99\r\n\r\na=", "HTTP/1.1 400 "},
		"nothing":         {"", ""},
		"endless header":  {"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", maxHeader+8192) + "\r\n\r\n", "HTTP/1.1 431 "},
		"TLS":             {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "HTTP/1.1 400 "},
		"not HTTP at all": {"stats\r\n\r\n", "HTTP/1.1 400 "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, newFakeCore())
			s.http.ReadHeaderTimeout, s.http.ReadTimeout, s.http.IdleTimeout = 200*time.Millisecond, 200*time.Millisecond, 200*time.Millisecond
			conn, err := net.Dial("tcp", serving(t, s))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, tt.sent); err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(conn) // returns when the server has closed the connection, reset or not
			if !strings.HasPrefix(string(got), tt.want) || tt.want == "" && len(got) > 0 {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// blocking is a core that answers names when it is told to.
type blocking struct {
	*fakeCore
	called, release chan struct{}
}

func (b blocking) ServiceNames(string, string) ([]string, error) {
	close(b.called)
	<-b.release
	return []string{}, nil
}

// A request that is being answered when the server stops is answered.
func TestStop(t *testing.T) {
	core := blocking{newFakeCore(), make(chan struct{}), make(chan struct{})}
	s := newServer(t, core)
	conn, err := net.Dial("tcp", serving(t, s))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /nacos/v1/ns/service/list?pageNo=1&pageSize=1 HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-core.called
	down := make(chan error, 1)
	s.http.RegisterOnShutdown(func() { close(core.release) })
	go func() { down <- s.Stop(t.Context()) }()
	got, err := io.ReadAll(conn)
	if err != nil || !strings.HasSuffix(string(got), `{"count":0,"doms":[]}`) {
		t.Errorf("answer %q, %v", got, err)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
}

func TestServerState(t *testing.T) {
	s, err := New(Options{Core: newFakeCore(), Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), Standalone: true})
	if err != nil {
		t.Fatal(err)
	}
	addr := serving(t, s)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	r, err := nethttp.NewRequestWithContext(t.Context(), "GET", "http://"+addr+"/nacos/v1/console/server/state", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&nethttp.Client{Transport: &nethttp.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"auth_admin_request":"false","auth_enabled":"false","auth_system_type":"nacos","console_ui_enabled":"false",` +
		`"function_mode":"naming","login_page_enabled":"false","server_port":"` + port + `","startup_mode":"standalone","version":"2.5.1"}`
	if diff := cmp.Diff(want, string(body)); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
}

// Labels do not grow with what clients send.
func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	s, err := New(Options{Core: newFakeCore(), Log: slog.New(slog.DiscardHandler), Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"/v1/ns/a", "/v1/ns/b", "/c", "//d", "/v1/ns/instance/list?serviceName=x", "/v1/ns/instance/list"} {
		call{method: "GET", target: target}.do(s)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := f.GetName()
			for _, l := range m.GetLabel() {
				labels += " " + l.GetValue()
			}
			if n := m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount()); n > 0 {
				got[labels] = n
			}
		}
	}
	want := map[string]float64{
		"muster_http_requests_total 501 unknown":             2,
		"muster_http_requests_total 404 unknown":             1,
		"muster_http_requests_total 500 unknown":             1,
		"muster_http_requests_total 200 instance.list":       1,
		"muster_http_requests_total 400 instance.list":       1,
		"muster_http_request_duration_seconds unknown":       4,
		"muster_http_request_duration_seconds instance.list": 2,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	if _, err := New(Options{Core: newFakeCore(), Log: slog.New(slog.DiscardHandler), Registerer: registry}); err == nil {
		t.Error("a second server registered the same metrics")
	}
}
