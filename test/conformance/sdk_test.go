package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/server"
	"github.com/muster-registry/muster/test/sdk"
)

// TestSDK drives the real nacos-sdk-go, in processes of its own, against real registries on loopback.
func TestSDK(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "muster-client")
	if err := sdk.Build("../clients/go", binary); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]func(*testing.T, string){
		"register, push, deregister": sdkPush,
		"batch":                      sdkBatch,
		"query and list":             sdkQueryAndList,
		"registry restarts":          sdkRestart,
		"registry drains":            sdkDrain,
		"client is killed":           sdkKilled,
		"provider and consumer":      sdkModes,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, binary)
		})
	}
}

func sdkPush(t *testing.T, binary string) {
	s := start(t, config())
	provider, consumer := runSDK(t, binary, s), runSDK(t, binary, s)
	consumer.do(`{"do":"subscribe","service":"a"}`)
	consumer.next("an empty list", func(e sdkEvent) bool { return e.Event == "list" && *e.Count == 0 })

	provider.do(`{"do":"register","service":"a","ip":"127.0.0.1","port":8080,"weight":2,"metadata":{"zone":"z1"}}`)
	e := consumer.next("a list of one", func(e sdkEvent) bool { return e.Event == "list" && *e.Count == 1 })
	in := e.Instances[0]
	if in.Address != "127.0.0.1:8080" || in.Weight != 2 || !in.Healthy || in.Cluster != "DEFAULT" || in.Metadata["zone"] != "z1" || e.Delay == nil {
		t.Errorf("told %+v, delay %v", in, e.Delay)
	}
	provider.do(`{"do":"register","service":"a","ip":"127.0.0.1","port":8081}`)
	consumer.next("the other port alone", func(e sdkEvent) bool { return e.Has("127.0.0.1:8081") })
	provider.do(`{"do":"deregister","service":"a","ip":"127.0.0.1","port":8081}`)
	consumer.next("an empty list again", func(e sdkEvent) bool { return e.Event == "list" && *e.Count == 0 })

	consumer.do(`{"do":"unsubscribe","service":"a"}`)
	provider.do(`{"do":"register","service":"a"}`)
	consumer.do(`{"do":"query","service":"a","id":"q"}`)
	if told := consumer.Count(func(e sdkEvent) bool { return e.Event == "list" && e.ID == "" }); told != 4 {
		t.Errorf("told %d lists, want the 4 before it unsubscribed", told)
	}
}

func sdkBatch(t *testing.T, binary string) {
	s := start(t, config())
	provider, consumer := runSDK(t, binary, s), runSDK(t, binary, s)
	provider.do(`{"do":"register","service":"b","instances":50,"ip":"127.0.0.1","port":9000}`)
	consumer.do(`{"do":"subscribe","service":"b"}`)
	consumer.next("all of the batch", func(e sdkEvent) bool { return e.Event == "list" && *e.Count == 50 && *e.Healthy == 50 })
	provider.do(`{"do":"register","service":"b","instances":2,"ip":"127.0.0.1","port":9000}`)
	consumer.next("the smaller batch", func(e sdkEvent) bool { return e.Has("127.0.0.1:9000", "127.0.0.1:9001") })
	provider.do(`{"do":"deregister","service":"b"}`)
	consumer.next("nothing", func(e sdkEvent) bool { return e.Event == "list" && *e.Count == 0 })
}

func sdkQueryAndList(t *testing.T, binary string) {
	s := start(t, config())
	c := runSDK(t, binary, s, "--clients", "3")
	for _, name := range []string{"c1", "c2", "c3"} {
		c.do(`{"do":"register","service":"` + name + `","instances":2,"ip":"127.0.0.1","port":9100}`)
	}
	c.do(`{"do":"register","service":"other","group":"g"}`)
	c.do(`{"do":"query","service":"c2"}`)
	c.next("an answer", func(e sdkEvent) bool { return e.Has("127.0.0.1:9100", "127.0.0.1:9101") })
	c.do(`{"do":"query","service":"none"}`)
	c.next("an empty answer", func(e sdkEvent) bool { return e.Event == "list" && e.Service == "none" && *e.Count == 0 })
	c.do(`{"do":"list","page":1,"page_size":2}`)
	e := c.next("a page", func(e sdkEvent) bool { return e.Event == "services" })
	if *e.Count != 3 || !slices.Equal(e.Names, []string{"c1", "c2"}) {
		t.Errorf("page of %d: %v", *e.Count, e.Names)
	}
}

