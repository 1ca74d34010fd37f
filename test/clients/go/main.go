// Command muster-client drives the real nacos-sdk-go: as a provider, as a consumer, or by commands that it reads as JSON
// lines. What happens is written to standard output as JSON lines. Tests, the demo and people use it; README.md says
// how.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: muster-client [flags] MODE

modes:
  provider   register, and stay registered until SIGTERM
  consumer   subscribe, and print every list until SIGTERM
  query      print the lists of the services once
  list       print the names of the services of the group
  run        obey commands, one JSON object a line, until the input ends

flags:
`

func main() { os.Exit(exitCode(os.Args[1:])) }

func exitCode(args []string) int {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	switch err := run(ctx, args, os.Stdin, os.Stdout, os.Stderr); {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp), errors.Is(err, errUsage):
		return 2
	default:
		fmt.Fprintln(os.Stderr, "muster-client:", err)
		return 1
	}
}

var errUsage = errors.New("wrong usage")

// run is main without the process around it.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) error {
	o, mode, err := parse(args, errs)
	if err != nil {
		return err
	}
	events := newEvents(out)
	d, err := newDriver(o, events, errs)
	if err != nil {
		return err
	}
	defer d.close()
	switch mode {
	case "provider":
		return d.provide(ctx)
	case "consumer":
		return d.consume(ctx)
	case "query":
		return d.once(command{Do: "query"})
	case "list":
		return d.once(command{Do: "list"})
	default:
		return d.obey(ctx, in)
	}
}
