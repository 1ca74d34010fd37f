//go:build linux

package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/muster-registry/muster/registry/nacos/nacospb"
)

// raw is a gRPC client that is smaller than any SDK, so that there can be thousands: a transport, its stream, what it
// registers and subscribes to. It redoes everything when its connection was lost.
type raw struct {
	ip      string
	channel *grpc.ClientConn
	// told is called with every list that is pushed, heard with its text, as reading it takes longer than sending it does;
	// nil = nobody wants them.
	told  func(pushed)
	heard func(at time.Time, text []byte)
	// deaf: the stream is opened and never read.
	deaf bool
	redo func(ctx context.Context, r *raw) error
	stop context.CancelFunc
	done sync.WaitGroup

	mu     sync.Mutex // guards all below
	conn   net.Conn   // the newest
	redone int        // how often redo succeeded
}

// pushed is a list as it came.
type pushed struct {
	At    time.Time `json:"-"`
	Hosts []struct {
		IP       string
		Port     int
		Healthy  bool
		Metadata map[string]string
	}
}

// addresses of the hosts; the value says healthy.
func (p pushed) addresses() map[string]bool {
	hosts := make(map[string]bool, len(p.Hosts))
	for _, h := range p.Hosts {
		hosts[net.JoinHostPort(h.IP, strconv.Itoa(h.Port))] = h.Healthy
	}
	return hosts
}

// revisions counts the hosts by what their publishers wrote into the metadata.
func (p pushed) revisions() map[string]int {
	n := map[string]int{}
	for _, h := range p.Hosts {
		n[h.Metadata[revisionKey]]++
	}
	return n
}

// buffer is small: ten thousands of clients are in one process.
const buffer = 2 << 10

// dial makes one of a server. redo is called on every new connection.
func dial(ctx context.Context, server, ip string, change func(*raw), redo func(context.Context, *raw) error) (*raw, error) {
	r := &raw{ip: ip, redo: redo}
	if change != nil {
		change(r)
	}
	var err error
	r.channel, err = grpc.NewClient("passthrough:///"+server,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithReadBufferSize(buffer), grpc.WithWriteBufferSize(buffer),
		grpc.WithInitialWindowSize(1<<16), grpc.WithInitialConnWindowSize(1<<16), // fixed: nobody who does not read is sent more
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second}, MinConnectTimeout: 10 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
			if err == nil {
				r.mu.Lock()
				r.conn = c
				r.mu.Unlock()
			}
			return c, err
		}))
	if err != nil {
		return nil, err
	}
	ctx, r.stop = context.WithCancel(ctx)
	r.done.Go(func() {
		for ctx.Err() == nil {
			_ = r.live(ctx) // the next connection is another chance
			r.pause(ctx)
		}
	})
	return r, nil
}