// A registry that comes back empty on the same address is filled by its clients, and takes nobody's list away while it
// is not: reads are closed until registrations have stopped coming.
func sdkRestart(t *testing.T, binary string) {
	c := config()
	c.Timeouts.ColdStartQuiet.Duration, c.Timeouts.ColdStartLimit.Duration = time.Second, patience
	open := c
	open.Timeouts.ColdStartQuiet.Duration, open.Timeouts.ColdStartLimit.Duration = 0, 0
	s := start(t, open)
	c.Listen.HTTPPort, c.Listen.GRPCPort = portOf(s.Addr().HTTP), portOf(s.Addr().GRPC)
	provider, consumer := runSDK(t, binary, s, "--clients", "5"), runSDK(t, binary, s)
	for i := range 5 {
		provider.do(fmt.Sprintf(`{"do":"register","service":"r%d","client":%d,"instances":2,"ip":"127.0.0.1","port":%d}`, i, i, 9200+10*i))
		consumer.do(fmt.Sprintf(`{"do":"subscribe","service":"r%d"}`, i))
	}
	for i := range 5 {
		consumer.next("two instances", func(e sdkEvent) bool { return e.Service == fmt.Sprint("r", i) && e.Event == "list" && *e.Count == 2 })
	}

	stop(t, s)
	provider.next("the connection's end", func(e sdkEvent) bool { return e.Connected != nil && !*e.Connected })
	restarted := startClosed(t, c)
	waitFor(t, "reads to open", restarted.Member().ReadsOpen)
	// what is subscribed now is answered from what the clients have registered again
	fresh := runSDK(t, binary, restarted)
	for i := range 5 {
		fresh.do(fmt.Sprintf(`{"do":"query","service":"r%d"}`, i))
		e := fresh.next("an answer", func(e sdkEvent) bool { return e.Event == "list" && e.Service == fmt.Sprint("r", i) })
		if *e.Count != 2 {
			t.Errorf("r%d came back with %d instances, want 2", i, *e.Count)
		}
	}
	// the old consumer is subscribed again: it hears of a change
	provider.do(`{"do":"register","service":"r0","client":0,"instances":3,"ip":"127.0.0.1","port":9200}`)
	consumer.next("three instances", func(e sdkEvent) bool { return e.Event == "list" && e.Service == "r0" && *e.Count == 3 })
	if n := consumer.Count(func(e sdkEvent) bool { return e.Event == "list" && e.MS > 0 && *e.Count < 2 }); n != 0 {
		t.Errorf("the consumer was told %d lists that were too short", n)
	}
}

// A registry that drains moves its clients by itself: they are gone before it ends their connections.
func sdkDrain(t *testing.T, binary string) {
	first, second := start(t, config()), start(t, config())
	later := config()
	later.Listen.HTTPPort, later.Listen.GRPCPort = portOf(second.Addr().HTTP), portOf(second.Addr().GRPC)
	stop(t, second) // so that all connect to the first
	provider := runSDK(t, binary, first, "--clients", "4", "--servers", first.Addr().HTTP.String()+","+second.Addr().HTTP.String())
	for i := range 4 {
		provider.do(fmt.Sprintf(`{"do":"register","service":"d%d","client":%d}`, i, i))
	}
	second = start(t, later)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := first.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "4 connections at the second", func() bool { return second.Member().Counts().Connections == 4 })
	waitFor(t, "4 services at the second", func() bool { return second.Member().Counts().Services == 4 })
	if n := provider.Count(func(e sdkEvent) bool { return e.Connected != nil && !*e.Connected }); n != 0 {
		t.Errorf("%d connections were closed, the clients did not leave by themselves", n)
	}
}

