package conformance

import (
	"context"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	configv1alpha1 "github.com/muster-registry/muster/api/config/v1alpha1"
	"github.com/muster-registry/muster/registry/server"
)

// patience ends a test that waits for what does not come; it decides nothing else.
const patience = 60 * time.Second

// config is that of a standalone registry on free ports of loopback that answers reads from its start.
func config() configv1alpha1.ServerConfig {
	c := configv1alpha1.Default()
	c.Listen = configv1alpha1.Listen{Address: "127.0.0.1", PeerPort: c.Listen.PeerPort}
	c.Timeouts.ColdStartQuiet.Duration, c.Timeouts.ColdStartLimit.Duration = 0, 0
	c.Protection.Enabled = false // nearly nobody of those who register here ever beats: it would hold them all back
	return c
}

// start runs a registry until the test ends, and waits until it answers reads.
func start(t *testing.T, c configv1alpha1.ServerConfig) *server.Server {
	t.Helper()
	s := startClosed(t, c)
	waitFor(t, "reads to open", s.Member().ReadsOpen)
	return s
}

// startClosed does not wait for that.
func startClosed(t *testing.T, c configv1alpha1.ServerConfig) *server.Server {
	t.Helper()
	level := slog.LevelError
	if testing.Verbose() {
		level = slog.LevelDebug
	}
	s, err := server.New(server.Options{
		Config: c, Metrics: prometheus.NewRegistry(), Version: "test",
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

// stop is no drain: peers and clients see a crash. Stopping twice is nothing.
func stop(t *testing.T, s *server.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func portOf(a net.Addr) int {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.Port
	}
	return 0
}

func waitFor(t *testing.T, what string, reached func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !reached(); {
		if time.Now().After(end) {
			t.Fatalf("waited for %s", what)
		}
		if err := Pause(t.Context(), 0.01); err != nil {
			t.Fatal(err)
		}
	}
}
