package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/muster-registry/muster/registry/member"
	nacosgrpc "github.com/muster-registry/muster/registry/nacos/grpc"
	nacoshttp "github.com/muster-registry/muster/registry/nacos/http"
	"github.com/muster-registry/muster/registry/session"
)

// Server is one registry process.
type Server struct {
	opts   Options
	log    *slog.Logger
	runner *member.Runner
	// canaries ask the client ports.
	canaries []*canary
	addr     Addresses
	failed   chan error // size 1
	work     sync.WaitGroup

	mu       sync.Mutex // guards cleanups
	cleanups []cleanup
}

// cleanup takes one part down. They run in the reverse order of the start.
type cleanup struct {
	name string
	run  func(context.Context) error
}

// Addresses are where a started server listens. Peers is nil for a member without any.
type Addresses struct{ HTTP, GRPC, Peers, Admin net.Addr }

// New checks the options. It opens nothing yet.
func New(o Options) (*Server, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	return &Server{opts: o, log: o.Log, failed: make(chan error, 1)}, nil
}

// Start opens the ports and lets the member run. When it fails, all that was started is taken down again; its error is
// one line. What fails later comes from Failed.
func (s *Server) Start(ctx context.Context) error {
	if err := s.start(); err != nil {
		return errors.Join(err, s.Stop(ctx))
	}
	return nil
}

func (s *Server) start() error {
	l := s.opts.Config.Listen
	admin, err := listen(l.Address, l.AdminPort, "listen.adminPort", "--admin-port")
	if err != nil {
		return err
	}
	s.onStop("admin listener", closing(admin))
	http, grpc, err := listenClients(l)
	if err != nil {
		return err
	}
	s.onStop("client listeners", closing(http, grpc))
	s.addr = Addresses{HTTP: http.Addr(), GRPC: grpc.Addr(), Admin: admin.Addr()}

	source, policy, err := s.opts.source(func() session.BrakeState { return s.runner.Protection() })
	if err != nil {
		return err
	}
	self, err := s.opts.self(portOf(http))
	if err != nil {
		return err
	}
	s.canaries = []*canary{newCanary(http.Addr(), helloHTTP), newCanary(grpc.Addr(), helloGRPC)}
	s.runner = member.NewRunner(member.RunnerOptions{
		Self: self, ClusterUID: s.opts.Config.ClusterUID, Policy: policy, Source: source, Timeouts: s.opts.timeouts(),
		DrainGrace: s.opts.Config.Timeouts.DrainGrace.Duration, Probing: s.opts.probing(), MovesPerSecond: s.opts.movesPerSecond(), Log: s.log,
		ReplicationFactor: s.opts.Config.ReplicationFactor, Waited: s.waited,
	})
	if err := s.registerMetrics(); err != nil {
		return err
	}
	s.serveAdmin(admin)
	if err := s.run(); err != nil {
		return err
	}
	return s.serveClients(http, grpc)
}

// run starts the streams and the member.
func (s *Server) run() error {
	links, err := s.startPeers()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	s.spawn("member", func() error {
		defer close(done)
		return s.runner.Run(ctx, links)
	})
	s.onStop("member", func(ctx context.Context) error {
		cancel()
		return wait(ctx, done)
	})
	return nil
}

func (s *Server) serveClients(httpListener, grpcListener net.Listener) error {
	http, err := nacoshttp.New(nacoshttp.Options{
		Core: s.runner, Log: s.log, Registerer: s.opts.Metrics, Standalone: s.opts.alone(),
	})
	if err != nil {
		return fmt.Errorf("serve Nacos HTTP: %w", err)
	}
	s.spawn("http listener", func() error { return http.Serve(httpListener) })
	s.onStop("http", http.Stop)
	grpc := nacosgrpc.New(nacosgrpc.Options{Core: s.runner, Log: s.log, Registerer: s.opts.Metrics})
	s.spawn("grpc listener", func() error { return grpc.Serve(grpcListener) })
	s.onStop("grpc", grpc.Stop)
	ctx, cancel := context.WithCancel(context.Background())
	for _, c := range s.canaries {
		s.spawn("canary", func() error { c.run(ctx); return nil })
	}
	s.onStop("canaries", func(context.Context) error { cancel(); return nil })
	return nil
}

// waited is how long clients wait at most for an answer.
func (s *Server) waited() (longest time.Duration) {
	for _, c := range s.canaries {
		longest = max(longest, c.waited())
	}
	return longest
}

func (s *Server) registerMetrics() error {
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "muster_server_build_info", Help: "1, with the version of the program.",
	}, []string{"version"})
	build.WithLabelValues(s.opts.Version).Set(1)
	for _, c := range []prometheus.Collector{
		build, newCollector(s.runner),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := s.opts.Metrics.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

// spawn runs a part in a goroutine of its own, which its cleanup ends and Stop waits for.
func (s *Server) spawn(name string, run func() error) {
	s.work.Go(func() {
		pprof.Do(context.Background(), pprof.Labels("goroutine", "server "+name), func(context.Context) {
			if err := run(); err != nil {
				select {
				case s.failed <- err:
				default: // the first failure is the one that counts
				}
			}
		})
	})
}

func (s *Server) onStop(name string, run func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, cleanup{name, run})
}

// Failed gives the error of a part that has ended by itself: the server is of no use any more.
func (s *Server) Failed() <-chan error { return s.failed }

// Addr is where the server listens, once started.
func (s *Server) Addr() Addresses { return s.addr }

// Member is the member that runs, once started.
func (s *Server) Member() *member.Runner { return s.runner }

// Drain makes the member leave, and returns when it may stop.
func (s *Server) Drain(ctx context.Context) error { return s.runner.Drain(ctx) }

// Stop ends everything at once, in the reverse order of the start; without a Drain before it, peers and clients see a
// crash. It waits until ctx ends.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	cleanups := s.cleanups
	s.cleanups = nil
	s.mu.Unlock()
	var errs []error
	for i := len(cleanups) - 1; i >= 0; i-- {
		if err := cleanups[i].run(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", cleanups[i].name, err))
		}
		s.log.Debug("part stopped", "part", cleanups[i].name)
	}
	done := make(chan struct{})
	go func() {
		s.work.Wait()
		close(done)
	}()
	return errors.Join(append(errs, wait(ctx, done))...)
}

// closing closes listeners, which their server may have done already.
func closing(listeners ...net.Listener) func(context.Context) error {
	return func(context.Context) error {
		for _, l := range listeners {
			_ = l.Close()
		}
		return nil
	}
}

func wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