// A killed client takes nothing with it at once; its instances, whose ports never answered, go after the short grace.
func sdkKilled(t *testing.T, binary string) {
	c := config()
	c.Timeouts.SilentConnectionGrace.Duration = 500 * time.Millisecond
	s := start(t, c)
	provider, consumer := runSDK(t, binary, s), runSDK(t, binary, s)
	provider.do(`{"do":"register","service":"k","ip":"127.0.0.1","port":1}`)
	consumer.do(`{"do":"subscribe","service":"k"}`)
	consumer.next("one instance", func(e sdkEvent) bool { return e.Event == "list" && *e.Count == 1 })
	if err := provider.Process().Kill(); err != nil {
		t.Fatal(err)
	}
	consumer.next("none", func(e sdkEvent) bool { return e.Event == "list" && *e.Count == 0 })
}

// The modes that people and pods use: a provider that opens its ports, says goodbye on SIGTERM, and what consumers see.
func sdkModes(t *testing.T, binary string) {
	s := start(t, config())
	flags := []string{"--service", "m", "--services", "2", "--instances", "3", "--ip", "127.0.0.1", "--port", "19400"}
	provider := startSDK(t, binary, s, append(flags, "--listen", "--metadata", "zone=z1", "provider")...)
	provider.next("all registered", func(e sdkEvent) bool { return e.Event == "registered" && *e.Count == 6 })
	if conn, err := net.Dial("tcp", "127.0.0.1:19405"); err != nil {
		t.Errorf("the last instance does not listen: %v", err)
	} else {
		_ = conn.Close()
	}
	consumer := startSDK(t, binary, s, append(flags, "--clients", "2", "consumer")...)
	consumer.next("all subscribed", func(e sdkEvent) bool { return e.Event == "subscribed" && *e.Count == 4 })
	lists := func(count int) func() bool {
		return func() bool {
			return consumer.Count(func(e sdkEvent) bool { return e.Event == "list" && *e.Count == count }) == 4
		}
	}
	waitFor(t, "four lists of three", lists(3))
	query := startSDK(t, binary, s, append(flags, "query")...)
	e := query.next("an answer", func(e sdkEvent) bool { return e.Has("127.0.0.1:19403", "127.0.0.1:19404", "127.0.0.1:19405") })
	if e.Service != "m-1" || e.Instances[0].Metadata["zone"] != "z1" {
		t.Errorf("asked for m-1: %s", e.Line)
	}
	list := startSDK(t, binary, s, "list")
	list.next("two services", func(e sdkEvent) bool { return e.Event == "services" && slices.Equal(e.Names, []string{"m-0", "m-1"}) })
	if err := provider.Process().Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "four empty lists", lists(0))
}

type sdkEvent = sdk.Event

// sdkClient is a running client.
type sdkClient struct {
	*sdk.Client
	t *testing.T
}

// runSDK starts one that obeys commands.
func runSDK(t *testing.T, binary string, s *server.Server, flags ...string) *sdkClient {
	t.Helper()
	return startSDK(t, binary, s, append(flags, "run")...)
}

func startSDK(t *testing.T, binary string, s *server.Server, flags ...string) *sdkClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	args := append([]string{"--servers", s.Addr().HTTP.String(), "--timeout-ms", "3000"}, flags...)
	c, err := sdk.Start(ctx, sdk.Options{Binary: binary, Args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if t.Failed() {
			for _, e := range c.Events() {
				t.Logf("process %d: %s", c.Process().Pid, e.Line)
			}
		}
	})
	return &sdkClient{c, t}
}

// do performs a command and waits until it has been done, well.
func (c *sdkClient) do(command string) {
	c.t.Helper()
	var as map[string]any
	if err := json.Unmarshal([]byte(command), &as); err != nil {
		c.t.Fatalf("%s: %v", command, err)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	if err := c.Do(ctx, as); err != nil {
		c.t.Fatal(err)
	}
}

// next returns the first event that fits after the one that it returned last.
func (c *sdkClient) next(what string, fits func(sdkEvent) bool) sdkEvent {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	e, err := c.Next(ctx, fits)
	if err != nil {
		c.t.Fatalf("waited for %s: %v", what, err)
	}
	return e
}
