package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	configv1alpha1 "github.com/muster-registry/muster/api/config/v1alpha1"
	"github.com/muster-registry/muster/registry/server"
	"github.com/muster-registry/muster/test/bench/limit"
)

// serveLimit is the process of a limit.
func serveLimit(ctx context.Context, args []string, _, errs io.Writer) error {
	fs := flag.NewFlagSet("bench limit", flag.ContinueOnError)
	fs.SetOutput(errs)
	rpc := fs.String("grpc", "127.0.0.1:0", "`host:port` for gRPC")
	web := fs.String("http", "127.0.0.1:0", "`host:port` for HTTP")
	answer := fs.String("answer", "", "`file` with the body of each answer")
	var o limit.Options
	fs.StringVar(&o.ContentType, "content-type", "", "its type over HTTP")
	fs.StringVar(&o.Next, "next", "", "`host:port` to relay to")
	fs.BoolVar(&o.Small, "small", false, "small buffers")
	if err := fs.Parse(args); err != nil {
		return err
	}
	var err error
	if o.Answer, err = os.ReadFile(*answer); err != nil {
		return fmt.Errorf("-answer: %w", err)
	}
	grpcListener, err := net.Listen("tcp", *rpc)
	if err != nil {
		return fmt.Errorf("-grpc: %w", err)
	}
	webListener, err := net.Listen("tcp", *web)
	if err != nil {
		return fmt.Errorf("-http: %w", err)
	}
	s, err := limit.New(o)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, s.Stop)
	defer stop()
	return s.Serve(grpcListener, webListener)
}

// serveMember is a member as cmd/registry runs it, that writes profiles: from SIGUSR1 on or from the start, when it is ended.
func serveMember(ctx context.Context, args []string, _, errs io.Writer) error {
	fs := flag.NewFlagSet("bench member", flag.ContinueOnError)
	fs.SetOutput(errs)
	file := fs.String("config", "", "`file` with its configuration")
	dir := fs.String("profiles", "", "`directory` for the profiles")
	start := fs.Bool("from-start", false, "profiles are from the start on")
	if err := fs.Parse(args); err != nil {
		return err
	}
	data, err := os.ReadFile(*file)
	if err != nil {
		return fmt.Errorf("-config: %w", err)
	}
	config, err := configv1alpha1.Parse(data)
	if err != nil {
		return fmt.Errorf("-config: %w", err)
	}
	begin := make(chan os.Signal, 1)
	signal.Notify(begin, syscall.SIGUSR1)
	defer signal.Stop(begin)
	if *start {
		begin <- syscall.SIGUSR1
	}
	log := slog.New(slog.NewTextHandler(errs, nil))
	s, err := server.New(server.Options{Config: config, Log: log, Metrics: prometheus.NewRegistry()})
	if err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	select {
	case <-begin:
		err = writeProfiles(ctx, *dir)
	case <-ctx.Done():
		select {
		case <-begin: // both came at once
			err = writeProfiles(ctx, *dir)
		default:
		}
	}
	stopping, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.Stop(stopping) // clients are connected: it does not matter how it ends
	return err
}

// writeProfiles looks until ctx ends: at the CPU, at what is allocated meanwhile, and at waiting for locks.
func writeProfiles(ctx context.Context, dir string) (err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	cpu, err := os.Create(filepath.Join(dir, "cpu.pprof"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cpu.Close()) }()
	runtime.SetMutexProfileFraction(10)
	if err := write(dir, "allocs-before"); err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return err
	}
	<-ctx.Done()
	pprof.StopCPUProfile()
	return errors.Join(write(dir, "allocs"), write(dir, "mutex"))
}

func write(dir, name string) error {
	f, err := os.Create(filepath.Join(dir, name+".pprof"))
	if err != nil {
		return err
	}
	kind := name
	if name == "allocs-before" {
		kind = "allocs"
	}
	return errors.Join(pprof.Lookup(kind).WriteTo(f, 0), f.Close())
}
