package grpc

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/nacos/nacospb"
)

// The benchmarks show what the adapter and the member add to the transport: one goes to the handlers directly, the other
// through loopback, beside an echo of the same payloads on a bare grpc-go server.

type benchClock struct{}

func (benchClock) Now() model.Time { return now() }

func benchMember() *member.Member {
	m := member.New(member.Options{
		Self: model.Member{Name: "bench"}, Incarnation: func() model.Incarnation { return 1 }, Clock: benchClock{},
		Policy: membership.PolicyStandalone(), Timeouts: member.Timeouts{PushWindow: 50 * time.Millisecond, Rejoin: time.Hour, Tombstone: time.Minute},
	})
	m.SetListing(membership.Listing{Reachable: true})
	m.Tick()
	return m
}

const registerBody = `{"headers":{"app":"shop"},"namespace":"public","serviceName":"service-%d","groupName":"DEFAULT_GROUP","type":"registerInstance",` +
	`"instance":{"instanceId":"","ip":"10.1.2.%d","port":%d,"weight":1.0,"healthy":true,"enabled":true,"ephemeral":true,"clusterName":"DEFAULT",` +
	`"serviceName":"","metadata":{"version":"1.0.0","zone":"a"},"instanceHeartBeatInterval":5000,"ipDeleteTimeout":30000,"instanceHeartBeatTimeOut":15000},"module":"naming"}`

const queryBody = `{"headers":{},"namespace":"public","serviceName":"queried","groupName":"DEFAULT_GROUP","cluster":"","healthyOnly":false,"udpPort":0,"module":"naming"}`

func benchPayload(kind, body string) *nacospb.Payload {
	return &nacospb.Payload{
		Metadata: &nacospb.Metadata{Type: kind, ClientIp: "10.9.8.7", Headers: map[string]string{}}, Body: &anypb.Any{Value: []byte(body)},
	}
}

// benchServer is a server before a real member, and a connection of it that publishes the ten instances that are queried.
func benchServer(b *testing.B) (*Server, *member.Member, context.Context) {
	m := benchMember()
	s := New(Options{Core: m, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	t := &transport{id: "bench"}
	t.phase.Store(phaseConnected)
	m.Connect(member.Connection{ID: t.id, Naming: true})
	key := model.ServiceKey{Namespace: "public", Group: "DEFAULT_GROUP", Name: "queried"}
	var instances []model.Instance
	for i := range 10 {
		instances = append(instances, model.Instance{
			IP: fmt.Sprintf("10.0.0.%d", i), Port: 8080, Cluster: "DEFAULT", Weight: 1, Healthy: true, Enabled: true,
			Metadata: model.MetadataOf(map[string]string{"version": "1.0.0", "zone": "a"}),
		})
	}
	if err := m.Publish(t.id, key, instances); err != nil {
		b.Fatal(err)
	}
	return s, m, peer.NewContext(b.Context(), &peer.Peer{Addr: address{&net.TCPAddr{}, t}})
}

var registrations atomic.Int64

// nextRegistration is the request of an instance that changes something, in one of many services.
func nextRegistration(services int64) *nacospb.Payload {
	n := registrations.Add(1)
	return benchPayload("InstanceRequest", fmt.Sprintf(registerBody, n%services, n%250, 1024+n%60000))
}

// BenchmarkHandle is a request without its transport.
func BenchmarkHandle(b *testing.B) {
	for _, bench := range []struct {
		name string
		next func() *nacospb.Payload
	}{
		{"register", func() *nacospb.Payload { return nextRegistration(100_000) }},
		{"query", func() *nacospb.Payload { return benchPayload("ServiceQueryRequest", queryBody) }},
		{"health", func() *nacospb.Payload {
			return benchPayload("HealthCheckRequest", `{"headers":{},"module":"internal"}`)
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			s, _, ctx := benchServer(b)
			requests := make([]*payload, b.N)
			for i := range requests {
				p := bench.next()
				requests[i] = &payload{kind: p.GetMetadata().GetType(), body: p.GetBody().GetValue()}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if _, err := s.request(ctx, requests[i]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// echo answers every request with the same payload.
type echo struct {
	nacospb.UnimplementedRequestServer
	nacospb.UnimplementedBiRequestStreamServer
	answer *nacospb.Payload
}

func (e *echo) Request(context.Context, *nacospb.Payload) (*nacospb.Payload, error) {
	return e.answer, nil
}

func (e *echo) RequestBiStream(s nacospb.BiRequestStream_RequestBiStreamServer) error {
	<-s.Context().Done()
	return nil
}

// BenchmarkLoopback is a request with its transport, and the client in the same process: cpu-µs/op is of both. What is
// above the echo of the same payloads is ours.
func BenchmarkLoopback(b *testing.B) {
	for _, bench := range []struct {
		name string
		next func() *nacospb.Payload
	}{
		{"register", func() *nacospb.Payload { return nextRegistration(100_000) }},
		{"query", func() *nacospb.Payload { return benchPayload("ServiceQueryRequest", queryBody) }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			s, _, _ := benchServer(b)
			loopback(b, s.Serve, func() { _ = s.Stop(context.Background()) }, bench.next)
		})
		b.Run(bench.name+"/echo", func(b *testing.B) {
			s, _, ctx := benchServer(b)
			p := bench.next()
			f, err := s.request(ctx, &payload{kind: p.GetMetadata().GetType(), body: p.GetBody().GetValue()})
			if err != nil {
				b.Fatal(err)
			}
			var whole []byte
			for _, part := range f {
				whole = append(whole, part.ReadOnlyData()...)
			}
			e := &echo{answer: &nacospb.Payload{Metadata: &nacospb.Metadata{Type: "echo"}, Body: &anypb.Any{Value: whole}}}
			rpc := grpc.NewServer()
			nacospb.RegisterRequestServer(rpc, e)
			nacospb.RegisterBiRequestStreamServer(rpc, e)
			loopback(b, rpc.Serve, rpc.Stop, bench.next)
		})
	}
}

func loopback(b *testing.B, serve func(net.Listener) error, stop func(), next func() *nacospb.Payload) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- serve(l) }()
	const connections = 50
	var clients []nacospb.RequestClient
	ctx, cancel := context.WithCancel(context.Background())
	for range connections {
		conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		stream, err := nacospb.NewBiRequestStreamClient(conn).RequestBiStream(ctx)
		if err != nil {
			b.Fatal(err)
		}
		if err := stream.Send(benchPayload(setupRequest, goSetup)); err != nil {
			b.Fatal(err)
		}
		client := nacospb.NewRequestClient(conn)
		for ready := false; !ready; {
			p, err := client.Request(ctx, next())
			if err != nil {
				b.Fatal(err)
			}
			ready = p.GetMetadata().GetType() != errorResponse
		}
		clients = append(clients, client)
	}
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime()
	b.SetParallelism(connections / 2)
	var number atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		client := clients[int(number.Add(1))%connections]
		for pb.Next() {
			p, err := client.Request(ctx, next())
			if err != nil || p.GetMetadata().GetType() == errorResponse {
				b.Errorf("answered %v, %v", p, err)
				return
			}
		}
	})
	b.ReportMetric(float64((cpuTime()-before).Microseconds())/float64(b.N), "cpu-µs/op")
	b.StopTimer()
	cancel()
	stop()
	if err := <-served; err != nil {
		b.Error(err)
	}
}

// cpuTime is what the process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
