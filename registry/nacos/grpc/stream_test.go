package grpc

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/push"
)

// Java and Python wait 5 s for a SetupAck when they sent a table, and nobody else expects one (trap 2).
func TestSetupAck(t *testing.T) {
	tests := map[string]struct {
		setup string
		want  bool
	}{
		"table with entries": {javaSetup, true},
		"empty table":        {`{"labels":{"module":"naming"},"abilityTable":{}}`, true},
		"null table":         {`{"labels":{"module":"naming"},"abilityTable":null}`, false},
		"no table":           {goSetup, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m, _, address := serve(t, 0)
			c := connect(t, address, tt.setup).waitConnected()
			m.only(t).out.Do(push.ItemDetect) // whatever comes, this one is the last
			kind, body := c.next()
			if tt.want {
				if kind != "SetupAckRequest" || body != string(setupAckRequest) {
					t.Errorf("got %s %s, want a SetupAckRequest", kind, body)
				}
				kind, _ = c.next()
			}
			if kind != "ClientDetectionRequest" {
				t.Errorf("got %s, want the ClientDetectionRequest", kind)
			}
		})
	}
}

func TestSetupDescribesTheClient(t *testing.T) {
	m, _, address := serve(t, 0)
	c := connect(t, address, javaSetup).waitConnected()
	got := m.only(t).Connection
	want := member.Connection{
		ID: got.ID, Naming: true,
		Client: model.Client{IP: "10.9.8.7", Agent: "Nacos-Java-Client:v3.0.3", App: "shop"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("connection (-want +got):\n%s", diff)
	}
	_, check := c.call("ServerCheckRequest", "{")
	if field(t, check, "connectionId") != got.ID || field(t, check, "supportAbilityNegotiation") != true {
		t.Errorf("ServerCheck says %s, the member knows %s", check, got.ID)
	}
	if parts := strings.Split(got.ID, "_"); len(parts) != 3 || parts[1] != "127.0.0.1" {
		t.Errorf("connection id %q is not time_ip_port", got.ID)
	}
}

// What a client says of itself is kept, and goes to every member with each of its records: none of it may be long.
func TestSetupWithLongTexts(t *testing.T) {
	for name, tt := range map[string]struct{ said, kept string }{
		"as long as may be": {strings.Repeat("v", model.MaxClientText), strings.Repeat("v", model.MaxClientText)},
		"longer":            {strings.Repeat("v", 1<<20), strings.Repeat("v", model.MaxClientText)},
		"cut in a letter":   {"v" + strings.Repeat("ä", 1000), "v" + strings.Repeat("ä", model.MaxClientText/2-1)},
	} {
		t.Run(name, func(t *testing.T) {
			setup, err := json.Marshal(map[string]any{
				"clientVersion": tt.said, "labels": map[string]string{"module": "naming", "AppName": tt.said},
			})
			if err != nil {
				t.Fatal(err)
			}
			su, ok := readSetup(&payload{kind: setupRequest, clientIP: tt.said, body: setup})
			if want := (model.Client{IP: tt.kept, Agent: tt.kept, App: tt.kept}); !ok || su.connection.Client != want {
				t.Errorf("of %d bytes each: %.999v", len(tt.said), su.connection.Client)
			}
		})
	}
}

func TestSetupThatIsNone(t *testing.T) {
	m, _, address := serve(t, 0)
	c := dial(t, address)
	c.open()
	for _, msg := range [][2]string{
		{setupRequest, `{`},
		{setupRequest, `[]`},
		{setupRequest, `{"labels":[]}`},
		{"", ``},
		{"InstanceRequest", doRegister},
		{"HealthCheckResponse", `{"requestId":"7"}`},
	} {
		c.send(msg[0], msg[1])
	}
	if kind, body := c.call("HealthCheckRequest", `{}`); kind != errorResponse {
		t.Errorf("connected by nonsense: %s %s", kind, body)
	}
	c.send(setupRequest, goSetup)
	c.waitConnected()
	c.send(setupRequest, `{`)
	c.waitConnected()
	if n := m.count("connect"); n != 1 {
		t.Errorf("connected %d times", n)
	}
}

// The reference ends the stream of a setup whose labels are null.
func TestSetupWithoutLabels(t *testing.T) {
	m, _, address := serve(t, 0)
	c := connect(t, address, `{"labels":null}`)
	if err := c.waitEnd(); status.Code(err) != codes.Unknown {
		t.Errorf("stream ended with %v, want UNKNOWN", err)
	}
	if n := m.count("connect"); n != 0 {
		t.Errorf("connected %d times", n)
	}
}

func TestSecondSetupIsAcknowledgedAndChangesNothing(t *testing.T) {
	m, _, address := serve(t, 0)
	c := connect(t, address, goSetup).waitConnected()
	c.call("InstanceRequest", doRegister)
	c.send(setupRequest, javaSetup)
	if kind, _ := c.next(); kind != "SetupAckRequest" {
		t.Errorf("got %s, want a SetupAckRequest", kind)
	}
	if _, body := c.call("ServiceQueryRequest", `{`+aService+`}`); hosts(t, body) != 1 {
		t.Errorf("the instance is gone: %s", body)
	}
	if n := m.count("connect"); n != 1 {
		t.Errorf("connected %d times", n)
	}
}

func TestPushIsAcknowledgedOnTheStream(t *testing.T) {
	m, _, address := serve(t, 0)
	subscriber := connect(t, address, goSetup).waitConnected()
	publisher := connect(t, address, goSetup).waitConnected()
	if _, body := subscriber.call("SubscribeServiceRequest", subscribes); hosts(t, body) != 0 || field(t, body, "message") != "success" {
		t.Fatalf("subscribe: %s", body)
	}
	publisher.call("InstanceRequest", doRegister)
	kind, body := subscriber.next()
	if kind != "NotifySubscriberRequest" || hosts(t, body) != 1 {
		t.Fatalf("got %s %s", kind, body)
	}
	id, _ := field(t, body, "requestId").(string)
	// Go clients say success:false in some that are no failures: resultCode decides.
	subscriber.send("NotifySubscriberResponse", `{"resultCode":200,"errorCode":0,"success":false,"requestId":"`+id+`"}`)
	m.wait(t, "ack", 1)

	publisher.call("InstanceRequest", unregisters)
	kind, body = subscriber.next()
	if kind != "NotifySubscriberRequest" || hosts(t, body) != 0 {
		t.Fatalf("got %s %s", kind, body)
	}
	id, _ = field(t, body, "requestId").(string)
	subscriber.send("NotifySubscriberResponse", `{"resultCode":500,"requestId":"`+id+`"}`)
	m.wait(t, "nack", 1)
	for _, nonsense := range []string{`{`, `{"requestId":"x"}`, `{}`, `null`} {
		subscriber.send("NotifySubscriberResponse", nonsense)
	}
	subscriber.waitConnected()
}

// Each push echoes the clusters of its subscription: old clients have them in their cache key.
func TestPushOfClusters(t *testing.T) {
	_, _, address := serve(t, 0)
	subscriber := connect(t, address, goSetup).waitConnected()
	publisher := connect(t, address, goSetup).waitConnected()
	subscriber.call("SubscribeServiceRequest", `{`+aService+`,"subscribe":true,"clusters":"c1"}`)
	publisher.call("BatchInstanceRequest", `{`+aService+`,"type":"batchRegisterInstance","instances":[`+
		`{"ip":"10.0.0.1","port":1,"clusterName":"c1"},{"ip":"10.0.0.2","port":1,"clusterName":"c2"}]}`)
	_, body := subscriber.next()
	if hosts(t, body) != 1 || !strings.Contains(body, `"clusters":"c1"`) {
		t.Errorf("got %s", body)
	}
}

// A change of the settings is pushed: with few healthy ones all are shown as healthy (nacos-protocol §4.5).
func TestPushOfProtected(t *testing.T) {
	m, _, address := serve(t, 0)
	subscriber := connect(t, address, goSetup).waitConnected()
	connect(t, address, goSetup).waitConnected().call("BatchInstanceRequest", `{`+aService+`,"type":"batchRegisterInstance","instances":[`+
		`{"ip":"10.0.0.1","port":1},{"ip":"10.0.0.2","port":1,"healthy":false}]}`)
	says := func(body string, protected bool) {
		t.Helper()
		if strings.Contains(body, `"healthy":false`) == protected || strings.Contains(body, `"reachProtectionThreshold":true`) != protected {
			t.Errorf("protected %v: %s", protected, body)
		}
	}
	_, body := subscriber.call("SubscribeServiceRequest", subscribes)
	says(body, false)
	key := model.ServiceKey{Namespace: "public", Group: "DEFAULT_GROUP", Name: "a"}
	m.store.Apply(now(), &model.Record{
		Key:     model.RecordKey{Publisher: model.Publisher{Kind: model.KindSettings}, Service: key},
		Version: model.Version{Stamp: m.hlc.Next(now())}, Rare: &model.Rare{Settings: &model.Settings{ProtectThreshold: 0.5}},
	})
	kind, body := subscriber.next()
	if kind != "NotifySubscriberRequest" {
		t.Fatalf("got %s %s", kind, body)
	}
	says(body, true)
	_, body = subscriber.call("ServiceQueryRequest", `{`+aService+`,"cluster":"DEFAULT","healthyOnly":false}`)
	says(body, true)
	_, body = subscriber.call("ServiceQueryRequest", `{`+aService+`,"cluster":"","healthyOnly":true}`)
	if hosts(t, body) != 1 || strings.Contains(body, `"reachProtectionThreshold":true`) {
		t.Errorf("who asks for healthy ones alone: %s", body)
	}
}

func TestControlMessages(t *testing.T) {
	m, _, address := serve(t, 0)
	c := connect(t, address, goSetup).waitConnected()
	out := m.only(t).out
	for kind, want := range map[push.ItemKind]string{push.ItemDetect: "ClientDetectionRequest", push.ItemReset: "ConnectResetRequest"} {
		out.Do(kind)
		got, body := c.next()
		id, _ := field(t, body, "requestId").(string)
		if _, err := strconv.ParseUint(id, 10, 64); err != nil || got != want || field(t, body, "module") != "internal" {
			t.Errorf("got %s %s, want %s", got, body, want)
		}
		c.send(strings.TrimSuffix(want, "Request")+"Response", `{"resultCode":200,"requestId":"`+id+`"}`)
	}
	m.wait(t, "ack", 2)
}

// An ejected connection ends with status OK, and nothing of it is left.
func TestCloseEndsStreamAndTransport(t *testing.T) {
	m, _, address := serve(t, 0)
	c := connect(t, address, goSetup).waitConnected()
	m.only(t).out.Do(push.ItemClose)
	if err := c.waitEnd(); err != nil {
		t.Errorf("stream ended with %v, want OK", err)
	}
	m.wait(t, "disconnect", 1)
	if kind, body := c.call("HealthCheckRequest", `{}`); kind != errorResponse || field(t, body, "errorCode") != 301.0 {
		t.Errorf("still served: %s %s", kind, body)
	}
}

func TestDisconnectIsReportedOnce(t *testing.T) {
	tests := map[string]func(c *client){
		"transport closed":   func(c *client) { c.close() },
		"stream half closed": func(c *client) { _ = c.stream.CloseSend() },
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			m, s, address := serve(t, 0)
			c := connect(t, address, goSetup).waitConnected()
			c.call("InstanceRequest", doRegister)
			end(c)
			m.wait(t, "disconnect", 1)
			c.close()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := s.Stop(ctx); err != nil {
				t.Fatal(err)
			}
			if n := m.count("disconnect"); n != 1 {
				t.Errorf("reported %d times", n)
			}
		})
	}
}

