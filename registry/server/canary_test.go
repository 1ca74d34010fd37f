package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	configv1alpha1 "github.com/muster-registry/muster/api/config/v1alpha1"
)

// port is one whose server answers as late as it is told.
type port struct {
	late time.Duration // less than 0: never
	err  error         // nobody gets a connection
}

func (p port) dial(context.Context) (net.Conn, error) {
	if p.err != nil {
		return nil, p.err
	}
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		_, _ = io.ReadFull(theirs, make([]byte, len(helloHTTP)))
		if p.late < 0 {
			_, _ = theirs.Read(make([]byte, 1)) // until the other end is closed
			return
		}
		pass(p.late)
		_, _ = theirs.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
	}()
	return ours, nil
}

// pass lets the time of a bubble pass.
func pass(d time.Duration) { <-time.After(d) }

// asking starts a canary, until ctx ends. Its port may be replaced.
func asking(ctx context.Context, first port) (c *canary, at *atomic.Pointer[port], ended chan struct{}) {
	at, ended = new(atomic.Pointer[port]), make(chan struct{})
	at.Store(&first)
	c = &canary{hello: helloHTTP, dial: func(ctx context.Context) (net.Conn, error) { return at.Load().dial(ctx) }}
	go func() { c.run(ctx); close(ended) }()
	return c, at, ended
}

// What is looked at ten times a second shows late answers while they are awaited, and those that failed (R4).
func TestCanary(t *testing.T) {
	barred := errors.New("no way to ourselves")
	for name, tc := range map[string]struct {
		before, then port
		want         time.Duration // the longest in 15 s
	}{
		"answered at once":              {},
		"answered late":                 {then: port{late: 3 * time.Second}, want: 3 * time.Second},
		"never answered":                {then: port{late: -1}, want: canaryPatience},
		"no connection any more":        {then: port{err: barred}, want: canaryPatience},
		"no way to ourselves from once": {before: port{err: barred}, then: port{err: barred}},
		"never answered from once":      {before: port{late: -1}, then: port{late: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				c, at, ended := asking(ctx, tc.before)
				pass(canaryEvery / 2) // the first one is back, or on its way
				synctest.Wait()
				at.Store(&tc.then)
				var longest time.Duration
				for range 150 {
					pass(100 * time.Millisecond)
					longest = max(longest, c.waited())
				}
				if longest != tc.want {
					t.Errorf("waited %v, want %v", longest, tc.want)
				}
				cancel()
				<-ended
				if c.waited() > 0 && tc.want == 0 {
					t.Error("its own end counts as a failure")
				}
				pass(canaryPatience) // the port has ended too
			})
		})
	}
}

// TestCanaryIsAwaited: what is not answered yet shows before it has failed.
func TestCanaryIsAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c, at, ended := asking(ctx, port{})
		pass(canaryEvery / 2)
		synctest.Wait()
		at.Store(&port{late: -1})
		pass(canaryEvery/2 + 2*time.Second)
		if got := c.waited(); got != 2*time.Second {
			t.Errorf("waited %v for 2 s", got)
		}
		cancel()
		<-ended
	})
}

// TestCanariesAreAnswered: both ports answer what a canary says first, whether they are those of one address or of all.
func TestCanariesAreAnswered(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"127.0.0.1", "0.0.0.0", ""} {
		conf := configv1alpha1.Default()
		conf.Membership.Source = configv1alpha1.SourceStandalone
		conf.Listen = configv1alpha1.Listen{Address: address}
		s, err := New(Options{Config: conf, Version: "test", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, c := range s.canaries {
			if err := c.exchange(t.Context()); err != nil {
				t.Errorf("listening on %q, asked %q: %v", address, c.hello, err)
			}
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
