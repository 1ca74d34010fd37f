package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/muster-registry/muster/hack/lab/fault"
)

// faultCommand is one fault, or the end of one.
type faultCommand struct {
	name string
	args string
	help string
	run  func(ctx context.Context, i *fault.Injector, a faultArgs) error
}

// faultArgs are a fault's arguments, read.
type faultArgs struct {
	names     []string
	pods      []fault.Pod // the same arguments, for the faults that take pods
	container string
	oneWay    bool
}

func faultCommands() []faultCommand {
	type args = faultArgs
	type injector = *fault.Injector
	return []faultCommand{
		{"cut-pod", "POD", "drop all traffic of a pod", func(c context.Context, i injector, a args) error { return i.CutPod(c, a.pods[0]) }},
		{"heal-pod", "POD", "end that", func(c context.Context, i injector, a args) error { return i.HealPod(c, a.pods[0]) }},
		{"cut-pair", "POD POD [--one-way]", "drop what two pods send to each other; one way: what the first sends", cutPair},
		{"heal-pair", "POD POD", "end that", func(c context.Context, i injector, a args) error { return i.HealPair(c, a.pods[0], a.pods[1]) }},
		{"cut-api", "POD", "drop what a pod and the API server send to each other", func(c context.Context, i injector, a args) error { return i.CutAPI(c, a.pods[0]) }},
		{"heal-api", "POD", "end that", func(c context.Context, i injector, a args) error { return i.HealAPI(c, a.pods[0]) }},
		{"cut-node", "NODE", "cut a node off", func(c context.Context, i injector, a args) error { return i.CutNode(c, a.names[0]) }},
		{"heal-node", "NODE", "end that", func(c context.Context, i injector, a args) error { return i.HealNode(c, a.names[0]) }},
		{"freeze", "POD [--container NAME]", "stop a container's processes where they are", func(c context.Context, i injector, a args) error { return i.Freeze(c, a.pods[0], a.container) }},
		{"resume", "POD [--container NAME]", "end that", func(c context.Context, i injector, a args) error { return i.Resume(c, a.pods[0], a.container) }},
		{"kill", "POD [--container NAME]", "SIGKILL a container's process", func(c context.Context, i injector, a args) error { return i.Kill(c, a.pods[0], a.container) }},
		{"crash", "NODE", "end a node as a power cut would", func(c context.Context, i injector, a args) error { return i.CrashNode(c, a.names[0]) }},
		{"rejoin", "NODE", "start it again, with empty disks", func(c context.Context, i injector, a args) error { return i.RejoinNode(c, a.names[0]) }},
		{"stop-api", "", "kill the API server and keep it down", func(c context.Context, i injector, _ args) error { return i.StopAPI(c) }},
		{"start-api", "", "end that", func(c context.Context, i injector, _ args) error { return i.StartAPI(c) }},
		{"heal-all", "", "end every fault and rejoin every node", func(c context.Context, i injector, _ args) error { return i.HealAll(c) }},
	}
}

func cutPair(ctx context.Context, i *fault.Injector, a faultArgs) error {
	if a.oneWay {
		return i.CutOneWay(ctx, a.pods[0], a.pods[1])
	}
	return i.CutPair(ctx, a.pods[0], a.pods[1])
}

func runFault(ctx context.Context, p program, args []string) error {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		return faultUsage(p.out)
	}
	var c faultCommand
	for _, candidate := range faultCommands() {
		if candidate.name == args[0] {
			c = candidate
		}
	}
	if c.run == nil && args[0] != "list" {
		return usagef("there is no fault %q: see `lab fault help`", args[0])
	}
	a, err := parseFault(c, args[1:])
	if err != nil {
		return err
	}
	lab, err := openAsRoot(p)
	if err != nil {
		return err
	}
	injector, err := fault.New(lab)
	if err != nil {
		return err
	}
	if c.run != nil {
		return c.run(ctx, injector, a)
	}
	faults, err := injector.List(ctx)
	for _, f := range faults {
		fmt.Fprintln(p.out, f)
	}
	return err
}

// parseFault reads what the command's usage line promises: as many arguments as it has words in capitals.
func parseFault(c faultCommand, args []string) (faultArgs, error) {
	var a faultArgs
	flags := newFlags("fault " + c.name)
	takes, pods := 0, false
	for _, word := range strings.Fields(c.args) {
		switch word {
		case "POD":
			takes, pods = takes+1, true
		case "NODE":
			takes++
		case "[--container":
			flags.StringVar(&a.container, "container", "", "which, when the pod has several")
		case "[--one-way]":
			flags.BoolVar(&a.oneWay, "one-way", false, "only from the first to the second")
		}
	}
	if err := parse(flags, args, takes); err != nil {
		return a, err
	}
	a.names = flags.Args()
	if !pods {
		return a, nil
	}
	for _, name := range a.names {
		pod, err := fault.ParsePod(name)
		if err != nil {
			return a, usagef("%s: %v", flags.Name(), err)
		}
		a.pods = append(a.pods, pod)
	}
	return a, nil
}

func faultUsage(w io.Writer) error {
	fmt.Fprint(w, "Usage: go run ./hack/lab fault KIND; POD is NAME or NAMESPACE/NAME\n\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range append(faultCommands(), faultCommand{name: "list", help: "what is broken now"}) {
		fmt.Fprintf(t, "  %s %s\t%s\n", c.name, c.args, c.help)
	}
	return t.Flush()
}
