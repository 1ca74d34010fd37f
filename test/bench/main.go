// Command bench measures what a member costs beside what its transports cost alone, and beside another registry. Servers
// and generator are processes of their own; `make bench` runs it and docs/performance.md tells what it measures.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
)

const usage = `Usage: bench [flags]           measure the registry against its physical limits
       bench peers [flags]     measure it against another registry
       bench profile [flags]   write profiles of its hot paths
       bench limit, member     the servers that are measured; started by the above

Flags:
`

func main() { os.Exit(program(os.Args[1:])) }

func program(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, args, os.Stdout, os.Stderr)
}

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	command := ""
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		command, args = args[0], args[1:]
	}
	do, known := map[string]func(context.Context, []string, io.Writer, io.Writer) error{
		"": measure, "peers": comparePeers, "profile": profile, "limit": serveLimit, "member": serveMember,
	}[command]
	if !known {
		fmt.Fprintf(errs, "bench: %q is no command\n", command)
		return 2
	}
	err := do(ctx, args, out, errs)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case ctx.Err() != nil:
		return 130
	}
	fmt.Fprintln(errs, "bench:", err)
	return 1
}

// options are the flags of what measures.
type options struct {
	size     string
	rounds   int
	only     string
	registry string
	peer     string
	work     string
	docs     string
	profiles string
}

func parse(args []string, errs io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(errs)
	fs.Usage = func() {
		fmt.Fprint(errs, usage)
		fs.PrintDefaults()
	}
	fs.StringVar(&o.size, "size", "full", "full, or short for a few minutes: it shows that all works, its figures are coarse")
	fs.IntVar(&o.rounds, "rounds", 0, "rounds of everything; 0 = as many as the size has")
	fs.StringVar(&o.only, "only", "", "`regexp` of the rows to measure; all when empty")
	fs.StringVar(&o.registry, "registry", "bin/registry", "`program` that is measured")
	fs.StringVar(&o.peer, "peer", "", "`program` of r-nacos, for peers")
	fs.StringVar(&o.work, "work", "", "`directory` for logs and data; a temporary one when empty")
	fs.StringVar(&o.docs, "docs", "", "`file` whose table is replaced; printed only when empty")
	fs.StringVar(&o.profiles, "profiles", "dist/profiles", "`directory` for profiles")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("%q is no flag", fs.Arg(0))
	}
	return o, nil
}

// bench is one run.
type bench struct {
	options
	size size
	rows *regexp.Regexp
	self string // this program, which is the limits too
	work string // an existing directory
	say  io.Writer
	runs int // servers started so far
}

// newBench prepares a run; clean removes what it leaves.
func newBench(args []string, errs io.Writer) (b *bench, clean func(), err error) {
	o, err := parse(args, errs)
	if err != nil {
		return nil, nil, err
	}
	b = &bench{options: o, say: errs, work: o.work}
	clean = func() {}
	if b.size, err = sizeOf(o.size); err != nil {
		return nil, nil, err
	}
	if o.rounds > 0 {
		b.size.rounds = o.rounds
	}
	if b.rows, err = regexp.Compile("(?i)" + o.only); err != nil {
		return nil, nil, fmt.Errorf("-only: %w", err)
	}
	if b.self, err = os.Executable(); err != nil {
		return nil, nil, err
	}
	if b.registry, err = filepath.Abs(o.registry); err != nil {
		return nil, nil, err
	}
	if b.work != "" {
		return b, clean, os.MkdirAll(b.work, 0o750)
	}
	if b.work, err = os.MkdirTemp("", "muster-bench"); err != nil {
		return nil, nil, err
	}
	return b, func() { os.RemoveAll(b.work) }, nil
}

// measure is the table of the limits.
func measure(ctx context.Context, args []string, out, errs io.Writer) error {
	b, clean, err := newBench(args, errs)
	if err != nil {
		return err
	}
	defer clean()
	about, err := machine()
	if err != nil {
		return err
	}
	t := table{head: []string{"what", "limit", "at the limit", "Muster", "ratio", "to reach", ""}, about: about, size: b.size}
	groups := []struct {
		name string
		run  func(context.Context) ([]row, error)
	}{
		{"grpc register", b.grpcRegister},
		{"grpc query", b.grpcQuery},
		{"http register", b.httpRegister},
		{"http beat", b.httpBeat},
		{"http query", b.httpQuery},
		{"push idle", b.pushIdle},
		{"push fan-out", b.pushFanOut},
		{"memory connection", b.memoryConnection},
		{"memory instance", b.memoryInstance},
		{"memory given back", b.memoryGivenBack},
		{"cluster shares", b.clusterShares},
		{"cluster crowd", b.clusterCrowd},
	}
	var failures []error
	for _, g := range groups {
		if !b.rows.MatchString(g.name) || ctx.Err() != nil {
			continue
		}
		b.tell("%s", g.name)
		rows, err := g.run(ctx)
		if err != nil { // the others have nothing to do with it
			b.tell("  %v", err)
			failures = append(failures, fmt.Errorf("%s: %w", g.name, err))
		}
		for _, r := range rows {
			b.tell("  %s: %s at the limit, %s here, ratio %s", r.what, r.limit, r.value, r.ratio)
			t.add(r.what, r.against, r.limit, r.value, r.ratio, r.target, r.verdict())
		}
	}
	return t.publish(out, b.docs, "bench", errors.Join(failures...))
}

// tell says how far it is.
func (b *bench) tell(format string, args ...any) { fmt.Fprintf(b.say, format+"\n", args...) }
