package grpc

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/muster-registry/muster/registry/nacos/nacospb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen: it ends a test that failed, and decides nothing else.
const patience = 20 * time.Second

// The setups that SDKs send.
const (
	goSetup   = `{"clientVersion":"Nacos-Go-Client:v2.3.5","tenant":"","labels":{"source":"sdk","module":"naming"},"clientAbilities":{},"headers":{},"module":"internal"}`
	javaSetup = `{"clientVersion":"Nacos-Java-Client:v3.0.3","labels":{"source":"sdk","module":"naming","AppName":"shop"},"abilityTable":{"fuzzyWatch":true},"headers":{},"module":"internal"}`
	noNaming  = `{"clientVersion":"Nacos-Go-Client:v2.3.5","labels":{"source":"sdk","module":"config"}}`
)

// serve starts a server before a fake member on loopback and returns its address.
func serve(t *testing.T, stuckAfter time.Duration) (*fakeMember, *Server, string) {
	t.Helper()
	m := newFakeMember()
	s, address := serveCore(t, m, stuckAfter)
	return m, s, address
}

func serveCore(t *testing.T, m Core, stuckAfter time.Duration) (*Server, string) {
	t.Helper()
	s := New(Options{
		Core: m, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), StuckAfter: stuckAfter,
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return s, l.Addr().String()
}

// client is a Nacos client without any wits.
type client struct {
	t        *testing.T
	conn     *grpc.ClientConn
	stream   nacospb.BiRequestStream_RequestBiStreamClient
	received chan *nacospb.Payload // closed when the stream has ended
	ended    error                 // why; io.EOF is status OK
}

func dial(t *testing.T, address string) *client {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, conn: conn}
	t.Cleanup(c.close)
	return c
}

// connect dials, and sets up with this body.
func connect(t *testing.T, address, setup string) *client {
	t.Helper()
	c := dial(t, address)
	c.open()
	c.send("ConnectionSetupRequest", setup)
	return c
}

func (c *client) close() { _ = c.conn.Close() }

// open opens the stream and reads it.
func (c *client) open() {
	c.t.Helper()
	c.openUnread()
	c.receive()
}

// receive reads the stream.
func (c *client) receive() {
	c.received = make(chan *nacospb.Payload, 100)
	go func() {
		defer close(c.received)
		for {
			p, err := c.stream.Recv()
			if err != nil {
				c.ended = err
				return
			}
			c.received <- p
		}
	}()
}

func (c *client) openUnread() {
	c.t.Helper()
	var err error
	if c.stream, err = nacospb.NewBiRequestStreamClient(c.conn).RequestBiStream(context.Background()); err != nil {
		c.t.Fatal(err)
	}
}

func asPayload(kind, body string) *nacospb.Payload {
	return &nacospb.Payload{
		Metadata: &nacospb.Metadata{Type: kind, ClientIp: "10.9.8.7"},
		Body:     &anypb.Any{Value: []byte(body)},
	}
}

func (c *client) send(kind, body string) {
	c.t.Helper()
	if err := c.stream.Send(asPayload(kind, body)); err != nil {
		c.t.Fatalf("send %s: %v", kind, err)
	}
}

// call makes a unary call and returns the type and the body of the answer.
func (c *client) call(kind, body string) (string, string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p, err := nacospb.NewRequestClient(c.conn).Request(ctx, asPayload(kind, body))
	if err != nil {
		c.t.Fatalf("%s: %v", kind, err)
	}
	return p.GetMetadata().GetType(), string(p.GetBody().GetValue())
}

// next returns the next message of the server.
func (c *client) next() (string, string) {
	c.t.Helper()
	select {
	case p, ok := <-c.received:
		if !ok {
			c.t.Fatalf("the stream ended: %v", c.ended)
		}
		return p.GetMetadata().GetType(), string(p.GetBody().GetValue())
	case <-time.After(patience):
		c.t.Fatal("no message from the server")
	}
	return "", ""
}

// waitEnd waits for the end of the stream and returns its cause, nil for status OK.
func (c *client) waitEnd() error {
	c.t.Helper()
	for {
		select {
		case _, ok := <-c.received:
			if ok {
				continue
			}
			if errors.Is(c.ended, io.EOF) {
				return nil
			}
			return c.ended
		case <-time.After(patience):
			c.t.Fatal("the stream does not end")
		}
	}
}

// waitConnected waits until unary calls are answered.
func (c *client) waitConnected() *client {
	c.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if kind, _ := c.call("HealthCheckRequest", "{}"); kind == "HealthCheckResponse" {
			return c
		}
	}
	c.t.Fatal("the connection is not set up")
	return nil
}

// wait waits until the fake member has noted n events of this name.
func (m *fakeMember) wait(t *testing.T, event string, n int) {
	t.Helper()
	timeout := time.After(patience)
	for {
		m.mu.Lock()
		seen, changed := 0, m.changed
		for _, e := range m.log {
			if e == event {
				seen++
			}
		}
		m.mu.Unlock()
		if seen >= n {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("%d × %q, want %d", seen, event, n)
		}
	}
}

func (m *fakeMember) count(event string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, e := range m.log {
		if e == event {
			n++
		}
	}
	return n
}

// only returns the one connection there is.
func (m *fakeMember) only(t *testing.T) *fakeConn {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.conns {
		if len(m.conns) == 1 {
			return c
		}
	}
	t.Fatalf("%d connections, want 1", len(m.conns))
	return nil
}

// field reads one key of a JSON object.
func field(t *testing.T, body, key string) any {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal([]byte(body), &o); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return o[key]
}

// hosts is how many instances the serviceInfo of a message lists.
func hosts(t *testing.T, body string) int {
	t.Helper()
	var o struct {
		ServiceInfo struct {
			Hosts []json.RawMessage `json:"hosts"`
		} `json:"serviceInfo"`
	}
	if err := json.Unmarshal([]byte(body), &o); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return len(o.ServiceInfo.Hosts)
}
