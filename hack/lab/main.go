// Command lab is a real Kubernetes on one Linux machine, without Docker and without downloads of programs: everything is built
// from pinned Go modules, the container runtime comes from the distribution, and each node lives in its own namespaces. Run it
// as `go run ./hack/lab help`; docs/lab.md tells more.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], program{getenv: os.Getenv, out: os.Stdout, err: os.Stderr})
	cancel()
	os.Exit(code)
}

// program is what the commands get from outside.
type program struct {
	getenv   func(string) string
	out, err *os.File
}

// command is one thing that the lab does.
type command struct {
	name string
	args string
	help string
	run  func(ctx context.Context, p program, args []string) error
}

// errUsage marks errors of the caller's, which end with status 2.
var errUsage = errors.New("usage")

func usagef(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errUsage, fmt.Sprintf(format, args...))
}

func commands() []command {
	list := []command{
		{"up", "[--nodes 3]", "bring the lab up: packages, programs, nodes, DNS. Again: add nodes, rejoin crashed ones", up},
		{"down", "", "end everything and remove it, but for the cache of built programs", down},
		{"status", "", "nodes, components and faults", status},
		{"load", "IMAGE.tar...", "import images (docker save's format) into every node, also those that join later", load},
		{"kubeconfig", "", "print the path of the kubeconfig", kubeconfig},
		{"exec", "NODE [--] CMD...", "run a command inside a node: ctr, nft, ip, curl, ...", execute},
		{"fault", "KIND [ARGS]", "break something, or mend it: `lab fault help`", runFault},
		{"check", "", "prove that the lab works: pods, Services, DNS, and every fault (needs 3 nodes)", runCheck},
		{"build", "[--only envtest]", "build what is missing in the cache", buildAll},
		{"assets", "", "print the folder for KUBEBUILDER_ASSETS (after build --only envtest)", assets},
		{"deps", "", "install Debian's packages that are missing", deps},
	}
	return list
}

// run executes one command line and returns the exit status.
func run(ctx context.Context, args []string, p program) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		return report(p.err, usage(p.out))
	}
	if args[0] == nodeCommand {
		return report(p.err, runNode(ctx, args[1:]))
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return report(p.err, c.run(ctx, p, args[1:]))
		}
	}
	return report(p.err, usagef("there is no command %q: see `lab help`", args[0]))
}

// report prints an error, if any, and turns it into an exit status; a program that ran in a node passes its own on.
func report(w io.Writer, err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	case errors.Is(err, errUsage):
		fmt.Fprintln(w, "lab:", strings.TrimPrefix(err.Error(), errUsage.Error()+": "))
		return 2
	}
	fmt.Fprintln(w, "lab:", err)
	return 1
}

func usage(w io.Writer) error {
	fmt.Fprint(w, "A real Kubernetes on this machine. Usage: go run ./hack/lab COMMAND\n\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range commands() {
		fmt.Fprintf(t, "  %s %s\t%s\n", c.name, c.args, c.help)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprint(w, `
Settings are environment variables: MUSTER_LAB_STATE (default /var/lib/muster-lab), MUSTER_CACHE (default ~/.cache),
MUSTER_LAB_NODE_CIDR, MUSTER_LAB_POD_CIDR, MUSTER_LAB_SERVICE_CIDR. docs/lab.md tells more.
`)
	return err
}
