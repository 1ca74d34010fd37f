package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-registry/muster/hack/lab/cluster"
	"github.com/muster-registry/muster/hack/lab/fault"
	"github.com/muster-registry/muster/hack/lab/node"
)

// lab runs one command line with a state folder of the test's, and returns its status and what it printed.
func lab(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	dir := t.TempDir()
	var files [2]*os.File
	for i, name := range []string{"out", "err"} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files[i] = f
	}
	env := map[string]string{"MUSTER_LAB_STATE": filepath.Join(dir, "state"), "MUSTER_CACHE": filepath.Join(dir, "cache")}
	code = run(t.Context(), args, program{getenv: func(name string) string { return env[name] }, out: files[0], err: files[1]})
	var texts [2]string
	for i, f := range files {
		b, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(b)
	}
	return code, texts[0], texts[1]
}

func TestWrongCommandLines(t *testing.T) {
	cases := map[string]string{
		"lift":                         `no command "lift"`,
		"up now":                       "up: 0 arguments wanted, not 1",
		"up --node 3":                  "up: flag provided but not defined: -node",
		"up --nodes many":              "up: invalid value",
		"up --nodes 10":                "--nodes 10: a lab has 1 to 9 nodes",
		"up --nodes -1":                "a lab has 1 to 9 nodes",
		"build --only kubelet":         `--only "kubelet"`,
		"load":                         "which images?",
		"exec node1":                   "lab exec NODE [--] CMD",
		"exec node1 --":                "lab exec NODE [--] CMD",
		"exec web true":                `node "web": nodes are called node1 to node9`,
		"down --force":                 "flag provided but not defined",
		"fault explode":                `no fault "explode"`,
		"fault cut-pod":                "fault cut-pod: 1 arguments wanted, not 0",
		"fault cut-pair a":             "fault cut-pair: 2 arguments wanted, not 1",
		"fault cut-pod a/b/c":          `pod "a/b/c": want NAME or NAMESPACE/NAME`,
		"fault kill a --one-way":       "flag provided but not defined: -one-way",
		"fault stop-api node1":         "fault stop-api: 0 arguments wanted",
		"fault list everything":        "0 arguments wanted, not 1",
		"node":                         "started by `lab up`",
		"fault cut-pair a --one-way b": "", // flags may stand anywhere: it goes on to look for a lab
	}
	for line, want := range cases {
		t.Run(line, func(t *testing.T) {
			code, _, errs := lab(t, strings.Fields(line)...)
			if want == "" {
				if code != 1 {
					t.Errorf("status %d, %s: want 1, there is no lab", code, errs)
				}
				return
			}
			if code != 2 || !strings.Contains(errs, want) || strings.Count(errs, "\n") != 1 {
				t.Errorf("status %d and %q, want 2 and one line with %q", code, errs, want)
			}
		})
	}
}

func TestWithoutALab(t *testing.T) {
	for line, want := range map[string]string{
		"status": "the lab is not up", "kubeconfig": "the lab is not up", "assets": "build --only envtest",
	} {
		t.Run(line, func(t *testing.T) {
			code, out, errs := lab(t, line)
			if code != 1 || !strings.Contains(errs, want) || out != "" {
				t.Errorf("status %d, out %q, err %q, want 1, nothing and %q", code, out, errs, want)
			}
		})
	}
}

func TestHelpNamesEveryCommand(t *testing.T) {
	code, out, _ := lab(t, "help")
	if code != 0 {
		t.Errorf("status %d", code)
	}
	for _, c := range commands() {
		if !strings.Contains(out, "\n  "+c.name+" ") {
			t.Errorf("help does not name %s:\n%s", c.name, out)
		}
	}
	if code, out, _ = lab(t, "fault", "help"); code != 0 {
		t.Errorf("status %d", code)
	}
	for _, c := range faultCommands() {
		if !strings.Contains(out, "\n  "+c.name+" ") {
			t.Errorf("fault help does not name %s:\n%s", c.name, out)
		}
	}
}

func TestParseFault(t *testing.T) {
	web := fault.Pod{Namespace: "default", Name: "web"}
	db := fault.Pod{Namespace: "prod", Name: "db"}
	cases := map[string]faultArgs{
		"cut-pair web prod/db --one-way": {names: []string{"web", "prod/db"}, pods: []fault.Pod{web, db}, oneWay: true},
		"cut-pair web prod/db":           {names: []string{"web", "prod/db"}, pods: []fault.Pod{web, db}},
		"freeze --container app prod/db": {names: []string{"prod/db"}, pods: []fault.Pod{db}, container: "app"},
		"kill prod/db --container=app":   {names: []string{"prod/db"}, pods: []fault.Pod{db}, container: "app"},
		"crash node3":                    {names: []string{"node3"}},
		"heal-all":                       {names: []string{}},
	}
	for line, want := range cases {
		t.Run(line, func(t *testing.T) {
			words := strings.Fields(line)
			for _, c := range faultCommands() {
				if c.name != words[0] {
					continue
				}
				got, err := parseFault(c, words[1:])
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got, cmp.AllowUnexported(faultArgs{})); diff != "" {
					t.Error(diff)
				}
				return
			}
			t.Error("there is no such fault")
		})
	}
}

// Scripts run programs in nodes with lab exec: their status must come through.
func TestReportPassesOnAProgramsStatus(t *testing.T) {
	exit := exec.Command("sh", "-c", "exit 7").Run()
	for name, c := range map[string]struct {
		err  error
		want int
		text string
	}{
		"success":          {nil, 0, ""},
		"a program's":      {fmt.Errorf("node1: %w", exit), 7, ""},
		"the caller's":     {usagef("what?"), 2, "lab: what?\n"},
		"anything else":    {errors.New("no"), 1, "lab: no\n"},
		"an ended context": {context.Canceled, 1, "lab: context canceled\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if got := report(&b, c.err); got != c.want || b.String() != c.text {
				t.Errorf("status %d and %q, want %d and %q", got, b.String(), c.want, c.text)
			}
		})
	}
}

func TestStatusTable(t *testing.T) {
	var b bytes.Buffer
	err := printNodes(&b, []cluster.NodeStatus{
		{Name: "node1", Address: "10.123.0.11", Running: true, PID: 42, Ready: "yes", Node: node.Status{Phase: "running", Components: []node.ComponentStatus{
			{Name: "etcd", Running: true}, {Name: "kube-apiserver", Stopped: true}, {Name: "kubelet", Restarts: 2},
		}}},
		{Name: "node2", Address: "10.123.0.12", Ready: "no"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `NODE   ADDRESS      PID  PHASE    READY  COMPONENTS
node1  10.123.0.11  42   running  yes    etcd, kube-apiserver (stopped), kubelet (down) (restarted 2x)
node2  10.123.0.12  -    crashed  no     ` + "\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}
