package grpc

import (
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/push"
)

// panicking is a member with a bug, in all that is asked for the group "bug", in setups of the client "bug", and in what
// connections are told of the service "bug".
type panicking struct{ *fakeMember }

func newPanicking() panicking {
	m := newFakeMember()
	m.hub = push.New(push.Options{Now: now, Snapshot: func(k model.ServiceKey) *catalog.Snapshot {
		if k.Name == "bug" {
			panic("a bug")
		}
		return m.store.Snapshot(now(), k)
	}})
	m.hub.SetOpen(true)
	return panicking{m}
}

// Connect implements Core.
func (p panicking) Connect(c member.Connection) *push.Conn {
	out := p.fakeMember.Connect(c)
	if c.Client.Agent == "bug" {
		panic("a bug")
	}
	return out
}

// Ack implements Core.
func (p panicking) Ack(id string, request uint64, ok bool) {
	if request == 666 {
		panic("a bug")
	}
	p.fakeMember.Ack(id, request, ok)
}

// ServiceNames implements Core.
func (p panicking) ServiceNames(namespace, group string) ([]string, error) {
	if group == "bug" {
		panic("a bug")
	}
	return p.fakeMember.ServiceNames(namespace, group)
}

func counted(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families[0].GetMetric()[0].GetCounter().GetValue()
}

// Clients repeat at the next member what one did not answer. So a panic must not end a member, or one request would end all.
func TestPanicEndsOneRequest(t *testing.T) {
	s, address := serveCore(t, newPanicking(), 0)
	c := connect(t, address, goSetup).waitConnected()
	kind, body := c.call("ServiceListRequest", `{"namespace":"public","groupName":"bug","pageNo":1,"pageSize":1}`)
	if kind != errorResponse || body != failed("internal error") {
		t.Errorf("answered %s %s", kind, body)
	}
	if n := counted(t, s.metrics.panics); n != 1 {
		t.Errorf("%v panics counted", n)
	}
	if n := counted(t, s.metrics.requests.WithLabelValues("ServiceListRequest", "500")); n != 1 {
		t.Errorf("%v failed requests counted", n)
	}
	if kind, _ := c.call("ServiceListRequest", `{"namespace":"public","groupName":"g","pageNo":1,"pageSize":1}`); kind != "ServiceListResponse" {
		t.Errorf("the connection is not served any more: %s", kind)
	}
}

// A panic on a stream ends the connection, and by our doing: its client is well.
func TestPanicEndsOneConnection(t *testing.T) {
	tests := map[string]struct {
		setup string
		do    func(c *client)
		want  codes.Code
	}{
		"in its setup":          {strings.ReplaceAll(goSetup, "Nacos-Go-Client:v2.3.5", "bug"), func(*client) {}, codes.Unavailable},
		"in an acknowledgement": {goSetup, func(c *client) { c.send("NotifySubscriberResponse", `{"requestId":"666"}`) }, codes.Unavailable},
		"in what it is told": {goSetup, func(c *client) {
			c.waitConnected()
			for _, body := range []string{subscribes, doRegister} {
				kind := map[string]string{subscribes: "SubscribeServiceRequest", doRegister: "InstanceRequest"}[body]
				c.call(kind, strings.ReplaceAll(body, `"serviceName":"a"`, `"serviceName":"bug"`))
			}
		}, codes.OK},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := newPanicking()
			s, address := serveCore(t, m, 0)
			other := connect(t, address, goSetup).waitConnected()
			c := connect(t, address, tt.setup)
			tt.do(c)
			if err := c.waitEnd(); status.Code(err) != tt.want {
				t.Errorf("stream ended with %v, want %v", err, tt.want)
			}
			m.wait(t, "disconnect", 1)
			m.only(t)
			if m.count("abandon") != 1 {
				t.Error("its client was taken for one that is gone")
			}
			if n := counted(t, s.metrics.panics); n != 1 {
				t.Errorf("%v panics counted", n)
			}
			other.waitConnected()
		})
	}
}

// Who reads the log finds the place in it.
func TestPanicIsLoggedWithItsStack(t *testing.T) {
	var lines strings.Builder
	s := New(Options{Core: newPanicking(), Registerer: prometheus.NewRegistry(), Log: slog.New(slog.NewTextHandler(&lines, nil))})
	f, err := s.call(t.Context(), func(any) error { panic(io.ErrUnexpectedEOF) })
	if err != nil || string(bodyOf(t, f)) != failed("internal error") {
		t.Errorf("answered %s, %v", bodyOf(t, f), err)
	}
	if got := lines.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "panic_test.go") || !strings.Contains(got, "unexpected EOF") {
		t.Errorf("logged %q", got)
	}
}
