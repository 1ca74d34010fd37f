package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/muster-registry/muster/hack/lab/build"
	"github.com/muster-registry/muster/hack/lab/check"
	"github.com/muster-registry/muster/hack/lab/cluster"
	"github.com/muster-registry/muster/hack/lab/fault"
	"github.com/muster-registry/muster/hack/lab/layout"
	"github.com/muster-registry/muster/hack/lab/node"
)

// nodeCommand is what a node's first process is started with, and nobody types.
const nodeCommand = "node"

func runNode(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return usagef("%s: started by `lab up`, with the path of its spec", nodeCommand)
	}
	return node.Run(ctx, args[0])
}

// defaultNodes is how many a new lab gets when nobody says: enough to crash one and have a pair left.
const defaultNodes = 3

func up(ctx context.Context, p program, args []string) error {
	flags := newFlags("up")
	nodes := flags.Int("nodes", 0, "how many nodes; node1 carries the control plane")
	if err := parse(flags, args, 0); err != nil {
		return err
	}
	if *nodes < 0 || *nodes > layout.MaxNodes {
		return usagef("--nodes %d: a lab has 1 to %d nodes", *nodes, layout.MaxNodes)
	}
	lab, err := openAsRoot(p)
	if err != nil {
		return err
	}
	if *nodes == 0 {
		*nodes = cmp.Or(len(lab.Nodes()), defaultNodes)
	}
	if err := lab.InstallPackages(ctx); err != nil {
		return err
	}
	builder, err := build.New(p.getenv, p.out)
	if err != nil {
		return err
	}
	if err := builder.Build(ctx, build.Everything); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return lab.Up(ctx, cluster.UpOptions{Nodes: *nodes, Self: self, Artifact: builder.Path})
}

func down(ctx context.Context, p program, args []string) error {
	if err := parse(newFlags("down"), args, 0); err != nil {
		return err
	}
	lab, err := openAsRoot(p)
	if err != nil {
		return err
	}
	return lab.Down(ctx)
}

func load(ctx context.Context, p program, args []string) error {
	if len(args) == 0 {
		return usagef("load: which images? lab load IMAGE.tar...")
	}
	lab, err := openAsRoot(p)
	if err != nil {
		return err
	}
	return lab.Load(ctx, args...)
}

func kubeconfig(_ context.Context, p program, args []string) error {
	if err := parse(newFlags("kubeconfig"), args, 0); err != nil {
		return err
	}
	lab, err := open(p)
	if err != nil {
		return err
	}
	if len(lab.Nodes()) == 0 {
		return cluster.ErrDown
	}
	_, err = fmt.Fprintln(p.out, lab.Config().Kubeconfig())
	return err
}

func execute(ctx context.Context, p program, args []string) error {
	if len(args) > 1 {
		args = slices.Concat(args[:1], slices.DeleteFunc(slices.Clone(args[1:2]), func(a string) bool { return a == "--" }), args[2:])
	}
	if len(args) < 2 {
		return usagef("exec: lab exec NODE [--] CMD...")
	}
	n, err := layout.NodeIndex(args[0])
	if err != nil {
		return usagef("exec: %v", err)
	}
	lab, err := openAsRoot(p)
	if err != nil {
		return err
	}
	cmd, err := lab.Command(ctx, n, args[1:]...)
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, p.out, p.err
	return cmd.Run()
}

func buildAll(ctx context.Context, p program, args []string) error {
	flags := newFlags("build")
	only := flags.String("only", "", "build only a part: envtest")
	if err := parse(flags, args, 0); err != nil {
		return err
	}
	set, err := build.ParseSet(*only)
	if err != nil {
		return usagef("build %v", err)
	}
	builder, err := build.New(p.getenv, p.out)
	if err != nil {
		return err
	}
	return builder.Build(ctx, set)
}

func assets(_ context.Context, p program, args []string) error {
	if err := parse(newFlags("assets"), args, 0); err != nil {
		return err
	}
	builder, err := build.New(p.getenv, p.err)
	if err != nil {
		return err
	}
	dir, err := builder.Assets()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.out, dir)
	return err
}

func deps(ctx context.Context, p program, args []string) error {
	if err := parse(newFlags("deps"), args, 0); err != nil {
		return err
	}
	lab, err := openAsRoot(p)
	if err != nil {
		return err
	}
	return lab.InstallPackages(ctx)
}

func status(ctx context.Context, p program, args []string) error {
	if err := parse(newFlags("status"), args, 0); err != nil {
		return err
	}
	lab, err := open(p)
	if err != nil {
		return err
	}
	nodes, err := lab.Status(ctx)
	if err != nil {
		return err
	}
	if len(nodes) == 0 {
		return cluster.ErrDown
	}
	if err := printNodes(p.out, nodes); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		injector, err := fault.New(lab)
		if err != nil {
			return err
		}
		faults, err := injector.List(ctx)
		if err != nil {
			return err
		}
		for _, f := range faults {
			fmt.Fprintln(p.out, "fault:", f)
		}
	}
	fmt.Fprintf(p.out, "kubeconfig: %s\nlogs: %s\n", lab.Config().Kubeconfig(), lab.Config().Path("log"))
	return nil
}

func printNodes(w io.Writer, nodes []cluster.NodeStatus) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tADDRESS\tPID\tPHASE\tREADY\tCOMPONENTS")
	for _, n := range nodes {
		pid, phase := fmt.Sprint(n.PID), n.Node.Phase
		if !n.Running {
			pid, phase = "-", "crashed"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", n.Name, n.Address, pid, phase, n.Ready, components(n.Node.Components))
	}
	return t.Flush()
}

// components names them, and says of each what is unusual.
func components(list []node.ComponentStatus) string {
	var texts []string
	for _, c := range list {
		text := c.Name
		switch {
		case c.Stopped:
			text += " (stopped)"
		case !c.Running:
			text += " (down)"
		}
		if c.Restarts > 0 {
			text += fmt.Sprintf(" (restarted %dx)", c.Restarts)
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}

func runCheck(ctx context.Context, p program, args []string) error {
	if err := parse(newFlags("check"), args, 0); err != nil {
		return err
	}
	lab, err := openAsRoot(p)
	if err != nil {
		return err
	}
	builder, err := build.New(p.getenv, p.out)
	if err != nil {
		return err
	}
	if err := builder.Build(ctx, build.Everything); err != nil {
		return err
	}
	image, err := builder.Path("probe")
	if err != nil {
		return err
	}
	return check.Run(ctx, lab, image, p.out)
}

func open(p program) (*cluster.Lab, error) { return cluster.Open(p.getenv, p.out) }

func openAsRoot(p program) (*cluster.Lab, error) {
	if err := cluster.CheckUser(); err != nil {
		return nil, err
	}
	return open(p)
}

func newFlags(name string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	return f
}

// parse parses flags, before, after and between a fixed number of arguments.
func parse(f *flag.FlagSet, args []string, want int) error {
	var rest []string
	for {
		if err := f.Parse(args); err != nil {
			return usagef("%s: %v", f.Name(), err)
		}
		if f.NArg() == 0 {
			break
		}
		rest, args = append(rest, f.Arg(0)), f.Args()[1:]
	}
	if len(rest) != want {
		return usagef("%s: %d arguments wanted, not %d: %q", f.Name(), want, len(rest), rest)
	}
	return f.Parse(append([]string{"--"}, rest...))
}
