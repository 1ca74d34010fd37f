package grpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/nacos/nacospb"
)

const (
	aService    = `"namespace":"public","groupName":"DEFAULT_GROUP","serviceName":"a"`
	anInstance  = `{"ip":"127.0.0.1","port":8080,"weight":1.0,"healthy":true,"enabled":true,"clusterName":"DEFAULT","metadata":{}}`
	doRegister  = `{` + aService + `,"type":"registerInstance","instance":` + anInstance + `}`
	unregisters = `{` + aService + `,"type":"deregisterInstance","instance":` + anInstance + `}`
	subscribes  = `{` + aService + `,"subscribe":true,"clusters":""}`
)

const (
	ok200        = `{"resultCode":200,"errorCode":0,"success":true}`
	registered   = `{"resultCode":200,"errorCode":0,"type":"registerInstance","success":true}`
	noConnection = `{"resultCode":500,"errorCode":301,"message":"Connection is unregistered.","success":false}`
	noHandler    = `{"resultCode":500,"errorCode":302,"message":"RequestHandler Not Found","success":false}`
	unreadable   = `{"resultCode":500,"errorCode":502,"message":"errCode: 101, errMsg: Nacos deserialize failed.  ","success":false}`
)

func failed(message string) string {
	return `{"resultCode":500,"errorCode":500,"message":"` + message + `","success":false}`
}

func invalid(message string) string {
	return `{"resultCode":400,"errorCode":400,"message":"` + message + `","success":false}`
}

func refused(message string) string {
	return `{"resultCode":500,"errorCode":400,"message":"Param check invalid:` + message + `","success":false}`
}

