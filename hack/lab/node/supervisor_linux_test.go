package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-registry/muster/hack/lab/poll"
)

// supervised starts a supervisor as the first process of a node runs it, control socket and all, without the namespaces. The
// reaper takes every child of the test binary, so no test here may use os/exec.
func supervised(t *testing.T) (*supervisor, Client, Spec) {
	t.Helper()
	run := t.TempDir()
	spec := Spec{Name: "node1", Run: run, Logs: run, Env: []string{"PATH=/usr/bin:/bin"}}
	s := newSupervisor(spec)
	s.pause = 0
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.reap(t.Context())
	}()
	t.Cleanup(func() { <-ended })
	if err := serveControl(spec, s); err != nil {
		t.Fatal(err)
	}
	return s, Dial(run), spec
}

// until waits for a component to be as it should.
func until(t *testing.T, c Client, name string, want func(ComponentStatus) bool) ComponentStatus {
	t.Helper()
	var got ComponentStatus
	err := poll.Until(t.Context(), 20*time.Second, func(ctx context.Context) error {
		status, err := c.Status(ctx)
		if err != nil {
			return err
		}
		for _, got = range status.Components {
			if got.Name == name && want(got) {
				return nil
			}
		}
		return fmt.Errorf("it is %+v", status)
	})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return got
}

// TestSupervisor is one test, because the reaper is one to a process.
func TestSupervisor(t *testing.T) {
	s, client, spec := supervised(t)

	t.Run("a component that ends is started again", func(t *testing.T) {
		if err := s.start(Component{"short", []string{"sh", "-c", "echo started"}}); err != nil {
			t.Fatal(err)
		}
		until(t, client, "short", func(c ComponentStatus) bool { return c.Restarts >= 2 })
		log, err := os.ReadFile(filepath.Join(spec.Logs, "short.log"))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(log), "started\n"); n < 2 {
			t.Errorf("%d lines in its log, want one a start: %q", n, log)
		}
		if err := client.Stop(t.Context(), "short"); err != nil {
			t.Fatal(err)
		}
	})

	t.Run("a component that is stopped stays down until it is started", func(t *testing.T) {
		if err := s.start(Component{"long", []string{"sleep", "1000"}}); err != nil {
			t.Fatal(err)
		}
		until(t, client, "long", func(c ComponentStatus) bool { return c.Running })
		if err := client.Stop(t.Context(), "long"); err != nil {
			t.Fatal(err)
		}
		got := until(t, client, "long", func(c ComponentStatus) bool { return !c.Running })
		if diff := cmp.Diff(ComponentStatus{Name: "long", Stopped: true}, got); diff != "" {
			t.Errorf("stopped (-want +got):\n%s", diff)
		}
		if err := client.Stop(t.Context(), "long"); err != nil {
			t.Errorf("stopped twice: %v", err)
		}
		for range 2 { // the second finds it running
			if err := client.Start(t.Context(), "long"); err != nil {
				t.Fatal(err)
			}
		}
		got = until(t, client, "long", func(c ComponentStatus) bool { return c.Running })
		if diff := cmp.Diff(ComponentStatus{Name: "long", Running: true}, got); diff != "" {
			t.Errorf("started again (-want +got):\n%s", diff)
		}
		if err := client.Stop(t.Context(), "long"); err != nil {
			t.Fatal(err)
		}
	})

	t.Run("a command's failure is told", func(t *testing.T) {
		if err := s.run(Component{"ok", []string{"true"}}); err != nil {
			t.Error(err)
		}
		if err := s.run(Component{"bad", []string{"sh", "-c", "exit 7"}}); err == nil || !strings.Contains(err.Error(), "exit status 7") {
			t.Errorf("error %v, want exit status 7", err)
		}
		if err := s.run(Component{"none", []string{"no-such-program"}}); !errors.Is(err, os.ErrNotExist) && (err == nil || !strings.Contains(err.Error(), "no-such-program")) {
			t.Errorf("error %v, want that there is no such program", err)
		}
	})

	t.Run("an unknown component is an error", func(t *testing.T) {
		for _, call := range []func(context.Context, string) error{client.Stop, client.Start} {
			if err := call(t.Context(), "nothing"); err == nil || !strings.Contains(err.Error(), `node1 has no component "nothing"`) {
				t.Errorf("error %v, want that there is no such component", err)
			}
		}
	})

	t.Run("the phase is told", func(t *testing.T) {
		s.setPhase(PhaseRunning)
		if status, err := client.Status(t.Context()); err != nil || status.Phase != PhaseRunning {
			t.Errorf("phase %q, %v, want %q", status.Phase, err, PhaseRunning)
		}
	})
}
