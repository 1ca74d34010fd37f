// Package nacos is the smallest client that a benchmark can use: it puts together requests of the Nacos protocols and
// sends them, and does nothing else that could cost time.
package nacos

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/muster-registry/muster/registry/nacos/nacospb"
)

const (
	maxMessage = 64 << 20
	// setupLimit is how long a server may take to know a connection.
	setupLimit = 30 * time.Second
)

// Options of a connection.
type Options struct {
	// OnPush is given the list of each push, on the goroutine of the connection, before the push is acknowledged.
	OnPush func(list []byte)
	// Small keeps buffers small: thousands of connections in one process.
	Small bool
	// From is the local address, so that one process can have more connections than ports; empty = any.
	From string
}

// Conn is a client over gRPC: one transport with its stream.
type Conn struct {
	channel *grpc.ClientConn
	rpc     nacospb.RequestClient
	stream  nacospb.BiRequestStream_RequestBiStreamClient
	onPush  func([]byte)
	cancel  context.CancelFunc
	reader  sync.WaitGroup
	sending sync.Mutex // guards writing to the stream
}

// Dial opens a transport and its stream, and waits until the server knows it.
func Dial(ctx context.Context, address string, o Options) (*Conn, error) {
	channel, err := grpc.NewClient("passthrough:///"+address, dialOptions(o)...)
	if err != nil {
		return nil, err
	}
	c := &Conn{channel: channel, rpc: nacospb.NewRequestClient(channel), onPush: o.OnPush}
	if err := c.open(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	return c, nil
}

func dialOptions(o Options) []grpc.DialOption {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithDisableServiceConfig(),
	}
	if o.Small {
		options = append(options, grpc.WithReadBufferSize(1<<10), grpc.WithWriteBufferSize(1<<10))
	}
	if o.From != "" {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(o.From)}}
		options = append(options, grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", address)
		}))
	}
	return options
}

func (c *Conn) open(ctx context.Context) error {
	streaming, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	stream, err := nacospb.NewBiRequestStreamClient(c.channel).RequestBiStream(streaming)
	if err != nil {
		return err
	}
	c.stream = stream
	c.reader.Go(c.read)
	const body = `{"headers":{},"requestId":"1","clientVersion":"Nacos-Go-Client:v2.3.5","tenant":"","labels":{"source":"sdk","module":"naming","AppName":"bench"},"module":"internal"}`
	if err := c.Send(setup, []byte(body)); err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, setupLimit)
	defer stop()
	for pause := time.Millisecond; ; pause *= 2 {
		_, err := c.Call(ctx, healthCheck, []byte(`{"headers":{},"requestId":"2","module":"internal"}`))
		if err == nil {
			return nil
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("the connection is not known: %w", err)
		}
	}
}

// read takes in what the server sends, and acknowledges it.
func (c *Conn) read() {
	for {
		p, err := c.stream.Recv()
		if err != nil {
			return
		}
		kind, body := p.GetMetadata().GetType(), p.GetBody().GetValue()
		if !strings.HasSuffix(kind, "Request") {
			continue
		}
		if kind == notify && c.onPush != nil {
			c.onPush(body)
		}
		answer := fmt.Appendf(nil, `{"resultCode":200,"errorCode":0,"requestId":"%s","success":true}`, requestID(body))
		if c.Send(strings.TrimSuffix(kind, "Request")+"Response", answer) != nil {
			return // the end of the stream is noticed above
		}
	}
}

// requestID is searched for at both ends: a list of a thousand instances is not to be read for it.
func requestID(body []byte) []byte {
	const name, edge = `"requestId":"`, 256
	for _, part := range [][]byte{body[:min(edge, len(body))], body[max(0, len(body)-edge):], body} {
		if i := bytes.LastIndex(part, []byte(name)); i >= 0 {
			id := part[i+len(name):]
			if end := bytes.IndexByte(id, '"'); end >= 0 {
				return id[:end]
			}
		}
	}
	return nil
}

// Send writes to the stream.
func (c *Conn) Send(kind string, body []byte) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	return c.stream.Send(payload(kind, body))
}

// Call makes a request, and is an error unless it is answered with success.
func (c *Conn) Call(ctx context.Context, kind string, body []byte) ([]byte, error) {
	p, err := c.rpc.Request(ctx, payload(kind, body))
	if err != nil {
		return nil, err
	}
	answer := p.GetBody().GetValue()
	if p.GetMetadata().GetType() == "ErrorResponse" || !bytes.Contains(answer, []byte(`"resultCode":200`)) {
		return answer, fmt.Errorf("%s is answered with %s %s", kind, p.GetMetadata().GetType(), answer)
	}
	return answer, nil
}

// Close ends the transport.
func (c *Conn) Close() {
	if c.cancel != nil {
		c.cancel()
	}
	_ = c.channel.Close()
	c.reader.Wait()
}

func payload(kind string, body []byte) *nacospb.Payload {
	return &nacospb.Payload{
		Metadata: &nacospb.Metadata{Type: kind, ClientIp: "127.0.0.1"},
		Body:     &anypb.Any{Value: body},
	}
}
