package grpc

import (
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

// setup is a ConnectionSetupRequest as it is needed.
type setup struct {
	connection member.Connection
	ack        bool
	err        error
}

// biStream serves a requestBiStream. Its goroutine reads; what is to be written wakes another one.
func (s *Server) biStream(stream grpc.ServerStream) error {
	pprof.SetGoroutineLabels(readerLabels)
	t := transportOf(stream.Context())
	if t == nil {
		return status.Error(codes.Internal, "no transport")
	}
	w := &writer{server: s, t: t, stream: stream}
	if !s.track(w) {
		return nil
	}
	defer s.forget(w)
	w.unset = time.AfterFunc(setUpWithin, w.interrupt)
	defer w.unset.Stop()
	var err error
	if s.guarded("message of a stream", func() { err = w.read() }) {
		err = w.failed()
	}
	w.end()
	return err
}

// failed ends the connection after a panic, by our doing: nobody knows what it has left behind. The client goes to another
// server.
func (w *writer) failed() error {
	w.server.abandon(w.t.id)
	w.t.phase.CompareAndSwap(phaseConnecting, phaseConnected) // what was half set up ends like a connection
	w.t.endSoon()
	return status.Error(codes.Unavailable, errInternal.message)
}

// read takes in a stream's messages until it ends, or is interrupted. nil ends it with status OK. What it cannot make
// sense of is skipped (nacos-protocol §3.2).
func (w *writer) read() error {
	var m message
	defer m.free()
	for {
		if w.stream.RecvMsg(&m) != nil { // frees the one before
			return nil
		}
		if w.t.connected() {
			w.server.core.Touch(w.t.id)
		}
		switch {
		case m.kind == setupRequest:
			su, ok := readSetup(&m)
			if !ok {
				continue
			}
			if err := w.setUp(su); err != nil {
				return err
			}
		case strings.HasSuffix(m.kind, "Response"):
			w.server.acknowledge(w.t, m.body)
		}
	}
}

// setUp registers the connection. A second setup registers nothing but is acknowledged again, as recorded.
func (w *writer) setUp(su setup) error {
	if su.err != nil {
		return su.err
	}
	var out *push.Conn
	if !w.t.connected() {
		err := w.t.connect(func() (err error) {
			su.connection.ID = w.t.id
			out, err = w.server.core.Connect(su.connection)
			return err
		})
		if err != nil {
			return w.refused(err)
		}
		w.out = out
		w.server.log.Debug("connection set up", "connection", w.t.id, "agent", su.connection.Client.Agent)
	}
	if su.ack {
		if err := w.send(newFrame("SetupAckRequest", setupAckRequest)); err != nil {
			return err
		}
	}
	w.unset.Stop()
	if out != nil { // only now: nothing goes ahead of the acknowledgement
		out.OnWake(w.wake)
	}
	return nil
}

// refused ends a stream whose connection was not accepted: nothing is sent, the client goes to another server.
func (w *writer) refused(err error) error {
	w.server.metrics.refused.Inc()
	w.server.log.Debug("connection refused", "connection", w.t.id, "error", err)
	time.AfterFunc(lingering, func() { _ = w.t.Close() })
	return status.Error(codes.Unavailable, err.Error())
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
			Client: model.Client{
				IP:    model.ClipClientText(m.clientIP),
				Agent: model.ClipClientText(r.ClientVersion.Value),
				App:   model.ClipClientText(labels["AppName"].Value),
			},
			Naming: labels["module"].Value == "naming",
		},
		ack: r.wantsAck(),
	}, true
}