// A server that stops was not left by its clients: their records are not theirs to lose (the cause would be wrong).
func TestStopReportsNobodyAsLost(t *testing.T) {
	m, s, address := serve(t, 0)
	c := connect(t, address, goSetup).waitConnected()
	unset := dial(t, address)
	unset.open()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.waitEnd(); err != nil {
		t.Errorf("stream ended with %v, want OK", err)
	}
	if n := m.count("disconnect"); n != 0 {
		t.Errorf("%d reported as lost", n)
	}
}

// Every sign of life counts: unary calls and messages on the stream.
func TestTouch(t *testing.T) {
	m, _, address := serve(t, 0)
	c := connect(t, address, goSetup).waitConnected()
	touched := func() int {
		m.mu.Lock()
		defer m.mu.Unlock()
		for id := range m.conns {
			return m.touched[id]
		}
		return 0
	}
	before := touched()
	c.call("HealthCheckRequest", `{}`)
	if got := touched(); got != before+1 {
		t.Errorf("%d signs of life after a call, want %d", got, before+1)
	}
	c.send("ClientDetectionResponse", `{"requestId":"1"}`)
	m.wait(t, "ack", 1)
	if got := touched(); got != before+2 {
		t.Errorf("%d signs of life after a message, want %d", got, before+2)
	}
}

// bareStream is one of a gRPC that lets nobody but the handler end it.
type bareStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s bareStream) Context() context.Context { return s.ctx }

// What cannot be ended gently is closed, which asks whether the server is stopping.
func TestStopClosesWhatItCannotEnd(t *testing.T) {
	s := New(Options{Core: newFakeMember(), Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	client, server := net.Pipe()
	tr := &transport{Conn: server, disconnect: s.disconnect, closed: func() {}, unset: time.NewTimer(time.Hour), settled: make(chan struct{})}
	if !tr.connect(func() {}) {
		t.Fatal("the transport has ended")
	}
	s.track(&clientStream{server: s, t: tr, stream: bareStream{ctx: t.Context()}})
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(context.WithoutCancel(t.Context())) }()
	select {
	case err := <-stopped:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("it does not stop")
	}
	if n, err := client.Read(make([]byte, 1)); err == nil {
		t.Errorf("the transport is open: read %d bytes", n)
	}
}
