// Command demo shows the main job on a real Kubernetes: an operator, a registry of three members, a provider and
// consumers that use the real nacos-sdk-go, and what they see when the member that holds the registration dies.
// `make demo` runs it; docs/demo.md tells more. It fails when a consumer saw fewer instances than there were.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// options are the flags.
type options struct {
	version string // of the programs in the images
	push    string // where a cluster that is not the lab gets its images from
}

func parse(args []string, errs io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("demo", flag.ContinueOnError)
	fs.SetOutput(errs)
	fs.StringVar(&o.version, "version", "dev", "version that the programs report")
	fs.StringVar(&o.push, "push", "", "push the images to this `registry/path`, for a cluster of KUBECONFIG whose nodes pull from it")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: there are only flags", fs.Arg(0))
	}
	o.push = strings.TrimSuffix(o.push, "/")
	return o, nil
}

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	o, err := parse(args, errs)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(errs, "demo:", err)
		return 2
	}
	ctrl.SetLogger(logr.Discard()) // what goes wrong comes back as an error
	klog.SetLogger(logr.Discard())
	d := &demo{options: o, say: newTeller(out), feed: make(chan note, 64), ledger: newLedger(instances)}
	err = d.run(ctx)
	if err == nil {
		return 0
	}
	if ctx.Err() != nil {
		fmt.Fprintln(errs, "\ndemo: interrupted. What is up stays up: `make demo` carries on, `make lab-down` takes the lab down.")
		return 130
	}
	fmt.Fprintln(errs, "\ndemo:", err)
	return 1
}

// demo is one run.
type demo struct {
	options
	say  *teller
	kube *kube
	feed chan note // what the clients print

	images images
	ledger *ledger

	// What is heard before the line that it follows from is kept for a moment.
	holding bool
	kept    []string
}

func (d *demo) run(ctx context.Context) error {
	steps := []struct {
		title string
		do    func(context.Context) error
	}{
		{"Kubernetes", d.connect},
		{"Images", d.provideImages},
		{"Operator: chart muster in " + operatorNamespace, d.installOperator},
		{"Registry: chart muster-cluster in " + namespace, d.installRegistry},
		{"Clients: nacos-sdk-go in pods of their own", nil},
	}
	for _, step := range steps {
		d.say.title(step.title)
		if step.do == nil {
			break
		}
		if err := step.do(ctx); err != nil {
			return d.explain(ctx, err)
		}
	}
	if err := newStory(d).tell(ctx); err != nil {
		return d.explain(ctx, err)
	}
	d.lookAround()
	return nil
}
