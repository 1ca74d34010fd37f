package grpc

import (
	"context"
	"runtime/pprof"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/muster-registry/muster/registry/push"
)

var (
	readerLabels = pprof.WithLabels(context.Background(), pprof.Labels("goroutine", "grpc reader"))
	writerLabels = pprof.WithLabels(context.Background(), pprof.Labels("goroutine", "grpc writer"))
)

// closeWithin is how long a close waits for the message that is under way.
const closeWithin = time.Second

// writer is what one stream sends. A goroutine runs while there is something to be sent: a connection that is idle costs
// no more memory than a stream of gRPC does anyway.
type writer struct {
	server *Server
	t      *transport
	stream grpc.ServerStream
	// out is nil until the setup; it is set by the goroutine that reads, before anything is sent.
	out *push.Conn
	// unset ends the stream, unless a setup comes.
	unset *time.Timer

	sending sync.Mutex // one message at a time
	stuck   *time.Timer

	mu       sync.Mutex // guards all below
	running  bool
	again    bool          // woken while running
	ended    bool          // nothing is sent any more
	closing  *time.Timer   // interrupts what is under way, once the connection is to be closed
	finished chan struct{} // closed by the last run, when somebody waits for it
}

// wake lets the outbox be emptied, in a goroutine of its own. One that is at it may wait for the client to read: a close
// must not wait for that, or who is gone would be taken for one that only does not read.
func (w *writer) wake() {
	if !w.start() && w.out.Closing() {
		w.closeSoon()
	}
}

// start reports false when somebody is writing already, who will look again.
func (w *writer) start() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.ended:
	case w.running:
		w.again = true
		return false
	default:
		w.running = true
		go w.run()
	}
	return true
}

// closeSoon interrupts the message that is under way, unless it is through by then.
func (w *writer) closeSoon() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closing == nil && !w.ended {
		w.closing = time.AfterFunc(closeWithin, w.interrupt)
	}
}

func (w *writer) run() {
	pprof.SetGoroutineLabels(writerLabels)
	for {
		var goesOn bool
		if w.server.guarded("writing to a connection", func() { goesOn = w.drain() }) {
			w.server.abandon(w.t.id)
		}
		if !goesOn {
			w.interrupt()
		}
		w.mu.Lock()
		if !w.again || w.ended {
			w.running = false
			if w.finished != nil {
				close(w.finished)
			}
			w.mu.Unlock()
			return
		}
		w.again = false
		w.mu.Unlock()
	}
}

// drain sends what there is. It reports whether the connection goes on.
func (w *writer) drain() bool {
	for {
		item, ok := w.out.Next()
		if !ok {
			return true
		}
		var f frame
		switch item.Kind {
		case push.ItemNotify:
			f = listFrame("NotifySubscriberRequest", notifyHead(item.ID), item.Snapshot, item.Clusters, false, notifyTail)
		case push.ItemDetect:
			f = newFrame("ClientDetectionRequest", internalRequest(item.ID))
		case push.ItemReset:
			f = newFrame("ConnectResetRequest", connectReset(item.ID, w.t.id))
		case push.ItemClose:
			w.server.metrics.sent(item.Kind)
			return false
		}
		if w.send(f) != nil {
			return false
		}
		w.server.metrics.sent(item.Kind)
	}
}

// send blocks while the client does not read, but not for longer than the timer runs.
func (w *writer) send(f frame) error {
	w.sending.Lock()
	defer w.sending.Unlock()
	if w.stuck == nil {
		w.stuck = time.AfterFunc(w.server.stuckAfter, w.giveUp)
	} else {
		w.stuck.Reset(w.server.stuckAfter)
	}
	defer w.stuck.Stop()
	return w.stream.SendMsg(f)
}

// giveUp closes a connection that does not read. It may well live, so its loss says nothing of its publisher (L1), unless
// it was to be closed anyway: then the member has said what its loss says.
func (w *writer) giveUp() {
	w.server.metrics.stuck.Inc()
	w.server.log.Info("connection does not read, closing it", "connection", w.t.id)
	if w.out == nil || !w.out.Closing() {
		w.server.abandon(w.t.id)
	}
	w.interrupt()
	_ = w.t.Close()
}

// end takes the connection down with its stream: without one nobody could be told anything, nor asked for a sign of
// life.
func (w *writer) end() {
	w.mu.Lock()
	w.ended = true
	if w.closing != nil {
		w.closing.Stop()
	}
	var finished chan struct{}
	if w.running {
		finished = make(chan struct{})
		w.finished = finished
	}
	w.mu.Unlock()
	if finished != nil {
		w.interrupt() // or a write that is stuck would hold it
		<-finished
	}
	if w.out != nil {
		w.t.endSoon()
	}
}

// interrupt ends the stream with status OK, from any goroutine: who reads it, or waits to write, goes on. gRPC lets only
// the handler say how a call ends, and that one reads; but what it calls then can be called here. If a later gRPC has it
// no more, the transport is closed instead.
func (w *writer) interrupt() {
	stream := grpc.ServerTransportStreamFromContext(w.stream.Context())
	if s, ok := stream.(interface{ WriteStatus(st *status.Status) error }); ok {
		_ = s.WriteStatus(status.New(codes.OK, "")) // the transport is gone: so is the stream
		return
	}
	_ = w.t.Close()
}
