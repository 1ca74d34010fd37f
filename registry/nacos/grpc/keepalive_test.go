package grpc

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/test/bufconn"
)

// Trap 1: with grpc-go's own enforcement a client that pings every minute is thrown out after two of them. And a
// transport with a stream must live for ever: were it ended gently, unary calls would move to another one.
func TestClientsThatPingStay(t *testing.T) {
	tests := map[string]struct {
		stream bool
		ping   keepalive.ClientParameters
		silent time.Duration
		want   string // the answer after that
	}{
		"go client for a day":     {true, keepalive.ClientParameters{Time: time.Minute, Timeout: 20 * time.Second, PermitWithoutStream: true}, 24 * time.Hour, "HealthCheckResponse"},
		"ping every ten seconds":  {true, keepalive.ClientParameters{Time: 10 * time.Second, PermitWithoutStream: true}, time.Hour, "HealthCheckResponse"},
		"java client for a day":   {true, keepalive.ClientParameters{Time: 6 * time.Minute}, 24 * time.Hour, "HealthCheckResponse"},
		"transport without setup": {false, keepalive.ClientParameters{Time: time.Minute, PermitWithoutStream: true}, time.Hour, errorResponse},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newFakeMember()
				s := New(Options{Core: m, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
				l := bufconn.Listen(1 << 20)
				go func() { _ = s.Serve(l) }()
				conn, err := grpc.NewClient("passthrough:///member", grpc.WithTransportCredentials(insecure.NewCredentials()),
					grpc.WithKeepaliveParams(tt.ping),
					grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return l.Dial() }))
				if err != nil {
					t.Fatal(err)
				}
				c := &client{t: t, conn: conn}
				if tt.stream {
					c.open()
					c.send(setupRequest, goSetup)
				}
				_, check := c.call(serverCheck, "{}")
				time.Sleep(tt.silent) //nolint:forbidigo // the clock of the bubble
				if kind, body := c.call("HealthCheckRequest", "{}"); kind != tt.want {
					t.Errorf("after %v: %s %s", tt.silent, kind, body)
				}
				if _, again := c.call(serverCheck, "{}"); tt.stream != (again == check) {
					t.Errorf("transport after %v: %s, was %s", tt.silent, again, check)
				}
				c.close()
				if err := s.Stop(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
