package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/muster-registry/muster/registry/nacos/nacospb"
)

// streamEnded is the type under which the end of a stream is kept.
const streamEnded = "(stream ended)"

// grpcConn is a client of a script: one transport, its unary calls and, once opened, its stream.
type grpcConn struct {
	channel *grpc.ClientConn
	stream  nacospb.BiRequestStream_RequestBiStreamClient // nil until it is opened
	sending sync.Mutex                                    // guards writing to the stream

	mu      sync.Mutex // guards all below
	ack     any        // which requests of the server are acknowledged: a bool, or a list of types
	got     []message
	arrived chan struct{} // closed with each message
}

type message struct{ kind, body string }

func (s *Session) dial(name string) (*grpcConn, error) {
	channel, err := grpc.NewClient("passthrough:///"+s.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(16<<20)))
	if err != nil {
		return nil, err
	}
	c := &grpcConn{channel: channel, arrived: make(chan struct{})}
	if s.Kept == nil {
		s.Kept = map[string]any{}
	}
	s.Kept["conn "+name] = c
	s.OnClose(func() { _ = channel.Close() })
	return c, nil
}

func (s *Session) conn(name string) (*grpcConn, error) {
	c, ok := s.Kept["conn "+name].(*grpcConn)
	if !ok {
		return nil, fmt.Errorf("no connection %s", name)
	}
	return c, nil
}

func (s *Session) connOrDial(name string) (*grpcConn, error) {
	if c, err := s.conn(name); err == nil {
		return c, nil
	}
	return s.dial(name)
}

// open opens the stream and takes in what comes on it.
func (c *grpcConn) open(ack any) error {
	// not the script's context: a stream ends with its transport, as it does for a real client
	stream, err := nacospb.NewBiRequestStreamClient(c.channel).RequestBiStream(context.Background())
	if err != nil {
		return err
	}
	c.stream = stream
	c.mu.Lock()
	c.ack = ack
	c.mu.Unlock()
	go func() {
		for {
			p, err := stream.Recv()
			if err != nil {
				c.put(message{streamEnded, endOf(err)})
				return
			}
			m := message{p.GetMetadata().GetType(), string(p.GetBody().GetValue())}
			if strings.HasSuffix(m.kind, "Request") && c.acknowledges(m.kind) {
				_ = c.send(acknowledgement(m)) // a stream that has ended is noticed above
			}
			c.put(m)
		}
	}()
	return nil
}

func (c *grpcConn) send(p *nacospb.Payload) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	return c.stream.Send(p)
}

func endOf(err error) string {
	if errors.Is(err, io.EOF) {
		return "OK"
	}
	code, details := statusOf(err)
	return code + ": " + details
}

func acknowledgement(m message) *nacospb.Payload {
	var request struct {
		RequestID *string `json:"requestId"`
	}
	_ = json.Unmarshal([]byte(m.body), &request) // what cannot be read is acknowledged without its id
	body := map[string]any{"resultCode": 200, "errorCode": 0, "success": true}
	if request.RequestID != nil {
		body["requestId"] = *request.RequestID
	}
	text, _ := json.Marshal(body) // numbers, texts and booleans
	return newPayload(strings.TrimSuffix(m.kind, "Request")+"Response", text, nil)
}

func (c *grpcConn) put(m message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, m)
	close(c.arrived)
	c.arrived = make(chan struct{})
}

// take removes and returns the first message that fits, waiting for it if need be.
func (c *grpcConn) take(ctx context.Context, within float64, fits func(message) bool) (message, bool) {
	timeout := time.After(seconds(within))
	for {
		c.mu.Lock()
		if i := slices.IndexFunc(c.got, fits); i >= 0 {
			m := c.got[i]
			c.got = slices.Delete(c.got, i, i+1)
			c.mu.Unlock()
			return m, true
		}
		arrived := c.arrived
		c.mu.Unlock()
		select {
		case <-arrived:
		case <-timeout:
			return message{}, false
		case <-ctx.Done():
			return message{}, false
		}
	}
}

// call returns the type and the body of an answer.
func (c *grpcConn) call(ctx context.Context, kind string, body []byte, headers map[string]any, timeout float64) (string, string, error) {
	p, err := c.request(ctx, kind, body, headers, timeout)
	return p.GetMetadata().GetType(), string(p.GetBody().GetValue()), err
}

func (c *grpcConn) request(ctx context.Context, kind string, body []byte, headers map[string]any, timeout float64) (*nacospb.Payload, error) {
	ctx, cancel := context.WithTimeout(ctx, seconds(timeout))
	defer cancel()
	return nacospb.NewRequestClient(c.channel).Request(ctx, newPayload(kind, body, headers))
}

func newPayload(kind string, body []byte, headers map[string]any) *nacospb.Payload {
	p := &nacospb.Payload{
		Metadata: &nacospb.Metadata{Type: kind, ClientIp: "127.0.0.1", Headers: map[string]string{}},
		Body:     &anypb.Any{Value: body},
	}
	for k, v := range headers {
		p.Metadata.Headers[k] = fmt.Sprint(v)
	}
	return p
}
