package nacos_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	configv1alpha1 "github.com/muster-registry/muster/api/config/v1alpha1"
	"github.com/muster-registry/muster/registry/nacos/nacospb"
	"github.com/muster-registry/muster/registry/server"
	"github.com/muster-registry/muster/test/bench/limit"
	"github.com/muster-registry/muster/test/bench/nacos"
)

// registry is a member that answers lists at once.
func registry(t *testing.T) server.Addresses {
	t.Helper()
	c := configv1alpha1.Default()
	c.Listen = configv1alpha1.Listen{Address: "127.0.0.1"}
	c.Timeouts.ColdStartQuiet.Duration, c.Timeouts.ColdStartLimit.Duration = 0, 0
	c.Probing.Enabled = false
	s, err := server.New(server.Options{Config: c, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return s.Addr()
}

// bare is a limit that answers with body.
func bare(t *testing.T, o limit.Options) (rpc, web string) {
	t.Helper()
	s, err := limit.New(o)
	if err != nil {
		t.Fatal(err)
	}
	var listeners [2]net.Listener
	for i := range listeners {
		if listeners[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(listeners[0], listeners[1]) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return listeners[0].Addr().String(), listeners[1].Addr().String()
}

func dial(t *testing.T, address string, onPush func([]byte)) *nacos.Conn {
	t.Helper()
	c, err := nacos.Dial(t.Context(), address, nacos.Options{OnPush: onPush, Small: true, From: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func call(t *testing.T, c *nacos.Conn, kind string, body []byte) []byte {
	t.Helper()
	answer, err := c.Call(t.Context(), kind, body)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// listed are the hosts of an answer.
func listed(t *testing.T, list []byte) []string {
	t.Helper()
	var a struct {
		ServiceInfo struct{ Hosts []struct{ IP string } }
		Hosts       []struct{ IP string }
	}
	if err := json.Unmarshal(list, &a); err != nil {
		t.Fatalf("%v in %s", err, list)
	}
	var ips []string
	for _, h := range append(a.Hosts, a.ServiceInfo.Hosts...) {
		ips = append(ips, h.IP)
	}
	return ips
}

func TestRegisterQueryAndPush(t *testing.T) {
	at := registry(t).GRPC.String()
	pushes := make(chan []byte, 8)
	subscriber := dial(t, at, func(list []byte) { pushes <- bytes.Clone(list) })
	publisher, other := dial(t, at, nil), dial(t, at, nil)
	service := nacos.ServiceOf(1)
	call(t, subscriber, nacos.Subscribe, nacos.SubscribeBody(1, service))
	call(t, publisher, nacos.Register, nacos.RegisterBody(2, service, nacos.InstanceOf(1)))
	first := <-pushes
	if ips := listed(t, first); len(ips) != 1 || ips[0] != "10.0.0.1" {
		t.Errorf("pushed %v", ips)
	}
	if seq, told := nacos.SeqOf(first); told {
		t.Errorf("an instance without a number tells change %d", seq)
	}
	changed := nacos.InstanceOf(1)
	changed.Seq = 42
	call(t, publisher, nacos.Register, nacos.RegisterBody(3, service, changed))
	list := <-pushes
	if seq, told := nacos.SeqOf(list); seq != 42 || !told || !bytes.Contains(list, []byte(nacos.Marker(42))) {
		t.Errorf("the second change is pushed as number %d (%v): %s", seq, told, list)
	}
	call(t, other, nacos.BatchRegister, nacos.BatchBody(4, service, []nacos.Instance{nacos.InstanceOf(2), nacos.InstanceOf(3)}))
	if ips := listed(t, call(t, other, nacos.Query, nacos.QueryBody(5, service))); len(ips) != 3 {
		t.Errorf("query lists %v, want three", ips)
	}
	call(t, publisher, nacos.Register, nacos.DeregisterBody(6, service, changed))
	if ips := listed(t, call(t, other, nacos.Query, nacos.QueryBody(7, service))); len(ips) != 2 {
		t.Errorf("query lists %v after one has gone, want two", ips)
	}
}

func TestARefusalIsAnError(t *testing.T) {
	c := dial(t, registry(t).GRPC.String(), nil)
	if _, err := c.Call(t.Context(), "NoSuchRequest", []byte("{}")); err == nil || !strings.Contains(err.Error(), "NoSuchRequest is answered with ErrorResponse") {
		t.Errorf("error %v", err)
	}
}

func TestHTTP(t *testing.T) {
	at := registry(t)
	c, err := nacos.DialHTTP(at.HTTP.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	do := func(request []byte) string {
		t.Helper()
		body, err := c.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	service, in := nacos.ServiceOf(7), nacos.InstanceOf(7)
	if got := do(nacos.HTTPBeat(service, in)); !strings.Contains(got, "20404") {
		t.Errorf("the beat of nobody is answered with %s", got)
	}
	if got := do(nacos.HTTPRegister(service, in)); got != "ok" {
		t.Errorf("register is answered with %s", got)
	}
	if got := do(nacos.HTTPBeat(service, in)); !strings.Contains(got, "10200") {
		t.Errorf("a beat is answered with %s", got)
	}
	overHTTP := do(nacos.HTTPList(service))
	if ips := listed(t, []byte(overHTTP)); len(ips) != 1 || ips[0] != in.IP {
		t.Errorf("%v are listed", ips)
	}
	// One registry behind both protocols.
	rpc := dial(t, at.GRPC.String(), nil)
	if ips := listed(t, call(t, rpc, nacos.Query, nacos.QueryBody(1, service))); len(ips) != 1 {
		t.Errorf("over gRPC %v are listed", ips)
	}
	if _, err := c.Do([]byte("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("error %v of a path that is not there", err)
	}
}

// A server may send its answer in chunks.
func TestChunkedAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"))
			c.Close()
		}
	}()
	c, err := nacos.DialHTTP(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if body, err := c.Do([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil || string(body) != "abcde" {
		t.Errorf("%s, %v", body, err)
	}
}

func TestLimitAnswersTheSame(t *testing.T) {
	const answer = `{"resultCode":200,"hosts":[]}`
	rpc, web := bare(t, limit.Options{Answer: []byte(answer), ContentType: "application/json"})
	pushes := make(chan string, 8)
	var conns []*nacos.Conn
	for range 3 {
		conns = append(conns, dial(t, rpc, func(list []byte) { pushes <- string(list) }))
	}
	if got := call(t, conns[0], nacos.Query, nacos.QueryBody(1, "s")); string(got) != answer {
		t.Errorf("answered with %s", got)
	}
	for _, text := range []string{`{"requestId":"1","a":1}`, `{"requestId":"2","a":2}`} {
		call(t, conns[1], limit.Fan, []byte(text))
		for range conns {
			if got := <-pushes; got != text {
				t.Errorf("sent %s, got %s", text, got)
			}
		}
	}
	c, err := nacos.DialHTTP(web)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if body, err := c.Do(nacos.HTTPList("s")); err != nil || string(body) != answer {
		t.Errorf("%s, %v", body, err)
	}
}

// Whoever dials waits for that answer: a stream that is not known yet would miss what is sent to all.
func TestLimitDoesNotKnowWhoHasNoStream(t *testing.T) {
	rpc, _ := bare(t, limit.Options{})
	channel, err := grpc.NewClient("passthrough:///"+rpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer channel.Close()
	answer, err := nacospb.NewRequestClient(channel).Request(t.Context(), &nacospb.Payload{Metadata: &nacospb.Metadata{Type: "HealthCheckRequest"}})
	if err != nil {
		t.Fatal(err)
	}
	if kind := answer.GetMetadata().GetType(); kind != "ErrorResponse" {
		t.Errorf("answered with %s", kind)
	}
}

func TestRelayCrossesTheChain(t *testing.T) {
	last, _ := bare(t, limit.Options{Answer: []byte("x")})
	first, _ := bare(t, limit.Options{Answer: []byte("x"), Next: last})
	pushes := make(chan string, 1)
	dial(t, last, func(list []byte) { pushes <- string(list) })
	publisher := dial(t, first, nil)
	const text = `{"requestId":"9","seq":1}`
	if err := publisher.Send(limit.Relay, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if got := <-pushes; got != text {
		t.Errorf("got %s", got)
	}
}
