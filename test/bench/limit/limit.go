// Package limit is the servers that a registry is measured against: bare transports that answer the same bytes, and
// cannot be beaten by anything that does some work for its answer.
package limit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/muster-registry/muster/registry/nacos/nacospb"
)

const maxMessage = 64 << 20

// Options of a server.
type Options struct {
	// Answer is the body of each answer, over HTTP and over gRPC.
	Answer []byte
	// ContentType goes with it over HTTP.
	ContentType string
	// Next is the address of another limit to which what is relayed goes on; empty for the last one.
	Next string
	// Small takes the smallest buffers that grpc-go lets one have.
	Small bool
}

// Kinds of messages that it knows besides those of the protocol.
const (
	// Relay on a stream goes on to the next server, and from the last one to all streams, as a push.
	Relay = "RelayRequest"
	// Fan is a call whose body is sent to all streams.
	Fan = "FanRequest"
	// Hold is a call whose body says how many bytes of small objects the server shall hold from then on.
	Hold = "HoldRequest"

	push  = "NotifySubscriberRequest"
	setup = "ConnectionSetupRequest"
)

// Server answers on two ports.
type Server struct {
	o    Options
	rpc  *grpc.Server
	http *http.Server

	channel *grpc.ClientConn // to the next one

	mu      sync.Mutex         // guards all below
	streams map[string]*outlet // by the address of the client, those that are set up
	held    *object
	next    nacospb.BiRequestStream_RequestBiStreamClient
}

// outlet is a stream that takes pushes.
type outlet struct {
	frames chan frame // size 1
	ended  <-chan struct{}
}

// New makes a server.
func New(o Options) (*Server, error) {
	s := &Server{o: o, streams: map[string]*outlet{}}
	options := []grpc.ServerOption{grpc.ForceServerCodecV2(newWireCodec()), grpc.MaxRecvMsgSize(maxMessage)}
	if o.Small {
		options = append(options, grpc.ReadBufferSize(4<<10), grpc.WriteBufferSize(4<<10))
	}
	s.rpc = grpc.NewServer(options...)
	s.rpc.RegisterService(&requestService, s)
	s.rpc.RegisterService(&biStreamService, s)
	s.http = &http.Server{Handler: http.HandlerFunc(s.answer)} //nolint:gosec // on loopback, for a generator of ours
	if o.Next == "" {
		return s, nil
	}
	channel, err := grpc.NewClient("passthrough:///"+o.Next, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	s.channel = channel
	s.next, err = nacospb.NewBiRequestStreamClient(channel).RequestBiStream(context.Background())
	return s, err
}

// Serve answers until Stop.
func (s *Server) Serve(rpc, web net.Listener) error {
	var work sync.WaitGroup
	var errs [2]error
	work.Go(func() { errs[0] = s.rpc.Serve(rpc) })
	work.Go(func() {
		if errs[1] = s.http.Serve(web); errors.Is(errs[1], http.ErrServerClosed) {
			errs[1] = nil
		}
	})
	work.Wait()
	return errors.Join(errs[:]...)
}

// Stop ends all at once.
func (s *Server) Stop() {
	s.rpc.Stop()
	_ = s.http.Close()
	if s.channel != nil {
		_ = s.channel.Close()
	}
}

func (s *Server) answer(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", s.o.ContentType)
	h.Set("Content-Length", strconv.Itoa(len(s.o.Answer)))
	_, _ = w.Write(s.o.Answer)
}

// request answers a call.
func (s *Server) request(ctx context.Context, p *nacospb.Payload) *nacospb.Payload {
	kind := p.GetMetadata().GetType()
	switch kind {
	case Fan:
		s.fan(newFrame(push, p.GetBody().GetValue()))
	case Hold:
		bytes, _ := strconv.Atoi(string(p.GetBody().GetValue()))
		s.hold(bytes)
	case "HealthCheckRequest":
		if !s.knows(addressOf(ctx)) {
			return &nacospb.Payload{
				Metadata: &nacospb.Metadata{Type: "ErrorResponse"},
				Body:     &anypb.Any{Value: []byte(`{"resultCode":500,"errorCode":301,"success":false,"message":"the stream is not set up"}`)},
			}
		}
		return &nacospb.Payload{
			Metadata: &nacospb.Metadata{Type: "HealthCheckResponse"},
			Body:     &anypb.Any{Value: []byte(`{"resultCode":200,"errorCode":0,"success":true}`)},
		}
	}
	return &nacospb.Payload{
		Metadata: &nacospb.Metadata{Type: strings.TrimSuffix(kind, "Request") + "Response"},
		Body:     &anypb.Any{Value: s.o.Answer},
	}
}

// knows tells whether the stream of a client is set up: until then it would miss what is sent to all, as at a registry.
func (s *Server) knows(address string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[address] != nil
}

func addressOf(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	return p.Addr.String()
}

// fan gives one buffer to all streams. It waits for those that have not written the last one.
func (s *Server) fan(f frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, out := range s.streams {
		select {
		case out.frames <- f:
		case <-out.ended:
		}
	}
}

// object is small, and has a pointer that a collector must follow, as what a registry keeps has.
type object struct {
	next *object
	_    [objectSize - 8]byte
}

const objectSize = 128

// hold replaces what is held.
func (s *Server) hold(bytes int) {
	var first *object
	for range bytes / objectSize {
		first = &object{next: first}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = first
}

// relay passes a message on, and pushes it at the end of the chain.
func (s *Server) relay(p *nacospb.Payload) error {
	s.mu.Lock()
	next := s.next
	if next != nil {
		defer s.mu.Unlock()
		return next.Send(p)
	}
	s.mu.Unlock()
	s.fan(newFrame(push, p.GetBody().GetValue()))
	return nil
}

// biStream writes from this goroutine and reads from another one, as a registry does.
func (s *Server) biStream(stream grpc.ServerStream) error {
	out := &outlet{make(chan frame, 1), stream.Context().Done()}
	address := addressOf(stream.Context())
	done := make(chan error, 1)
	go func() { done <- s.read(stream, address, out) }()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.streams[address] == out {
			delete(s.streams, address)
		}
	}()
	for {
		select {
		case f := <-out.frames:
			if err := stream.SendMsg(f); err != nil {
				return err
			}
		case err := <-done:
			return err
		case <-out.ended:
			return nil
		}
	}
}

func (s *Server) read(stream grpc.ServerStream, address string, out *outlet) error {
	for {
		var p nacospb.Payload
		if stream.RecvMsg(&p) != nil {
			return nil
		}
		switch p.GetMetadata().GetType() {
		case setup: // clients set up, the server before in a chain does not
			s.mu.Lock()
			s.streams[address] = out
			s.mu.Unlock()
		case Relay:
			if err := s.relay(&p); err != nil {
				return fmt.Errorf("relay: %w", err)
			}
		}
	}
}
