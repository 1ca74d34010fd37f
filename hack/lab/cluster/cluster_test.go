package cluster

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-registry/muster/hack/lab/layout"
)

// stateFolder is the environment of a lab in a folder of the test's.
func stateFolder(t *testing.T) func(string) string {
	t.Helper()
	state := t.TempDir()
	return func(name string) string {
		if name == layout.EnvState {
			return state
		}
		return ""
	}
}

// withNodes writes what a lab with those nodes has, none of which runs.
func withNodes(t *testing.T, nodes ...int) *Lab {
	t.Helper()
	l, err := Open(stateFolder(t), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.cfg.Save(); err != nil {
		t.Fatal(err)
	}
	for _, i := range nodes {
		if err := os.MkdirAll(filepath.Dir(l.specPath(i)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(l.specPath(i), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func TestWantedNodesNeverGoAway(t *testing.T) {
	cases := map[string]struct {
		have []int
		ask  int
		want []int
	}{
		"a new lab":            {nil, 3, []int{1, 2, 3}},
		"the same again":       {[]int{1, 2, 3}, 3, []int{1, 2, 3}},
		"more":                 {[]int{1, 2}, 3, []int{1, 2, 3}},
		"fewer":                {[]int{1, 2, 3}, 1, []int{1, 2, 3}},
		"an up that was ended": {[]int{1, 3}, 2, []int{1, 2, 3}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, withNodes(t, c.have...).wanted(c.ask)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOpenRemembersTheRanges(t *testing.T) {
	env := stateFolder(t)
	custom := func(name string) string {
		if name == layout.EnvPods {
			return "10.200.0.0/16"
		}
		return env(name)
	}
	l, err := Open(custom, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.cfg.Save(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(env, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if got := again.Config().Pods.String(); got != "10.200.0.0/16" {
		t.Errorf("pods in %s, want what the lab was made with", got)
	}
	other := func(name string) string { return strings.Replace(custom(name), "10.200", "10.201", 1) }
	if _, err := Open(other, io.Discard); err == nil || !strings.Contains(err.Error(), "other ranges") {
		t.Errorf("other ranges for a lab that is up: %v", err)
	}
}

func TestWhatNeedsARunningNodeSaysSo(t *testing.T) {
	down, err := Open(stateFolder(t), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := down.Command(t.Context(), 1, "true"); !errors.Is(err, ErrDown) {
		t.Errorf("Command without a lab: %v", err)
	}
	if err := down.Load(t.Context(), "x.tar"); !errors.Is(err, ErrDown) {
		t.Errorf("Load without a lab: %v", err)
	}
	crashed := withNodes(t, 1, 2)
	for node, want := range map[int]string{2: "node2 does not run", 3: "the lab has no node3"} {
		if _, err := crashed.Command(t.Context(), node, "true"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Command: %v, want %q", err, want)
		}
	}
	if err := crashed.CrashNode(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "control plane") {
		t.Errorf("crash of node1: %v", err)
	}
}

// After a rejoin the API still holds what the kubelet said before the crash.
func TestReadyMeansSaidSinceTheStart(t *testing.T) {
	start := time.Date(2026, 1, 1, 12, 0, 10, 700e6, time.UTC)
	cases := map[string]struct {
		kind, status string
		heartbeat    time.Time
		want         bool
	}{
		"said after the start":        {"Ready", "True", start.Add(time.Second), true},
		"said in the same second":     {"Ready", "True", start.Truncate(time.Second), true},
		"said before the crash":       {"Ready", "True", start.Add(-2 * time.Second), false},
		"not ready":                   {"Ready", "False", start.Add(time.Second), false},
		"another condition":           {"DiskPressure", "True", start.Add(time.Second), false},
		"unknown to the API's keeper": {"Ready", "Unknown", start.Add(time.Second), false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var r readiness
			r.Status.Conditions = append(r.Status.Conditions, struct {
				Type              string    `json:"type"`
				Status            string    `json:"status"`
				LastHeartbeatTime time.Time `json:"lastHeartbeatTime"`
			}{c.kind, c.status, c.heartbeat})
			if got := r.ready(start); got != c.want {
				t.Errorf("ready = %v, want %v", got, c.want)
			}
		})
	}
}

func TestInstallReplacesARunningProgram(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "new"), filepath.Join(dir, "lab")
	for path, text := range map[string]string{from: "new", to: "old"} {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	old, err := os.Open(to)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := install(from, to); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(old); err != nil || string(b) != "old" {
		t.Errorf("who has it open reads %q, %v: it was overwritten, not replaced", b, err)
	}
	b, err := os.ReadFile(to)
	if err != nil || string(b) != "new" {
		t.Errorf("installed %q, %v", b, err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("%d files, want the two", len(entries))
	}
}
