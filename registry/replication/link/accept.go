package link

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/muster-registry/muster/registry/replication/peerpb"
)

// acceptor is the serving side of the peer port.
type acceptor struct {
	pb.UnimplementedPeersServer
	link *Link
}

// Exchange serves one stream. The work is done beside it, because only by returning a server ends a stream whose
// sender or receiver is blocked.
func (a *acceptor) Exchange(g grpc.BidiStreamingServer[pb.Frame, pb.Frame]) error {
	l := a.link
	ctx, cancel := context.WithCancelCause(g.Context())
	stop := context.AfterFunc(l.ctx, func() { cancel(errStopping) })
	defer stop()
	s := newStream(ctx, cancel, g, false)
	s.finish = func() { cancel(errStopping) }
	l.run("peer receiver", func() { cancel(l.serve(s)) })
	<-ctx.Done()
	return status.Error(codes.FailedPrecondition, context.Cause(ctx).Error())
}

func (l *Link) serve(s *stream) error {
	limit := time.AfterFunc(handshakeLimit, func() { s.cancel(errTimeout) })
	defer limit.Stop()
	stopped := context.AfterFunc(l.stopping, func() { s.cancel(errStopping) })
	defer stopped()
	if err := l.greet(s); err != nil {
		log := l.log.With("member", s.peer.Member.Name, "address", s.peer.Member.Address, "reason", err)
		if errors.Is(err, io.EOF) || errors.Is(context.Cause(s.ctx), context.Canceled) { // where two dial each other, one gives up
			log.Debug("peer ended the handshake")
		} else {
			log.Warn("peer is refused")
		}
		return err
	}
	limit.Stop()
	stopped()
	return l.exchange(s)
}

// greet is the accepting side of the handshake: hello, hello, ready.
func (l *Link) greet(s *stream) error {
	f, err := s.Recv()
	if err != nil {
		return err
	}
	if f.GetHello() == nil {
		return errors.New("the first message is no hello")
	}
	if s.peer, err = decodeHello(f.GetHello()); err != nil {
		return err
	}
	if err := l.o.Handler.Admit(s.peer); err != nil {
		return err
	}
	s.self, s.round = l.hello()
	if err := s.Send(encodeHello(s.self)); err != nil {
		return err
	}
	if f, err = s.Recv(); err != nil {
		return err
	}
	if f.GetReady() == nil {
		return errors.New("the second message is no ready")
	}
	return nil
}
