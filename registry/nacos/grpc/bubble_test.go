package grpc

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/nacos/nacospb"
)

// bubble is a server within a bubble of synctest, whose clock goes on when everybody waits.
type bubble struct {
	*testing.T
	member *fakeMember
	server *Server
	l      *bufconn.Listener
}

func newBubble(t *testing.T, stuckAfter time.Duration) *bubble {
	t.Helper()
	m := newFakeMember()
	s := New(Options{Core: m, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), StuckAfter: stuckAfter})
	b := &bubble{t, m, s, bufconn.Listen(1 << 20)}
	go func() { _ = s.Serve(b.l) }()
	return b
}

func (b *bubble) dial(o ...grpc.DialOption) *client {
	b.Helper()
	conn, err := grpc.NewClient("passthrough:///member", append(o, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return b.l.Dial() }))...)
	if err != nil {
		b.Fatal(err)
	}
	return &client{t: b.T, conn: conn}
}

// pass lets time pass, and what comes of it happen.
func (b *bubble) pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // the clock of the bubble
	synctest.Wait()
}

func (b *bubble) stop(clients ...*client) {
	b.Helper()
	for _, c := range clients {
		c.close()
	}
	if err := b.server.Stop(b.Context()); err != nil {
		b.Error(err)
	}
}

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
				b := newBubble(t, 0)
				c := b.dial(grpc.WithKeepaliveParams(tt.ping))
				if tt.stream {
					c.open()
					c.send(setupRequest, goSetup)
				}
				_, check := c.call(serverCheck, "{}")
				b.pass(tt.silent)
				if kind, body := c.call("HealthCheckRequest", "{}"); kind != tt.want {
					t.Errorf("after %v: %s %s", tt.silent, kind, body)
				}
				if _, again := c.call(serverCheck, "{}"); tt.stream != (again == check) {
					t.Errorf("transport after %v: %s, was %s", tt.silent, again, check)
				}
				b.stop(c)
			})
		})
	}
}

// A stream holds memory of the member, and so does a transport: neither may be there for long without a setup.
func TestWhoDoesNotSetUpIsEnded(t *testing.T) {
	t.Run("stream", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, 0)
			mute, second := b.dial(), b.dial()
			mute.open()
			second.open()
			second.send(setupRequest, goSetup)
			second.waitConnected()
			other := &client{t: t, conn: second.conn}
			other.open()
			for range 3 { // nonsense does not help
				b.pass(setUpWithin / 4)
				mute.send("NotifySubscriberResponse", `{}`)
			}
			b.pass(setUpWithin / 4)
			if err := mute.waitEnd(); err != nil {
				t.Errorf("stream ended with %v, want OK", err)
			}
			if err := other.waitEnd(); err != nil {
				t.Errorf("second stream ended with %v, want OK", err)
			}
			b.pass(time.Hour)
			if n := b.member.count("disconnect"); n != 0 {
				t.Error("the connection ended with a stream that is not its own")
			}
			second.waitConnected()
			b.stop(mute, second)
		})
	})
	t.Run("transport whose calls never come", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, 0)
			c := b.dial()
			call, err := c.conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, nacospb.Request_Request_FullMethodName)
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- call.RecvMsg(&nacospb.Payload{}) }()
			b.pass(transportWithin / 2)
			c.call(serverCheck, "{}")
			b.pass(transportWithin / 2)
			select {
			case err := <-ended:
				if status.Code(err) != codes.Unavailable {
					t.Errorf("the call ended with %v, want UNAVAILABLE", err)
				}
			default:
				t.Error("the call has not ended")
			}
			b.stop(c)
		})
	})
	t.Run("transport that says nothing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, 0)
			conn, err := b.l.Dial()
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = io.Copy(io.Discard, conn)
			}()
			b.pass(setUpWithin)
			select {
			case <-ended:
			default:
				t.Error("it is still open")
			}
			_ = conn.Close()
			b.stop()
		})
	})
}

// A client learns that the member leaves before it sets up, and goes to the next one: of Go clients that lose their stream within
// 100 ms of the setup some are never heard of again (nacos-protocol §3.2). It learns so after a pause, for it may come again at once.
func TestServerCheckOfAMemberThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 0)
		c := b.dial()
		b.member.mu.Lock()
		b.member.state = model.StateLeaving
		b.member.mu.Unlock()
		asked := time.Now()
		_, err := nacospb.NewRequestClient(c.conn).Request(t.Context(), asPayload(serverCheck, "{}"))
		if took := time.Since(asked); status.Code(err) != codes.Unavailable || took != leavingPause {
			t.Errorf("got %v after %v, want UNAVAILABLE after %v", err, took, leavingPause)
		}
		b.stop(c)
	})
}

// A client that sent its setup ahead of a call is not told that nobody knows it: it would give the connection up, and a member that
// is busy would have its work for nothing (nacos-protocol §3.2, L2).
func TestCallThatOvertakesTheSetup(t *testing.T) {
	tests := map[string]struct {
		stream bool
		body   string        // of the call; {} if empty
		after  time.Duration // what follows comes then
		then   func(c *client)
		want   string
		took   time.Duration
	}{
		"no stream, no setup":     {after: time.Second, then: func(*client) {}, want: errorResponse, took: overtakenWithin},
		"the setup comes soon":    {stream: true, after: time.Second, then: func(c *client) { c.send(setupRequest, goSetup) }, want: "HealthCheckResponse", took: time.Second},
		"the setup comes late":    {stream: true, after: setUpWithin / 2, then: func(c *client) { c.send(setupRequest, goSetup) }, want: errorResponse, took: overtakenWithin},
		"a call of a megabyte":    {stream: true, body: strings.Repeat(" ", window) + "{}", after: time.Second, then: func(c *client) { c.send(setupRequest, goSetup) }, want: errorResponse},
		"the stream ends instead": {stream: true, after: time.Second, then: func(c *client) { _ = c.stream.CloseSend() }, want: errorResponse, took: overtakenWithin},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, 0)
				c := b.dial()
				if tt.stream {
					c.open()
					synctest.Wait()
				}
				asked := time.Now()
				then := time.AfterFunc(tt.after, func() { tt.then(c) })
				defer then.Stop()
				kind, body := c.call("HealthCheckRequest", cmp.Or(tt.body, "{}"))
				if took := time.Since(asked); kind != tt.want || took != tt.took {
					t.Errorf("%s %s after %v, want %s after %v", kind, body, took, tt.want, tt.took)
				}
				b.pass(tt.after)
				b.stop(c)
			})
		})
	}
}
