// Package helm runs the Helm that is pinned in hack/tools, for the demo and the tests. A user's own Helm, its plug-ins
// and its repositories have no say.
package helm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Runner runs Helm in one place.
type Runner struct {
	Root       string // top of the repository
	Kubeconfig string // of the cluster; "" = none, for what needs no cluster
}

// Error is a run that failed, with what Helm said.
type Error struct {
	Args   []string
	Stderr string
	Err    error
}

func (e *Error) Error() string {
	return fmt.Sprintf("helm %s: %v: %s", strings.Join(e.Args, " "), e.Err, strings.TrimSpace(e.Stderr))
}

func (e *Error) Unwrap() error { return e.Err }

// Run returns what Helm prints.
func (r Runner) Run(ctx context.Context, args ...string) (string, error) {
	home, err := os.MkdirTemp("", "muster-helm-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(home)
	cmd := exec.CommandContext(ctx, "go", append([]string{"tool", "-modfile=hack/tools/go.mod", "helm"}, args...)...)
	cmd.Dir = r.Root
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home, "KUBECONFIG="+r.Kubeconfig)
	var out, failure bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failure
	if err := cmd.Run(); err != nil {
		return out.String(), &Error{Args: args, Stderr: failure.String(), Err: err}
	}
	return out.String(), nil
}
