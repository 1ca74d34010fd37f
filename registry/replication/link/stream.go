package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
	pb "github.com/muster-registry/muster/registry/replication/peerpb"
)

// Why a stream ends, where that is nobody's fault.
var (
	errDuplicate = errors.New("there is a stream with this peer already")
	errReplaced  = errors.New("another stream with this peer took its place")
	errReconnect = errors.New("this member has a new incarnation")
	errSilent    = errors.New("nothing came from the peer")
	errStopping  = errors.New("this member stops")
	errUnwanted  = errors.New("the member does not want this peer now")
	errTimeout   = errors.New("the handshake took too long")
)

// frames is what both ends of a gRPC stream have in common.
type frames interface {
	Send(*pb.Frame) error
	Recv() (*pb.Frame, error)
	// SendMsg and RecvMsg are for what comes after the handshake: *replication.Message, *incoming.
	SendMsg(any) error
	RecvMsg(any) error
}

// stream is one stream with one peer.
type stream struct {
	frames
	ctx    context.Context
	cancel context.CancelCauseFunc
	// finish ends the sending direction when all is sent.
	finish func()

	self, peer replication.Hello
	round      int // of self
	// dialled: this side did.
	dialled bool

	quiet   atomic.Int32 // ticks of the watchdog since something came
	waiting atomic.Bool  // in Recv: a slow receiver of ours is not the peer's silence
	done    chan struct{}
}

func newStream(ctx context.Context, cancel context.CancelCauseFunc, f frames, dialled bool) *stream {
	return &stream{frames: f, ctx: ctx, cancel: cancel, dialled: dialled, done: make(chan struct{})}
}

// exchange runs an admitted stream until it ends.
func (l *Link) exchange(s *stream) error {
	old, err := l.register(s)
	if err != nil {
		return err
	}
	defer l.open.Done()
	defer l.unregister(s)
	if old != nil { // the handler never sees two streams of one peer
		old.cancel(errReplaced)
		<-old.done
	}
	peer := s.peer.Member
	wake, ok := l.o.Handler.PeerUp(peer)
	if !ok {
		return errUnwanted
	}
	l.log.Info("peer is connected", "member", peer.Name, "incarnation", peer.Incarnation, "address", peer.Address)
	defer l.o.Handler.PeerDown(peer.Incarnation)

	sent := make(chan struct{})
	l.run("peer sender", func() {
		defer close(sent)
		if err := l.sendAll(s, wake); err != nil {
			s.cancel(err)
		}
	})
	err = l.receiveAll(s)
	s.cancel(err)
	<-sent
	err = context.Cause(s.ctx)
	l.log.Info("peer is disconnected", "member", peer.Name, "incarnation", peer.Incarnation, "reason", err)
	return err
}

// register makes s the stream of its peer, and returns the one that it replaces.
func (l *Link) register(s *stream) (*stream, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return nil, errStopping
	}
	if l.round != s.round {
		return nil, errReconnect
	}
	peer := s.peer.Member.Incarnation
	old := l.streams[peer]
	if old != nil && !replaces(old, s) {
		return nil, errDuplicate
	}
	l.streams[peer] = s
	l.open.Add(1)
	l.announce()
	return old, nil
}

// replaces decides between two streams with one peer. A dialler says ready only while it has no other one: an older one
// that it dialled is stale. Where two cross, both sides keep the one dialled by the smaller incarnation.
func replaces(old, s *stream) bool {
	switch {
	case old.dialled == s.dialled:
		return !s.dialled
	case s.dialled:
		return s.self.Member.Incarnation < s.peer.Member.Incarnation
	}
	return s.peer.Member.Incarnation < s.self.Member.Incarnation
}

func (l *Link) unregister(s *stream) {
	l.mu.Lock()
	if l.streams[s.peer.Member.Incarnation] == s {
		delete(l.streams, s.peer.Member.Incarnation)
	}
	l.announce()
	l.mu.Unlock()
	close(s.done)
}

// announce wakes the dialers. Called with mu held.
func (l *Link) announce() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// has returns the stream with a peer, or one that reaches it at that address.
func (l *Link) has(peer model.Incarnation, address string) (found bool, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for inc, s := range l.streams {
		if inc == peer || s.peer.Member.Address == address {
			return true, l.changed
		}
	}
	return false, l.changed
}

func (l *Link) sendAll(s *stream, wake <-chan struct{}) error {
	ping := time.NewTicker(l.o.Ping)
	defer ping.Stop()
	moment := l.o.Gather
	for {
		idle, asked, err := l.flush(s)
		if err != nil {
			return err
		}
		if !idle {
			if asked {
				moment = l.o.Gather
			}
			l.gather(s, moment)
			if moment = min(2*moment, maxGatherFactor*l.o.Gather); len(wake) == 0 { // nothing came meanwhile
				moment = l.o.Gather
			}
		}
		select {
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		case <-wake:
		case <-ping.C:
			if idle {
				if err := s.Send(&pb.Frame{}); err != nil {
					return fmt.Errorf("send: %w", err)
				}
			}
		case <-l.stopping.Done():
			if _, _, err := l.flush(s); err != nil {
				return err
			}
			s.finish()
			return nil
		}
	}
}

// gather waits a moment after something was sent: what comes in a row travels together, and what comes alone at once.
func (l *Link) gather(s *stream, moment time.Duration) {
	over := time.NewTimer(moment)
	defer over.Stop()
	select {
	case <-over.C:
	case <-s.ctx.Done():
	case <-l.stopping.Done():
	}
}

// flush sends all there is to send; idle = there was nothing, asked = there was more than changes: somebody may wait for
// what comes next.
func (l *Link) flush(s *stream) (idle, asked bool, err error) {
	idle = true
	for s.ctx.Err() == nil {
		batch := l.o.Handler.Pull(s.peer.Member.Incarnation)
		if batch == nil {
			break
		}
		for i := range batch {
			if err := s.SendMsg(&batch[i]); err != nil {
				return false, false, fmt.Errorf("send: %w", err)
			}
			asked = asked || batch[i].Kind != replication.KindDelta && batch[i].Kind != replication.KindStatus
		}
		idle = false
	}
	return idle, asked, nil
}

// receiveAll returns why the stream ended. While a message is taken in the next one is read: of the records that a new
// member is sent reading takes half of the time.
func (l *Link) receiveAll(s *stream) (reason error) {
	ahead := make(chan replication.Message)
	l.run("peer reader", func() {
		defer close(ahead)
		reason = readAll(s, ahead)
	})
	for m := range ahead {
		l.o.Handler.Receive(s.peer.Member.Incarnation, m)
	}
	return reason
}

func readAll(s *stream, ahead chan<- replication.Message) error {
	in := incoming{texts: newInterner()}
	for {
		s.waiting.Store(true)
		err := s.RecvMsg(&in)
		s.waiting.Store(false)
		s.quiet.Store(0)
		switch {
		case errors.Is(err, io.EOF):
			return errors.New("the peer ended the stream")
		case err != nil:
			return receiveError(err)
		}
		if in.says {
			ahead <- in.message
		}
	}
}

// receiveError shows a reason that the peer gave as it is.
func receiveError(err error) error {
	if st, ok := status.FromError(err); ok && st.Code() == codes.FailedPrecondition {
		return fmt.Errorf("the peer says: %s", st.Message())
	}
	return fmt.Errorf("receive: %w", err)
}