func (r *raw) pause(ctx context.Context) {
	timer := time.NewTimer(50 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// live opens the stream, redoes everything and takes in what comes, until the connection ends.
func (r *raw) live(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if _, err := r.call(ctx, "ServerCheckRequest", map[string]any{}); err != nil {
		return err
	}
	stream, err := nacospb.NewBiRequestStreamClient(r.channel).RequestBiStream(ctx, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	setup := map[string]any{"clientVersion": "Nacos-Go-Client:v2.3.5", "labels": map[string]string{"source": "sdk", "module": "naming"}}
	if err := stream.Send(r.payload("ConnectionSetupRequest", setup)); err != nil {
		return err
	}
	if r.deaf {
		return r.stall(ctx)
	}
	failed := make(chan error, 1)
	var work sync.WaitGroup
	work.Go(func() { failed <- r.redoAll(ctx) })
	defer work.Wait()
	defer cancel()
	for {
		p, err := stream.Recv()
		if err != nil {
			return err
		}
		select {
		case err := <-failed:
			if err != nil {
				return err
			}
		default:
		}
		if err := r.take(stream, p); err != nil {
			return err
		}
	}
}

// redoAll tries until the server knows the connection. One that it does not come to know is given up, as real clients do.
func (r *raw) redoAll(ctx context.Context) error {
	for began := time.Now(); ctx.Err() == nil; {
		if time.Since(began) > giveUp {
			r.drop()
			return errUnknown
		}
		err := r.redo(ctx, r)
		if err == nil {
			r.mu.Lock()
			r.redone++
			r.mu.Unlock()
			return nil
		}
		r.pause(ctx)
	}
	return ctx.Err()
}

const giveUp = 5 * time.Second

var errUnknown = errors.New("the server does not know the connection")

// stall subscribes and reads nothing, but shows life, until the server has enough of it.
func (r *raw) stall(ctx context.Context) error {
	if err := r.redoAll(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if kind, err := r.call(ctx, "HealthCheckRequest", map[string]any{}); err != nil || kind == "ErrorResponse" {
			return fmt.Errorf("%s, %w", kind, err)
		}
	}
}

// take acknowledges what the server sends.
func (r *raw) take(stream nacospb.BiRequestStream_RequestBiStreamClient, p *nacospb.Payload) error {
	at := time.Now()
	kind, ok := strings.CutSuffix(p.GetMetadata().GetType(), "Request")
	if !ok {
		return nil
	}
	var m struct {
		RequestID   string
		ServiceInfo pushed
	}
	if r.told == nil || kind != "NotifySubscriber" {
		m.RequestID = requestID(p.GetBody().GetValue())
	} else if err := json.Unmarshal(p.GetBody().GetValue(), &m); err != nil {
		return err
	}
	if err := stream.Send(r.payload(kind+"Response", map[string]any{"resultCode": 200, "errorCode": 0, "success": true, "requestId": m.RequestID})); err != nil {
		return err
	}
	if r.heard != nil && kind == "NotifySubscriber" {
		r.heard(at, p.GetBody().GetValue())
	}
	if r.told != nil && kind == "NotifySubscriber" {
		m.ServiceInfo.At = at
		r.told(m.ServiceInfo)
	}
	return nil
}

// requestID finds it without reading the rest.
func requestID(body []byte) string {
	_, after, _ := strings.Cut(string(body[:min(len(body), 200)]), `"requestId":"`)
	id, _, _ := strings.Cut(after, `"`)
	return id
}

func (r *raw) payload(kind string, body any) *nacospb.Payload {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // maps of text and numbers
	}
	return &nacospb.Payload{Metadata: &nacospb.Metadata{Type: kind, ClientIp: r.ip}, Body: &anypb.Any{Value: text}}
}

// call returns the type of the answer.
func (r *raw) call(ctx context.Context, kind string, body map[string]any) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	p, err := nacospb.NewRequestClient(r.channel).Request(ctx, r.payload(kind, body), grpc.WaitForReady(true))
	return p.GetMetadata().GetType(), err
}

// do is a call that must be answered by its own response.
func (r *raw) do(ctx context.Context, kind string, body map[string]any) error {
	got, err := r.call(ctx, kind+"Request", body)
	if err == nil && got != kind+"Response" {
		err = fmt.Errorf("%s is answered by %s", kind, got)
	}
	return err
}

func (r *raw) register(ctx context.Context, in instance) error {
	return r.instance(ctx, "registerInstance", in)
}

func (r *raw) deregister(ctx context.Context, in instance) error {
	return r.instance(ctx, "deregisterInstance", in)
}

func (r *raw) instance(ctx context.Context, what string, in instance) error {
	return r.do(ctx, "Instance", map[string]any{
		"type": what, "namespace": "public", "groupName": "DEFAULT_GROUP", "serviceName": in.service, "instance": in.body(),
	})
}

func (r *raw) registerAll(ctx context.Context, service string, all []instance) error {
	bodies := make([]map[string]any, len(all))
	for i, in := range all {
		bodies[i] = in.body()
	}
	return r.do(ctx, "BatchInstance", map[string]any{
		"type": "batchRegisterInstance", "namespace": "public", "groupName": "DEFAULT_GROUP", "serviceName": service, "instances": bodies,
	})
}

func (r *raw) subscribe(ctx context.Context, service string) error {
	return r.do(ctx, "SubscribeService", map[string]any{
		"namespace": "public", "groupName": "DEFAULT_GROUP", "serviceName": service, "subscribe": true, "clusters": "",
	})
}

func (in instance) body() map[string]any {
	return map[string]any{
		"ip": in.ip, "port": in.port, "weight": 1, "healthy": true, "enabled": true, "ephemeral": true, "clusterName": "DEFAULT",
		"metadata": map[string]string{revisionKey: fmt.Sprint(in.tried)},
	}
}

// drop breaks the connection without a goodbye, as a box in between does that has lost its tables.
func (r *raw) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if tcp, ok := r.conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a reset, not an end
		_ = tcp.Close()
	}
}

func (r *raw) times() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.redone
}

// close ends the client.
func (r *raw) close() {
	r.stop()
	_ = r.channel.Close()
	r.done.Wait()
}
