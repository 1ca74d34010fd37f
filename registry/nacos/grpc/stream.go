package grpc

import (
	"context"
	"encoding/json"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/nacos/codec"
	"github.com/muster-registry/muster/registry/push"
)

const (
	setupRequest = "ConnectionSetupRequest"
	// lingering is how long a transport stays after its stream was ended, so that the end is read before it.
	lingering = time.Second
)

// setup is a ConnectionSetupRequest as the writer needs it.
type setup struct {
	connection member.Connection
	ack        bool
	err        error
}

// writer is what one stream sends: all of it, from the goroutine of its handler.
type writer struct {
	server *Server
	t      *transport
	stream grpc.ServerStream
	out    *push.Conn  // nil until the setup
	stuck  *time.Timer // runs during a write
}

// biStream serves a requestBiStream. Its goroutine writes; the one that it starts reads, and ends with the stream.
func (s *Server) biStream(stream grpc.ServerStream) (err error) {
	t := transportOf(stream.Context())
	if t == nil {
		return status.Error(codes.Internal, "no transport")
	}
	w := &writer{server: s, t: t, stream: stream}
	w.stuck = time.AfterFunc(time.Hour, func() {
		s.metrics.stuck.Inc()
		s.log.Info("connection does not read, closing it", "connection", t.id)
		_ = t.Close()
	})
	w.stuck.Stop()

	setups := make(chan setup)
	s.readers.Go(func() {
		defer close(setups)
		pprof.Do(stream.Context(), pprof.Labels("goroutine", "grpc reader"), func(context.Context) { s.read(t, stream, setups) })
	})
	pprof.Do(stream.Context(), pprof.Labels("goroutine", "grpc writer"), func(context.Context) { err = w.run(setups) })
	w.end()
	return err
}

// run sends until the stream ends. nil ends the stream with status OK.
func (w *writer) run(setups <-chan setup) error {
	var wake <-chan struct{}
	for {
		select {
		case <-w.stream.Context().Done():
			return nil
		case <-w.server.stopping:
			return nil
		case su, open := <-setups:
			if !open {
				return nil
			}
			if err := w.setUp(su); err != nil {
				return err
			}
			if w.out != nil {
				wake = w.out.Wake()
			}
		case <-wake:
			if ended, err := w.drain(); ended || err != nil {
				return err
			}
		}
	}
}

// setUp registers the connection. A second setup registers nothing but is acknowledged again, as recorded.
func (w *writer) setUp(su setup) error {
	if su.err != nil {
		return su.err
	}
	if !w.t.connected() {
		err := w.t.connect(func() (err error) {
			su.connection.ID = w.t.id
			w.out, err = w.server.core.Connect(su.connection)
			return err
		})
		if err != nil {
			w.out = nil
			return w.refused(err)
		}
		w.server.log.Debug("connection set up", "connection", w.t.id, "agent", su.connection.Client.Agent)
	}
	if !su.ack {
		return nil
	}
	return w.send(newFrame("SetupAckRequest", setupAckRequest))
}

// refused ends a stream whose connection was not accepted: nothing is sent, the client goes to another server.
func (w *writer) refused(err error) error {
	w.server.metrics.refused.Inc()
	w.server.log.Debug("connection refused", "connection", w.t.id, "error", err)
	time.AfterFunc(lingering, func() { _ = w.t.Close() })
	return status.Error(codes.Unavailable, err.Error())
}

// drain sends what there is. It reports whether the connection is to end.
func (w *writer) drain() (ended bool, err error) {
	for {
		item, ok := w.out.Next()
		if !ok {
			return false, nil
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
			return true, nil
		}
		if err := w.send(f); err != nil {
			return true, err
		}
		w.server.metrics.sent(item.Kind)
	}
}

// send blocks while the client does not read, but not for longer than the timer runs.
func (w *writer) send(f frame) error {
	w.stuck.Reset(w.server.stuckAfter)
	defer w.stuck.Stop()
	return w.stream.SendMsg(f)
}

// end takes the connection down with its stream: without one nobody could be told anything, nor asked for a sign of
// life.
func (w *writer) end() {
	if w.out == nil {
		return
	}
	w.t.end()
	time.AfterFunc(lingering, func() { _ = w.t.Close() })
}

// read takes in a stream's messages until it ends. What it cannot make sense of is skipped (nacos-protocol §3.2).
func (s *Server) read(t *transport, stream grpc.ServerStream, setups chan<- setup) {
	var m message
	defer m.free()
	for {
		if stream.RecvMsg(&m) != nil { // frees the one before
			return
		}
		if t.connected() {
			s.core.Touch(t.id)
		}
		switch {
		case m.kind == setupRequest:
			su, ok := readSetup(&m)
			if !ok {
				continue
			}
			select {
			case setups <- su:
			case <-stream.Context().Done():
				return
			}
		case strings.HasSuffix(m.kind, "Response"):
			s.acknowledge(t, m.body)
		}
	}
}

// acknowledge passes on what a client answers to a request of ours.
func (s *Server) acknowledge(t *transport, body []byte) {
	r := clientResponse{ResultCode: 200}
	if !t.connected() || decode(body, &r) != nil {
		return
	}
	id, err := strconv.ParseUint(r.RequestID.Value, 10, 64)
	if err != nil {
		return
	}
	ok := r.ResultCode == 200
	s.metrics.acknowledged(ok)
	s.core.Ack(t.id, id, ok)
}

// readSetup reports false for one that is no JSON: like any message that is, it is skipped.
func readSetup(m *message) (setup, bool) {
	var r connectionSetupRequest
	if decode(m.body, &r) != nil {
		return setup{}, false
	}
	if isNull(r.Labels) {
		return setup{err: status.Error(codes.Unknown, "Application error processing RPC")}, true
	}
	var labels map[string]codec.Text
	if len(r.Labels) > 0 && json.Unmarshal(r.Labels, &labels) != nil {
		return setup{}, false
	}
	return setup{
		connection: member.Connection{
			Client: model.Client{IP: m.clientIP, Agent: r.ClientVersion.Value, App: labels["AppName"].Value},
			Naming: labels["module"].Value == "naming",
		},
		ack: r.wantsAck(),
	}, true
}
