// The registry is one member: it serves Nacos clients and talks to the other members. Without a flag and without a file
// it starts alone on the usual ports.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	configv1alpha1 "github.com/muster-registry/muster/api/config/v1alpha1"
	"github.com/muster-registry/muster/registry/server"
)

// version is set by the build.
var version = "dev"

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // it could not start, or stopped by itself
	exitUsage  = 2 // a flag or the configuration is wrong
)

// stopLimit is how long the parts may take to end when all is handed over.
const stopLimit = 5 * time.Second

const usage = `Usage: registry [flags]            serve (standalone without flags)
       registry drain [flags]      make the member on this host leave, and wait until it may stop
       registry peer-keys DIR...   make a key for members by file, and put it into each directory
       registry version

Flags:
`

func main() { os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr)) }

func run(args []string, getenv func(string) string, out, errOut io.Writer) int {
	command := "serve"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	switch command {
	case "serve":
		return serve(args, getenv, errOut)
	case "drain":
		return drain(args, out, errOut)
	case "peer-keys":
		return peerKeys(args, out, errOut)
	case "version":
		fmt.Fprintln(out, version)
		return exitOK
	}
	return failed(errOut, exitUsage, fmt.Errorf("%q is no command: there are serve, drain, peer-keys and version", command))
}

// failed says what and how to mend it, in one line.
func failed(errOut io.Writer, code int, err error) int {
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	fmt.Fprintln(errOut, "registry: "+strings.ReplaceAll(err.Error(), "\n", "; "))
	return code
}

func serve(args []string, getenv func(string) string, errOut io.Writer) int {
	config, err := parse(args, errOut)
	if err != nil {
		return failed(errOut, exitUsage, err)
	}
	log := newLog(errOut, config.LogLevel)
	s, err := server.New(server.Options{
		Config: config, Pod: server.PodFrom(getenv), Version: version, Log: log, Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		return failed(errOut, exitUsage, err)
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := s.Start(ctx); err != nil {
		return failed(errOut, exitFailed, err)
	}
	started(log, s, config)
	select {
	case err = <-s.Failed():
	case <-signals:
		err = leave(ctx, s, signals)
	}
	stopping, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	if err != nil {
		_ = s.Stop(stopping) // what failed first is what counts
		return failed(errOut, exitFailed, err)
	}
	if err := s.Stop(stopping); err != nil {
		log.Warn("stopped with something left", "error", err)
	}
	return exitOK
}

// leave drains. A second signal is an order to stop at once.
func leave(ctx context.Context, s *server.Server, signals <-chan os.Signal) error {
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(ctx) }()
	select {
	case err := <-drained:
		return err
	case err := <-s.Failed():
		return err
	case <-signals:
		return errors.New("stopped before it had handed over: a second signal came")
	}
}

func started(log *slog.Logger, s *server.Server, c configv1alpha1.ServerConfig) {
	a := s.Addr()
	log.Info("registry started", "version", version, "incarnation", s.Member().Self().Incarnation, "membership", c.Membership.Source,
		"http", a.HTTP.String(), "grpc", a.GRPC.String(), "admin", a.Admin.String())
	if c.Membership.Source == configv1alpha1.SourceStandalone {
		log.Warn("standalone: nothing is written to disk and no other member holds a copy; after a restart the list fills " +
			"again as clients register, and is answered when they have")
	}
}

// newLog writes for people on a terminal, and JSON elsewhere.
func newLog(w io.Writer, level string) *slog.Logger {
	var l slog.Level
	_ = l.UnmarshalText([]byte(level)) // validated
	o := &slog.HandlerOptions{Level: l}
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return slog.New(slog.NewTextHandler(w, o))
		}
	}
	return slog.New(slog.NewJSONHandler(w, o))
}
