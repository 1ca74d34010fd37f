package grpc

import (
	"context"
	"encoding/json"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
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

var readerLabels = pprof.WithLabels(context.Background(), pprof.Labels("goroutine", "grpc reader"))

// clientStream is a requestBiStream. One goroutine reads it, from its beginning to its end; a second one runs while there is
// something to be written (writer.go): a connection that is idle costs no more memory than a stream of gRPC does anyway.
type clientStream struct {
	server *Server
	t      *transport
	stream grpc.ServerStream
	// unset ends the stream, unless a setup comes.
	unset *time.Timer
	// out is nil until the setup; the reader sets it before anything is sent.
	out *push.Conn

	sending sync.Mutex  // one message at a time; guards stuck
	stuck   *time.Timer // runs while a message is sent

	mu       sync.Mutex    // guards all below
	running  bool          // the writer
	again    bool          // it was woken while running
	ended    bool          // nothing is sent any more
	closing  *time.Timer   // interrupts what is under way, once the connection is to be closed
	finished chan struct{} // closed by the last run of the writer, when somebody waits for it
}

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
	c := &clientStream{server: s, t: t, stream: stream}
	if !s.track(c) {
		return nil
	}
	defer s.forget(c)
	c.unset = time.AfterFunc(setUpWithin, c.interrupt)
	defer c.unset.Stop()
	var err error
	if s.guarded("message of a stream", func() { err = c.read() }) {
		err = c.failed()
	}
	c.end()
	return err
}

// failed ends the connection after a panic, by our doing: nobody knows what it has left behind. The client goes to another
// server.
func (c *clientStream) failed() error {
	c.server.abandon(c.t.id)
	c.t.phase.CompareAndSwap(phaseConnecting, phaseConnected) // what was half set up ends like a connection
	c.t.endSoon()
	return status.Error(codes.Unavailable, errInternal.message)
}

// read takes in a stream's messages until it ends, or is interrupted. nil ends it with status OK. What it cannot make
// sense of is skipped (nacos-protocol §3.2).
func (c *clientStream) read() error {
	var p payload
	defer p.free()
	for {
		if c.stream.RecvMsg(&p) != nil { // frees the one before
			return nil
		}
		if c.t.connected() {
			c.server.core.Touch(c.t.id)
		}
		switch {
		case p.kind == setupRequest:
			su, ok := readSetup(&p)
			if !ok {
				continue
			}
			if err := c.setUp(su); err != nil {
				return err
			}
		case strings.HasSuffix(p.kind, "Response"):
			c.server.acknowledge(c.t, p.body)
		}
	}
}

// setUp registers the connection. A second setup registers nothing but is acknowledged again, as recorded.
func (c *clientStream) setUp(su setup) error {
	if su.err != nil {
		return su.err
	}
	var out *push.Conn
	if !c.t.connected() {
		su.connection.ID = c.t.id
		if !c.t.connect(func() { out = c.server.core.Connect(su.connection) }) {
			return status.Error(codes.Unavailable, "the transport has ended")
		}
		c.out = out
		c.server.log.Debug("connection set up", "connection", c.t.id, "agent", su.connection.Client.Agent)
	}
	if su.ack {
		if err := c.send(newFrame("SetupAckRequest", setupAckRequest)); err != nil {
			return err
		}
	}
	c.unset.Stop()
	if out != nil { // only now: nothing goes ahead of the acknowledgement
		out.OnWake(c.wake)
	}
	return nil
}

// end takes the connection down with its stream: without one nobody could be told anything, nor asked for a sign of
// life.
func (c *clientStream) end() {
	c.mu.Lock()
	c.ended = true
	if c.closing != nil {
		c.closing.Stop()
	}
	var finished chan struct{}
	if c.running {
		finished = make(chan struct{})
		c.finished = finished
	}
	c.mu.Unlock()
	if finished != nil {
		c.interrupt() // or a write that is stuck would hold it
		<-finished
	}
	if c.out != nil {
		c.t.endSoon()
	}
}

// interrupt ends the stream with status OK, from any goroutine: who reads it, or waits to write, goes on. gRPC lets only
// the handler say how a call ends, and that one reads; but what it calls then can be called here. If a later gRPC has it
// no more, the transport is closed instead.
func (c *clientStream) interrupt() {
	stream := grpc.ServerTransportStreamFromContext(c.stream.Context())
	if s, ok := stream.(interface{ WriteStatus(st *status.Status) error }); ok {
		_ = s.WriteStatus(status.New(codes.OK, "")) // the transport is gone: so is the stream
		return
	}
	_ = c.t.Close()
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
func readSetup(p *payload) (setup, bool) {
	var r connectionSetupRequest
	if decode(p.body, &r) != nil {
		return setup{}, false
	}
	if codec.IsNull(r.Labels) {
		return setup{err: status.Error(codes.Unknown, "Application error processing RPC")}, true
	}
	var labels map[string]codec.Text
	if len(r.Labels) > 0 && json.Unmarshal(r.Labels, &labels) != nil {
		return setup{}, false
	}
	return setup{
		connection: member.Connection{
			Client: model.Client{
				IP:    model.ClipClientText(p.clientIP),
				Agent: model.ClipClientText(r.ClientVersion.Value),
				App:   model.ClipClientText(labels["AppName"].Value),
			},
			Naming: labels["module"].Value == "naming",
		},
		ack: r.wantsAck(),
	}, true
}