func TestUnary(t *testing.T) {
	const illegal = "Param 'X' is illegal, illegal characters should not appear in the param."
	type answer struct{ Kind, Body string }
	tests := map[string]struct {
		setup      string // "": none
		kind, body string
		want       answer
	}{
		"unknown type without setup":    {"", "NoSuchRequest", `{}`, answer{errorResponse, noHandler}},
		"no type without setup":         {"", "", `{}`, answer{errorResponse, noHandler}},
		"setup as a unary call":         {"", "ConnectionSetupRequest", goSetup, answer{errorResponse, noHandler}},
		"health check without setup":    {"", "HealthCheckRequest", `{}`, answer{errorResponse, noConnection}},
		"broken body without setup":     {"", "InstanceRequest", `{`, answer{errorResponse, noConnection}},
		"health check":                  {goSetup, "HealthCheckRequest", `{"requestId":null}`, answer{"HealthCheckResponse", ok200}},
		"persistent instance":           {goSetup, "PersistentInstanceRequest", doRegister, answer{errorResponse, noHandler}},
		"config":                        {goSetup, "ConfigQueryRequest", `{"dataId":"a"}`, answer{errorResponse, noHandler}},
		"fuzzy watch":                   {goSetup, "NamingFuzzyWatchRequest", `{}`, answer{errorResponse, noHandler}},
		"type in lower case":            {goSetup, "instancerequest", doRegister, answer{errorResponse, noHandler}},
		"of another server":             {goSetup, "DistroDataRequest", `{}`, answer{errorResponse, `{"resultCode":500,"errorCode":502,"message":" invoke DistroDataRequest from sdk is forbidden","success":false}`}},
		"register":                      {goSetup, "InstanceRequest", doRegister, answer{"InstanceResponse", registered}},
		"register without naming":       {noNaming, "InstanceRequest", doRegister, answer{errorResponse, `{"resultCode":-401,"errorCode":-401,"message":"errCode: -401, errMsg: Client [ID] connection already disconnect, can't register ephemeral instance. ","success":false}`}},
		"body empty":                    {goSetup, "InstanceRequest", ``, answer{errorResponse, unreadable}},
		"body broken":                   {goSetup, "InstanceRequest", `{"a"`, answer{errorResponse, unreadable}},
		"body an array":                 {goSetup, "InstanceRequest", `[]`, answer{errorResponse, unreadable}},
		"body a number":                 {goSetup, "InstanceRequest", `1`, answer{errorResponse, unreadable}},
		"body null":                     {goSetup, "InstanceRequest", `null`, answer{errorResponse, `{"resultCode":500,"errorCode":502,"message":"Invalid request","success":false}`}},
		"body of nothing":               {goSetup, "InstanceRequest", `{}`, answer{errorResponse, failed("Param 'serviceName' is illegal, serviceName is blank")}},
		"no type of operation":          {goSetup, "InstanceRequest", `{` + aService + `,"instance":{}}`, answer{errorResponse, failed("Param 'type' is illegal, type is null")}},
		"unknown type of operation":     {goSetup, "InstanceRequest", `{` + aService + `,"type":"xyz","instance":{}}`, answer{errorResponse, invalid("Unsupported request type xyz")}},
		"no instance":                   {goSetup, "InstanceRequest", `{` + aService + `,"type":"registerInstance"}`, answer{errorResponse, invalid("Instance can not be null.")}},
		"no group":                      {goSetup, "InstanceRequest", `{"namespace":"public","serviceName":"a"}`, answer{errorResponse, failed("Param 'groupName' is illegal, groupName is blank")}},
		"no namespace":                  {goSetup, "InstanceRequest", `{"serviceName":"a","groupName":"g","type":"registerInstance"}`, answer{errorResponse, failed("Param 'namespace' is illegal, namespace is null")}},
		"grouped name":                  {goSetup, "InstanceRequest", `{"namespace":"public","serviceName":"g@@a","groupName":"g","type":"registerInstance"}`, answer{"InstanceResponse", refused(strings.ReplaceAll(illegal, "X", "serviceName"))}},
		"bad address":                   {goSetup, "InstanceRequest", `{` + aService + `,"type":"registerInstance","instance":{"ip":"1 2"}}`, answer{"InstanceResponse", refused(strings.ReplaceAll(illegal, "X", "ip"))}},
		"bad cluster for an instance":   {goSetup, "InstanceRequest", `{` + aService + `,"type":"registerInstance","instance":{"clusterName":"a_b"}}`, answer{errorResponse, invalid("Instance 'clusterName' should be characters with only 0-9a-zA-Z-. (current: a_b)")}},
		"batch":                         {goSetup, "BatchInstanceRequest", `{` + aService + `,"type":"batchRegisterInstance","instances":[` + anInstance + `]}`, answer{"BatchInstanceResponse", `{"resultCode":200,"errorCode":0,"type":"batchRegisterInstance","success":true}`}},
		"batch of none":                 {goSetup, "BatchInstanceRequest", `{` + aService + `,"type":"batchRegisterInstance","instances":[]}`, answer{"BatchInstanceResponse", `{"resultCode":200,"errorCode":0,"type":"batchRegisterInstance","success":true}`}},
		"batch without list":            {goSetup, "BatchInstanceRequest", `{` + aService + `,"type":"batchRegisterInstance"}`, answer{errorResponse, failed("Param 'instances' is illegal, instances is null")}},
		"batch with null":               {goSetup, "BatchInstanceRequest", `{` + aService + `,"type":"batchRegisterInstance","instances":[null]}`, answer{"BatchInstanceResponse", refused("Param 'instances' is illegal, an instance is null")}},
		"batch with a bad port":         {goSetup, "BatchInstanceRequest", `{` + aService + `,"type":"batchRegisterInstance","instances":[` + anInstance + `,{"port":65536}]}`, answer{"BatchInstanceResponse", refused("Param 'port' is illegal, the value should be between 0 and 65535.")}},
		"batch of another type":         {goSetup, "BatchInstanceRequest", `{` + aService + `,"type":"batchDeregisterInstance","instances":[]}`, answer{errorResponse, invalid("Unsupported request type batchDeregisterInstance")}},
		"query with a bad cluster":      {goSetup, "ServiceQueryRequest", `{` + aService + `,"cluster":"a.b"}`, answer{"QueryServiceResponse", refused(strings.ReplaceAll(illegal, "X", "cluster"))}},
		"subscribe with a bad group":    {goSetup, "SubscribeServiceRequest", `{"namespace":"public","serviceName":"a","groupName":"a/b","subscribe":true}`, answer{"SubscribeServiceResponse", refused(strings.ReplaceAll(illegal, "X", "group"))}},
		"list of an empty registry":     {goSetup, "ServiceListRequest", `{` + aService + `,"pageNo":1,"pageSize":10}`, answer{"ServiceListResponse", `{"resultCode":200,"errorCode":0,"count":0,"serviceNames":[],"success":true}`}},
		"list of no group":              {goSetup, "ServiceListRequest", `{"namespace":"public","pageNo":1,"pageSize":10}`, answer{"ServiceListResponse", `{"resultCode":200,"errorCode":0,"count":0,"serviceNames":[],"success":true}`}},
		"list with pages of size -1":    {goSetup, "ServiceListRequest", `{` + aService + `,"pageNo":1,"pageSize":-1}`, answer{errorResponse, failed("fromIndex(0) > toIndex(-1)")}},
		"list of a page that is a word": {goSetup, "ServiceListRequest", `{` + aService + `,"pageNo":"a"}`, answer{errorResponse, unreadable}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m, _, address := serve(t, 0)
			c := dial(t, address)
			if tt.setup != "" {
				c.open()
				c.send(setupRequest, tt.setup)
				c.waitConnected()
				tt.want.Body = strings.ReplaceAll(tt.want.Body, "[ID]", "["+m.only(t).ID+"]")
			}
			var got answer
			got.Kind, got.Body = c.call(tt.kind, tt.body)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

// What the member cannot do now must reach clients as an ErrorResponse: Go clients take a typed one as final (trap 3).
func TestFailuresOfTheMember(t *testing.T) {
	tests := map[string]struct {
		err    error
		result float64
		code   float64
	}{
		"not ready":    {model.Errorf(model.CodeNotReady, "x"), 500, 300},
		"invalid":      {model.Errorf(model.CodeInvalid, "x"), 400, 400},
		"not found":    {model.Errorf(model.CodeNotFound, "x"), 404, 404},
		"unregistered": {model.ErrUnregistered, 500, 301},
		"unexpected":   {errors.New("disk on fire"), 500, 500},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m, _, address := serve(t, 0)
			c := connect(t, address, goSetup).waitConnected()
			m.fail(tt.err)
			for _, kind := range []string{"InstanceRequest", "SubscribeServiceRequest", "ServiceQueryRequest"} {
				body := map[string]string{"InstanceRequest": doRegister, "SubscribeServiceRequest": subscribes, "ServiceQueryRequest": subscribes}[kind]
				got, answer := c.call(kind, body)
				if got != errorResponse || field(t, answer, "resultCode") != tt.result || field(t, answer, "errorCode") != tt.code {
					t.Errorf("%s: %s %s", kind, got, answer)
				}
				if strings.Contains(answer, "disk") {
					t.Errorf("%s tells clients of the inside: %s", kind, answer)
				}
			}
		})
	}
}

// logged are the lines of a server that answers one call of a connection.
func logged(t *testing.T, m Core, kind, body string) (frame, []map[string]any) {
	t.Helper()
	var lines bytes.Buffer
	s := New(Options{
		Core: m, Registerer: prometheus.NewRegistry(),
		Log: slog.New(slog.NewJSONHandler(&lines, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	tr := &transport{id: "1_10.0.0.1_2"}
	s.core.Connect(member.Connection{ID: tr.id, Naming: true})
	tr.phase.Store(phaseConnected)
	ctx := peer.NewContext(t.Context(), &peer.Peer{Addr: address{&net.TCPAddr{}, tr}})
	f, err := s.request(ctx, &payload{kind: kind, body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
	var all []map[string]any
	for d := json.NewDecoder(&lines); d.More(); {
		var line map[string]any
		if err := d.Decode(&line); err != nil {
			t.Fatal(err)
		}
		all = append(all, line)
	}
	return f, all
}

// What a client does wrong is no error of ours, and nothing that it says makes a line long.
func TestWhatIsLoggedOfAFailure(t *testing.T) {
	tests := map[string]struct {
		err  error
		body string
		want string
	}{
		"no such connection":  {model.ErrUnregistered, doRegister, "DEBUG"},
		"nonsense":            {nil, `{`, "DEBUG"},
		"no name":             {nil, `{}`, "DEBUG"},
		"a long type":         {nil, `{` + aService + `,"type":"` + strings.Repeat("x", 1<<20) + `"}`, "DEBUG"},
		"something of ours":   {errors.New("disk on fire"), doRegister, "ERROR"},
		"ours, and very long": {errors.New(strings.Repeat("disk", 1<<18)), doRegister, "ERROR"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := newFakeMember()
			m.fail(tt.err)
			_, lines := logged(t, m, "InstanceRequest", tt.body)
			if len(lines) != 1 || lines[0]["level"] != tt.want {
				t.Fatalf("logged %.999v, want one line of level %s", lines, tt.want)
			}
			if said, _ := lines[0]["error"].(string); len(said) > model.MaxClientText {
				t.Errorf("%d bytes of an error", len(said))
			}
		})
	}
}

func TestPublishAndQuery(t *testing.T) {
	_, _, address := serve(t, 0)
	c := connect(t, address, goSetup).waitConnected()
	batch := func(instances string) string {
		return `{` + aService + `,"type":"batchRegisterInstance","instances":[` + instances + `]}`
	}
	query := func(cluster, healthyOnly string) string {
		return `{` + aService + `,"cluster":"` + cluster + `","healthyOnly":` + healthyOnly + `}`
	}
	three := `{"ip":"10.0.0.1","port":1,"clusterName":"c1"},{"ip":"10.0.0.2","port":1,"clusterName":"c2","healthy":false},{"ip":"10.0.0.3","port":1,"clusterName":"c2","enabled":false}`
	steps := []struct {
		do, with    string
		cluster, on string
		want        int
	}{
		{"InstanceRequest", doRegister, "", "false", 1},
		{"BatchInstanceRequest", batch(three), "", "false", 2},
		{"HealthCheckRequest", `{}`, "", "true", 1},
		{"HealthCheckRequest", `{}`, "c1", "false", 1},
		{"HealthCheckRequest", `{}`, "c1,c2", "false", 2},
		{"HealthCheckRequest", `{}`, "c9", "false", 0},
		{"BatchInstanceRequest", batch(`{"ip":"10.0.0.1","port":1,"weight":1},{"ip":"10.0.0.1","port":1,"weight":2}`), "", "false", 1},
		{"InstanceRequest", doRegister, "", "false", 1}, // takes the place of the batch
		{"InstanceRequest", strings.ReplaceAll(unregisters, "8080", "1"), "", "false", 0},
		{"BatchInstanceRequest", batch(three), "", "false", 2},
		{"BatchInstanceRequest", batch(``), "", "false", 0},
	}
	for i, step := range steps {
		if kind, body := c.call(step.do, step.with); kind == errorResponse {
			t.Fatalf("step %d: %s", i, body)
		}
		_, body := c.call("ServiceQueryRequest", query(step.cluster, step.on))
		if got := hosts(t, body); got != step.want {
			t.Errorf("step %d: %d hosts, want %d: %s", i, got, step.want, body)
		}
	}
}

// What the members could not tell each other is refused as final, and what was published before stays.
func TestTooLargeBatch(t *testing.T) {
	const many = "Param 'instances' is illegal, there should not be more than 50000."
	const large = "Param 'instances' is illegal, what they say should not exceed 8388608 bytes."
	list := func(n int, instance string) string { return instance + strings.Repeat(","+instance, n-1) }
	tests := map[string]struct {
		service, instances string
		want               string // "": it is taken
	}{
		"many":      {"a", list(50_000, `{"port":1}`), ""},
		"too many":  {"a", list(50_001, `{"port":1}`), many},
		"long ids":  {"a", list(16_000, `{"instanceId":"`+strings.Repeat("i", 400)+`"}`), ""},
		"metadata":  {"a", list(25_000, `{"metadata":{"a":"`+strings.Repeat("v", 300)+`"}}`), large},
		"long name": {strings.Repeat("n", 500), list(40_000, `{"port":1}`), large},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, _, address := serve(t, 0)
			c := connect(t, address, goSetup).waitConnected()
			service := `"namespace":"public","groupName":"DEFAULT_GROUP","serviceName":"` + tt.service + `"`
			batch := func(instances string) (kind, answer string) {
				return c.call("BatchInstanceRequest", `{`+service+`,"type":"batchRegisterInstance","instances":[`+instances+`]}`)
			}
			batch(anInstance)
			kind, answer := batch(tt.instances)
			if kind != "BatchInstanceResponse" || tt.want == "" && !strings.Contains(answer, `"success":true`) || tt.want != "" && answer != refused(tt.want) {
				t.Errorf("got %s %s", kind, answer)
			}
			_, body := c.call("ServiceQueryRequest", `{`+service+`}`)
			if before := strings.Contains(body, "8080"); hosts(t, body) != 1 || before != (tt.want != "") {
				t.Errorf("published is %s", body)
			}
		})
	}
}

// An empty namespace is the built-in one, in every protocol (trap 10).
func TestEmptyNamespaceIsPublic(t *testing.T) {
	_, _, address := serve(t, 0)
	c := connect(t, address, goSetup).waitConnected()
	c.call("InstanceRequest", strings.ReplaceAll(doRegister, `"public"`, `""`))
	if _, body := c.call("ServiceQueryRequest", `{`+aService+`}`); hosts(t, body) != 1 {
		t.Errorf("got %s", body)
	}
}

// Up to a thousand calls of a transport may wait at once: none may bring more of a header than any client has.
func TestHeadersAreBounded(t *testing.T) {
	_, _, address := serve(t, 0)
	c := connect(t, address, goSetup).waitConnected()
	for name, tt := range map[string]struct {
		size int
		want codes.Code
	}{
		"usual": {8 << 10, codes.OK},
		"large": {maxHeader, codes.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := metadata.AppendToOutgoingContext(t.Context(), "x", strings.Repeat("h", tt.size))
			_, err := nacospb.NewRequestClient(c.conn).Request(ctx, asPayload("HealthCheckRequest", "{}"))
			if status.Code(err) != tt.want {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	c.waitConnected()
}
