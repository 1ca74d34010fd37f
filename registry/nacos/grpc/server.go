package grpc

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/muster-registry/muster/registry/nacos/nacospb"
)

const (
	maxMessage = 10 << 20 // as the reference
	maxCalls   = 1024     // at once, on one transport
	// pingEvery is how often clients may ping, streams or not: Go and Python clients do so every 60 s (trap 1).
	pingEvery = 5 * time.Second
	// window is how much of requests may be on its way. It is fixed: finding out the best one costs a ping a request.
	window    = 1 << 20
	maxHeader = 64 << 10
	// setUpWithin is how long a stream may be without a setup, and what is accepted without a word of HTTP/2.
	setUpWithin = 10 * time.Second
	// transportWithin ends a transport on which there was no setup, whatever else is: calls whose message never comes
	// would hold it for ever. It must not touch one that was set up: unary calls would move to a new transport, and be
	// unregistered there.
	transportWithin = time.Minute
	// overtakenWithin is how long a call waits for the setup that went ahead of it. Clients wait 3 s for an answer.
	overtakenWithin = 2 * time.Second
	// leavingPause is how long a member that leaves lets those wait that would come to it, still connected where they were:
	// clients that list no other try again at once, hundreds of times a second (nacos-protocol §3.3). They give up after 3 s.
	leavingPause = 500 * time.Millisecond
	stuckAfter   = 30 * time.Second
)

// Options are what a Server needs.
type Options struct {
	Core Core
	Log  *slog.Logger
	// Registerer takes the metrics muster_grpc_....
	Registerer prometheus.Registerer
	// StuckAfter ends a connection whose client has not read for so long. 0 = 30 s.
	StuckAfter time.Duration
}

// Server serves Nacos clients over gRPC.
type Server struct {
	core       Core
	log        *slog.Logger
	metrics    *metrics
	rpc        *grpc.Server
	stuckAfter time.Duration

	mu       sync.Mutex // guards all below
	stopping bool
	streams  map[*clientStream]struct{}
}

// New makes a server and registers its metrics.
func New(o Options) *Server {
	m := newMetrics(o.Registerer)
	s := &Server{core: o.Core, log: o.Log, metrics: m, stuckAfter: o.StuckAfter, streams: map[*clientStream]struct{}{}}
	if s.stuckAfter == 0 {
		s.stuckAfter = stuckAfter
	}
	s.rpc = grpc.NewServer(
		grpc.ForceServerCodecV2(wireCodec{}),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(maxCalls),
		grpc.MaxHeaderListSize(maxHeader),
		grpc.ConnectionTimeout(setUpWithin),
		grpc.StaticStreamWindowSize(window), grpc.StaticConnWindowSize(window),
		grpc.ReadBufferSize(4<<10), // thousands of connections, mostly idle; buffers for writing are shared anyway
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingEvery, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
	)
	s.rpc.RegisterService(&requestService, s)
	s.rpc.RegisterService(&biStreamService, s)
	return s
}

// Serve answers on l until Stop, which is no error.
func (s *Server) Serve(l net.Listener) error {
	err := s.rpc.Serve(&listener{Listener: l, disconnect: s.disconnect, open: s.metrics.transports})
	if errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

// Stop ends all streams and waits for what is being answered, until ctx ends; then it closes what is left. It reports
// no connection as lost: it was not the client that ended it.
func (s *Server) Stop(ctx context.Context) error {
	for _, c := range s.refuseStreams() {
		c.interrupt()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.rpc.GracefulStop()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		s.rpc.Stop()
		<-done
		return ctx.Err()
	}
}

// refuseStreams lets no stream begin any more, and returns those that have.
func (s *Server) refuseStreams() []*clientStream {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	return slices.Collect(maps.Keys(s.streams))
}

// track notes a stream, unless the server is stopping.
func (s *Server) track(c *clientStream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopping {
		s.streams[c] = struct{}{}
	}
	return !s.stopping
}

func (s *Server) forget(c *clientStream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, c)
}

func (s *Server) disconnect(id string) {
	s.mu.Lock()
	stopping := s.stopping
	s.mu.Unlock()
	if !stopping {
		s.guarded("loss of a connection", func() { s.core.Disconnect(id) })
	}
}

// abandon notes that the connection ends by our doing.
func (s *Server) abandon(id string) {
	s.guarded("loss of a connection", func() { s.core.Abandon(id) })
}

// guarded does what one client asked for. It reports whether that ended in a panic, which is told to people here.
func (s *Server) guarded(what string, do func()) (panicked bool) {
	defer func() {
		if p := recover(); p != nil {
			panicked = true
			s.metrics.panics.Inc()
			s.log.Error("panic", "in", what, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	do()
	return false
}

// The services are described by hand, because generated ones can only send whole messages: see frame.
var (
	requestService = grpc.ServiceDesc{
		ServiceName: nacospb.Request_ServiceDesc.ServiceName,
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "request",
			Handler: func(srv any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				_ = growStack(0)
				return srv.(*Server).call(ctx, dec)
			},
		}},
	}
	biStreamService = grpc.ServiceDesc{
		ServiceName: nacospb.BiRequestStream_ServiceDesc.ServiceName,
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{
			StreamName:    "requestBiStream",
			Handler:       func(srv any, stream grpc.ServerStream) error { return srv.(*Server).biStream(stream) },
			ServerStreams: true,
			ClientStreams: true,
		}},
	}
)

// growStack makes the goroutine's stack grow here, where few frames have to be copied: gRPC would make it grow several calls
// further down. For that a call needs room for the array; it is never used.
//
//go:noinline
func growStack(used int) byte {
	if used == 0 {
		return 0
	}
	var array [4 << 10]byte
	array[used%len(array)] = 1
	return array[used/2%len(array)]
}
