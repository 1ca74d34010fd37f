// Package cluster brings the lab up and takes it down: a real Kubernetes whose nodes are namespaces of this machine. It acts on
// what package layout decides. Package fault breaks what runs; tests use both.
package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/muster-registry/muster/hack/lab/layout"
	"github.com/muster-registry/muster/hack/lab/lock"
	"github.com/muster-registry/muster/hack/lab/node"
)

// ErrDown says that no lab runs in the state folder.
var ErrDown = errors.New("the lab is not up: run `make lab-up` or `go run ./hack/lab up` first")

// Lab is one local Kubernetes, running or not. Its methods need root, apart from Status.
type Lab struct {
	cfg layout.Config
	out io.Writer
}

// Open returns the lab of the state folder that the environment names, with the ranges that it was made with. What it does is told
// to out.
func Open(getenv func(string) string, out io.Writer) (*Lab, error) {
	cfg, err := layout.FromEnv(getenv)
	if err != nil {
		return nil, err
	}
	made, err := layout.Load(cfg.State)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return &Lab{cfg: cfg, out: out}, nil
	case err != nil:
		return nil, err
	case getenv(layout.EnvNodes)+getenv(layout.EnvPods)+getenv(layout.EnvServices) != "" && made != cfg:
		return nil, fmt.Errorf("the lab in %s was made with other ranges (%s, %s, %s): take it down without these settings first",
			cfg.State, made.Nodes, made.Pods, made.Services)
	}
	return &Lab{cfg: made, out: out}, nil
}

// Config is where everything of the lab is.
func (l *Lab) Config() layout.Config { return l.cfg }

// Nodes are the numbers of the nodes that the lab has, whether they run or not.
func (l *Lab) Nodes() []int {
	var nodes []int
	for i := 1; i <= layout.MaxNodes; i++ {
		if _, err := os.Stat(l.specPath(i)); err == nil {
			nodes = append(nodes, i)
		}
	}
	return nodes
}

// Running says whether node i's first process lives.
func (l *Lab) Running(i int) bool {
	p, err := readProcess(l.pidPath(i))
	return err == nil && p.alive()
}

// Control talks to node i's first process.
func (l *Lab) Control(i int) node.Client { return node.Dial(l.cfg.Run(i)) }

// Command prepares a command inside the namespaces of node i, with the node's PATH.
func (l *Lab) Command(ctx context.Context, i int, argv ...string) (*exec.Cmd, error) {
	p, err := readProcess(l.pidPath(i))
	if err != nil || !p.alive() {
		switch nodes := l.Nodes(); {
		case len(nodes) == 0:
			return nil, ErrDown
		case !slices.Contains(nodes, i):
			return nil, fmt.Errorf("the lab has no %s", layout.NodeName(i))
		}
		return nil, fmt.Errorf("%s does not run: `lab up` rejoins it", layout.NodeName(i))
	}
	spec, err := node.ReadSpec(l.specPath(i))
	if err != nil {
		return nil, err
	}
	args := append([]string{"-t", fmt.Sprint(p.PID), "-m", "-n", "-p", "-u", "-i", "--"}, argv...)
	cmd := exec.CommandContext(ctx, "nsenter", args...)
	cmd.Env = append(os.Environ(), spec.Env...)
	return cmd, nil
}

// Output runs a command inside node i, with stdin as its input, and returns what it prints.
func (l *Lab) Output(ctx context.Context, i int, stdin string, argv ...string) (string, error) {
	cmd, err := l.Command(ctx, i, argv...)
	if err != nil {
		return "", err
	}
	cmd.Stdin = strings.NewReader(stdin)
	out, err := output(cmd)
	if err != nil {
		return "", fmt.Errorf("%s: %w", layout.NodeName(i), err)
	}
	return out, nil
}

// locked runs do while no other command changes the lab.
func (l *Lab) locked(ctx context.Context, do func() error) error {
	if err := os.MkdirAll(l.cfg.State, 0o755); err != nil {
		return err
	}
	release, err := lock.Acquire(ctx, l.cfg.Path(layout.LockFile), func() { l.say("another lab command runs: waiting for it") })
	if err != nil {
		return err
	}
	defer release()
	return do()
}

func (l *Lab) say(format string, args ...any) { fmt.Fprintf(l.out, format+"\n", args...) }

func (l *Lab) specPath(i int) string { return l.cfg.Path("conf", layout.NodeName(i), "spec.json") }
func (l *Lab) pidPath(i int) string  { return l.cfg.Run(i, "pid.json") }

// output runs a command; its error holds what it said.
func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(stderr.String()+stdout.String()))
	}
	return stdout.String(), nil
}

func run(ctx context.Context, stdin string, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	return output(cmd)
}
