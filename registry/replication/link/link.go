package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/pprof"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/muster-registry/muster/registry/membership/peerkey"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
	pb "github.com/muster-registry/muster/registry/replication/peerpb"
)

const (
	// maxMessage bounds what is taken in and sent as one message.
	maxMessage = 64 << 20
	// maxHeaders bounds the headers of a request: ours have a few hundred bytes.
	maxHeaders = 8 << 10
	// handshakeLimit bounds TLS and the hellos, each.
	handshakeLimit = 5 * time.Second
	// defaultPing is how often a side shows that it lives; after maxQuiet of them without a sign the other is down.
	defaultPing = time.Second
	maxQuiet    = 5
	// defaultGather is how long what is to be sent is gathered after something was: a frame costs both sides more than a
	// record in it. While changes keep coming, and nothing else, it becomes longer, up to so many times as long.
	defaultGather   = 3 * time.Millisecond
	maxGatherFactor = 4
	// window is how much of a stream may be on its way. It is fixed: finding out the best one costs a ping a frame.
	window = 4 << 20
)

// Options make a Link.
type Options struct {
	// Listen is the host:port of the peer port; port 0 takes a free one.
	Listen string
	// KeyDir holds tls.crt, tls.key and trusted.pem, and is read again at every handshake.
	KeyDir  string
	Handler Handler
	Log     *slog.Logger
	// Ping is for tests; 0 = one second.
	Ping time.Duration
	// Gather is for tests; 0 = a few milliseconds.
	Gather time.Duration
}

// Link is the peer port of one member and its connections to the others. Safe for concurrent use.
type Link struct {
	o        Options
	log      *slog.Logger
	listener net.Listener
	server   *grpc.Server

	ctx      context.Context // ends all streams at once
	cancel   context.CancelFunc
	stopping context.Context // ends when the streams shall send what they have and end
	stop     context.CancelFunc
	work     sync.WaitGroup
	open     sync.WaitGroup // streams

	mu      sync.Mutex // guards all below
	stopped bool
	streams map[model.Incarnation]*stream
	dialers map[string]context.CancelFunc
	changed chan struct{} // closed and made anew whenever streams changes
	round   int           // of Reconnect: a handshake that began before the last one is void
}

// New makes a Link that is not started.
func New(o Options) *Link {
	if o.Ping == 0 {
		o.Ping = defaultPing
	}
	if o.Gather == 0 {
		o.Gather = defaultGather
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := &Link{
		o: o, log: o.Log, changed: make(chan struct{}),
		streams: map[model.Incarnation]*stream{}, dialers: map[string]context.CancelFunc{},
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.stopping, l.stop = context.WithCancel(l.ctx)
	return l
}

// Start listens and serves.
func (l *Link) Start() error {
	if _, err := peerkey.Load(l.o.KeyDir); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", l.o.Listen)
	if err != nil {
		return fmt.Errorf("listen for peers: %w", err)
	}
	l.listener = listener
	l.server = grpc.NewServer(
		grpc.ForceServerCodecV2(newCodec(l.log)), grpc.Creds(credentials.NewTLS(peerkey.ServerTLS(l.o.KeyDir))),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage), grpc.MaxHeaderListSize(maxHeaders),
		grpc.StaticStreamWindowSize(window), grpc.StaticConnWindowSize(window),
		grpc.ConnectionTimeout(handshakeLimit), grpc.MaxConcurrentStreams(4),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 2 * handshakeLimit}),
	)
	pb.RegisterPeersServer(l.server, &acceptor{link: l})
	l.run("peer listener", func() {
		if err := l.server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			l.log.Error("peer port stopped", "error", err)
		}
	})
	l.run("peer watchdog", l.watch)
	return nil
}

// Addr is where peers are accepted, once started.
func (l *Link) Addr() net.Addr { return l.listener.Addr() }

// SetTargets says which addresses to dial. A stream with one that is not named any more goes on until it ends.
func (l *Link) SetTargets(addresses []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	wanted := map[string]bool{}
	for _, a := range addresses {
		wanted[a] = true
		if l.dialers[a] == nil {
			ctx, cancel := context.WithCancel(l.ctx)
			l.dialers[a] = cancel
			d := &dialer{link: l, address: a}
			l.run("peer dialer", func() { d.loop(ctx) })
		}
	}
	for a, cancel := range l.dialers {
		if !wanted[a] {
			cancel()
			delete(l.dialers, a)
		}
	}
}

// Reconnect ends all streams, so that the handshake is done again: this member has a new incarnation.
func (l *Link) Reconnect() {
	l.mu.Lock()
	l.round++
	l.mu.Unlock()
	for _, s := range l.snapshot() {
		s.cancel(errReconnect)
	}
}

// Stop sends what is still to be sent, ends all streams and waits for every goroutine. When ctx ends it waits for no
// peer any more.
func (l *Link) Stop(ctx context.Context) {
	l.mu.Lock()
	if l.stopped {
		l.mu.Unlock()
		return
	}
	l.stopped = true
	for _, cancel := range l.dialers {
		cancel()
	}
	l.mu.Unlock()
	l.stop()

	abort := context.AfterFunc(ctx, func() {
		l.cancel()
		if l.server != nil {
			l.server.Stop()
		}
	})
	defer abort()
	if l.server != nil {
		l.server.GracefulStop()
	}
	l.open.Wait()
	l.cancel()
	l.work.Wait()
}

// run starts a goroutine that Stop waits for.
func (l *Link) run(name string, f func()) {
	l.work.Go(func() {
		pprof.Do(l.ctx, pprof.Labels("loop", name), func(context.Context) { f() })
	})
}

// watch ends streams from which nothing comes. It counts its own ticks and no time: while this process was paused
// nothing could come either (R4).
func (l *Link) watch() {
	tick := time.NewTicker(l.o.Ping)
	defer tick.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-tick.C:
		}
		for _, s := range l.snapshot() {
			if s.waiting.Load() && s.quiet.Add(1) > maxQuiet {
				s.cancel(errSilent)
			}
		}
	}
}

// hello is what this member says of itself, and the round in which it says so.
func (l *Link) hello() (replication.Hello, int) {
	l.mu.Lock()
	round := l.round
	l.mu.Unlock()
	return l.o.Handler.Hello(), round
}

func (l *Link) snapshot() []*stream {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]*stream, 0, len(l.streams))
	for _, s := range l.streams {
		out = append(out, s)
	}
	return out
}
