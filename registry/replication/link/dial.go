package link

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/muster-registry/muster/registry/membership/peerkey"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
	pb "github.com/muster-registry/muster/registry/replication/peerpb"
)

const (
	dialLimit  = 3 * time.Second
	minBackoff = 100 * time.Millisecond
	maxBackoff = 2 * time.Second
)

// dialer keeps one address connected.
type dialer struct {
	link    *Link
	address string
	// last is who answered there: it may be reached under another address as well.
	last    model.Incarnation
	failure string // the last one that was logged
}

// loop dials whenever there is no stream with the member at the address, until ctx ends.
func (d *dialer) loop(ctx context.Context) {
	backoff := minBackoff
	for ctx.Err() == nil {
		if found, changed := d.link.has(d.last, d.address); found {
			select {
			case <-ctx.Done():
			case <-changed:
			}
			continue
		}
		if d.connect(ctx) {
			backoff = minBackoff
		}
		wait := time.NewTimer(backoff/2 + rand.N(backoff/2))
		select {
		case <-ctx.Done():
		case <-wait.C:
		}
		wait.Stop()
		backoff = min(2*backoff, maxBackoff)
	}
}

// connect makes one attempt, and runs the stream that comes of it until it ends.
func (d *dialer) connect(ctx context.Context) (connected bool) {
	l := d.link
	sctx, cancel := context.WithCancelCause(l.ctx)
	defer cancel(nil)
	// A target that is dropped ends the attempt, but no stream.
	dropped := context.AfterFunc(ctx, func() { cancel(context.Canceled) })
	defer dropped()
	limit := time.AfterFunc(dialLimit, func() { cancel(errTimeout) })
	defer limit.Stop()

	a := &attempt{codec: newCodec(l.log)}
	s, err := d.greet(sctx, cancel, a)
	if a.conn != nil {
		defer a.conn.Close()
	}
	if err == nil {
		dropped()
		limit.Stop()
		l.o.Handler.Dialled(d.address, replication.DialConnected)
		d.failure = ""
		err = l.exchange(s)
		connected = !errors.Is(err, errDuplicate) && !errors.Is(err, errUnwanted)
		return connected
	}
	if ctx.Err() == nil {
		o := a.outcome(sctx, err)
		if o != replication.DialConnected {
			d.report(o, err)
		}
		l.o.Handler.Dialled(d.address, o)
	}
	return false
}

// report logs a failure once, and again when it changes.
func (d *dialer) report(o replication.Dial, err error) {
	if err.Error() == d.failure {
		return
	}
	d.failure = err.Error()
	d.link.log.Warn("peer cannot be reached", "address", d.address, "outcome", o.String(), "error", err)
}

// greet is the dialling side of the handshake: hello, hello, ready. It says ready only while there is no other stream
// with that peer: then both sides agree on which one of two is meant.
func (d *dialer) greet(ctx context.Context, cancel context.CancelCauseFunc, a *attempt) (*stream, error) {
	l := d.link
	g, err := a.open(ctx, l.o.KeyDir, d.address)
	if err != nil {
		return nil, err
	}
	s := newStream(ctx, cancel, g, true)
	s.finish = func() { _ = g.CloseSend() }
	s.self, s.round = l.hello()
	if err := s.Send(encodeHello(s.self)); err != nil {
		_, err = s.Recv() // the reason is there
		return nil, receiveError(err)
	}
	f, err := s.Recv()
	if err != nil {
		return nil, receiveError(err)
	}
	if f.GetHello() == nil {
		return nil, errors.New("the first message is no hello")
	}
	if s.peer, err = decodeHello(f.GetHello()); err != nil {
		return nil, err
	}
	if err := l.o.Handler.Admit(s.peer); err != nil {
		return nil, err
	}
	d.last = s.peer.Member.Incarnation
	if found, _ := l.has(d.last, ""); found {
		return nil, errDuplicate
	}
	return s, s.Send(&pb.Frame{Kind: &pb.Frame_Ready{Ready: &pb.Ready{}}})
}

// attempt remembers how far an attempt to connect came.
type attempt struct {
	codec   codec
	conn    *grpc.ClientConn
	refused atomic.Bool
	reached atomic.Bool
}

func (a *attempt) open(ctx context.Context, keyDir, address string) (grpc.BidiStreamingClient[pb.Frame, pb.Frame], error) {
	config, err := peerkey.ClientTLS(keyDir)
	if err != nil {
		a.reached.Store(true) // it is our own key that is missing: no word about the peer
		return nil, err
	}
	a.conn, err = grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(credentials.NewTLS(config)), grpc.WithContextDialer(a.dial),
		grpc.WithNoProxy(), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithMaxHeaderListSize(maxHeaders),
		grpc.WithStaticStreamWindowSize(window), grpc.WithStaticConnWindowSize(window),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(a.codec), grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)))
	if err != nil {
		return nil, err
	}
	return pb.NewPeersClient(a.conn).Exchange(ctx)
}

func (a *attempt) dial(ctx context.Context, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialLimit}
	c, err := dialer.DialContext(ctx, "tcp", address)
	switch {
	case err == nil:
		a.reached.Store(true)
	case errors.Is(err, syscall.ECONNREFUSED):
		a.refused.Store(true)
	}
	return c, err
}

// outcome says what a failed attempt tells of the address.
func (a *attempt) outcome(ctx context.Context, err error) replication.Dial {
	switch {
	case errors.Is(err, errDuplicate):
		return replication.DialConnected
	case a.refused.Load():
		return replication.DialRefused
	case !a.reached.Load(), errors.Is(context.Cause(ctx), errTimeout):
		return replication.DialSilent
	}
	return replication.DialRejected
}
