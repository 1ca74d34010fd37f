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

// writer is what one stream sends. A goroutine runs while there is something to be sent: a connection that is idle costs
// no more memory than a stream of gRPC does anyway.
type writer struct {
	server *Server
	t      *transport
	stream grpc.ServerStream

	sending sync.Mutex // one message at a time
	stuck   *time.Timer

	mu       sync.Mutex // guards all below
	out      *push.Conn // nil until the setup
	running  bool
	again    bool          // woken while running
	ended    bool          // nothing is sent any more
	finished chan struct{} // closed by the last run, when somebody waits for it
}

// attach gives the stream its connection's outbox. Nothing is taken out of it before the first wake.
func (w *writer) attach(out *push.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out = out
}

// wake lets the outbox be emptied, in a goroutine of its own.
func (w *writer) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.ended:
	case w.running:
		w.again = true
	default:
		w.running = true
		go w.run()
	}
}

func (w *writer) run() {
	pprof.SetGoroutineLabels(writerLabels)
	for {
		if !w.drain() {
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

// giveUp closes a connection that does not read. It may well live, so its loss says nothing of its publisher (L1).
func (w *writer) giveUp() {
	w.server.metrics.stuck.Inc()
	w.server.log.Info("connection does not read, closing it", "connection", w.t.id)
	w.server.core.Abandon(w.t.id)
	w.interrupt()
	_ = w.t.Close()
}

// end takes the connection down with its stream: without one nobody could be told anything, nor asked for a sign of
// life.
func (w *writer) end() {
	w.mu.Lock()
	w.ended = true
	var finished chan struct{}
	if w.running {
		finished = make(chan struct{})
		w.finished = finished
	}
	connected := w.out != nil
	w.mu.Unlock()
	if finished != nil {
		w.interrupt() // or a write that is stuck would hold it
		<-finished
	}
	if connected {
		w.t.end()
		time.AfterFunc(lingering, func() { _ = w.t.Close() })
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
