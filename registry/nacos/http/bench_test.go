package http

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	nethttp "net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/model"
)

// The benchmarks show what the adapter and the member add to the transport: one goes to the handler directly, the other
// through loopback, beside net/http answering the same bytes from memory.

var started = time.Now()

type benchClock struct{}

func (benchClock) Now() model.Time {
	return model.Time{Mono: time.Since(started), Wall: time.Now().UnixMilli()}
}

// benchCore is a real member, which is alone: beats wait for nobody.
type benchCore struct{ *member.Member }

func (c benchCore) Beat(_ context.Context, b member.Beat) (member.BeatResult, error) {
	r, _ := c.Member.Beat(b)
	return r, nil
}

func benchServer(b *testing.B) *Server {
	m := member.New(member.Options{
		Self: model.Member{Name: "bench"}, Incarnation: func() model.Incarnation { return 1 }, Clock: benchClock{},
		Policy: membership.PolicyStandalone(), Timeouts: member.Timeouts{PushWindow: 50 * time.Millisecond, Rejoin: time.Hour, Tombstone: time.Minute},
	})
	m.SetListing(membership.Listing{Reachable: true})
	m.Tick()
	s, err := New(Options{Core: benchCore{m}, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 10 {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, parse(b, raw("POST", instancePath+"?serviceName=queried&ip=10.0.0."+strconv.Itoa(i)+"&port=8080&metadata=version%3D1.0.0%2Czone%3Da")))
		if w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
	return s
}

const instancePath = "/nacos/v1/ns/instance"

// raw is a request as the Java client of 1.x writes it.
func raw(method, target string) string {
	return method + " " + target + " HTTP/1.1\r\nHost: 127.0.0.1:8848\r\nClient-Version: Nacos-Java-Client:v1.4.6\r\n" +
		"User-Agent: Nacos-Java-Client:v1.4.6\r\nAccept-Encoding: gzip,deflate,sdch\r\nRequestId: 5f2a\r\nRequest-Module: Naming\r\n" +
		"Content-Type: application/x-www-form-urlencoded;charset=UTF-8\r\nAccept-Charset: UTF-8\r\nContent-Length: 0\r\n\r\n"
}

func parse(b *testing.B, text string) *nethttp.Request {
	r, err := nethttp.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		b.Fatal(err)
	}
	return r
}

var registrations atomic.Int64

// benchRequests are the requests of the hot paths.
var benchRequests = []struct {
	name string
	next func() string
}{
	{"list", func() string {
		return raw("GET", instancePath+"/list?app=unknown&healthyOnly=false&namespaceId=public&clientIP=10.0.0.1&serviceName=DEFAULT_GROUP%40%40queried&udpPort=0&clusters=")
	}},
	{"register", func() string {
		n := registrations.Add(1)
		return raw("POST", fmt.Sprintf(instancePath+"?app=unknown&groupName=DEFAULT_GROUP&namespaceId=public&serviceName=DEFAULT_GROUP%%40%%40service-%d&clusterName=DEFAULT"+
			"&ip=10.1.2.%d&port=%d&weight=1.0&enable=true&healthy=true&ephemeral=true&metadata=%%7B%%22version%%22%%3A%%221.0.0%%22%%2C%%22zone%%22%%3A%%22a%%22%%7D", n%100_000, n%250, 1024+n%60_000))
	}},
	{"beat", func() string {
		return raw("PUT", instancePath+"/beat?app=unknown&namespaceId=public&serviceName=DEFAULT_GROUP%40%40queried&clusterName=DEFAULT&ip=10.0.0.3&port=8080")
	}},
}

// discard is a response that nobody reads.
type discard struct {
	header nethttp.Header
	status int
}

func (d *discard) Header() nethttp.Header      { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

// BenchmarkHandle is a request without its transport.
func BenchmarkHandle(b *testing.B) {
	for _, bench := range benchRequests {
		b.Run(bench.name, func(b *testing.B) {
			s := benchServer(b)
			requests := make([]*nethttp.Request, b.N)
			for i := range requests {
				requests[i] = parse(b, bench.next())
			}
			b.ReportAllocs()
			b.ResetTimer()
			for _, r := range requests {
				w := &discard{header: nethttp.Header{}}
				if s.ServeHTTP(w, r); w.status != 200 {
					b.Fatal(w.status)
				}
			}
		})
	}
}

// BenchmarkLoopback is a request with its transport. The client writes and reads bytes, so nearly all of cpu-µs/op is
// the server's; what is above the bare server is ours.
func BenchmarkLoopback(b *testing.B) {
	for _, bench := range benchRequests {
		b.Run(bench.name, func(b *testing.B) { loopback(b, benchServer(b).http, bench.next) })
		b.Run(bench.name+"/bare", func(b *testing.B) {
			w := httptest.NewRecorder()
			benchServer(b).ServeHTTP(w, parse(b, bench.next()))
			body, length, kind := w.Body.Bytes(), strconv.Itoa(w.Body.Len()), w.Header().Get("Content-Type")
			bare := nethttp.HandlerFunc(func(w nethttp.ResponseWriter, _ *nethttp.Request) {
				w.Header().Set("Content-Type", kind)
				w.Header().Set("Content-Length", length)
				_, _ = w.Write(body)
			})
			loopback(b, &nethttp.Server{Handler: bare, ReadHeaderTimeout: readTimeout}, bench.next)
		})
	}
}

func loopback(b *testing.B, server *nethttp.Server, next func() string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	const connections = 50
	b.SetParallelism(connections / 2)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime()
	b.RunParallel(func(pb *testing.PB) {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Error(err)
			return
		}
		defer func() { _ = c.Close() }()
		in := bufio.NewReader(c)
		for pb.Next() {
			if err := exchange(c, in, next()); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64((cpuTime()-before).Microseconds())/float64(b.N), "cpu-µs/op")
	b.StopTimer()
	_ = server.Close()
	if err := <-served; !errors.Is(err, nethttp.ErrServerClosed) {
		b.Error(err)
	}
}

// exchange sends a request and steps over its answer, as cheaply as it goes.
func exchange(c net.Conn, in *bufio.Reader, request string) error {
	if _, err := io.WriteString(c, request); err != nil {
		return err
	}
	length := 0
	for first := true; ; first = false {
		line, err := in.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case first && string(line[9:12]) != "200":
			return fmt.Errorf("answered %q", line)
		case len(line) == 2:
			_, err := in.Discard(length)
			return err
		}
		if n, ok := strings.CutPrefix(string(line), "Content-Length: "); ok {
			length, _ = strconv.Atoi(strings.TrimSpace(n))
		}
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
