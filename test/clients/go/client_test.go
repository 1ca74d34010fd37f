package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"
	"github.com/nacos-group/nacos-sdk-go/v2/model"
)

func TestParseServers(t *testing.T) {
	server := func(host string, port, grpc uint64) constant.ServerConfig {
		return constant.ServerConfig{IpAddr: host, Port: port, GrpcPort: grpc}
	}
	tests := map[string]struct {
		list string
		want []constant.ServerConfig // nil: refused
	}{
		"one":                  {"muster.default:8848", []constant.ServerConfig{server("muster.default", 8848, 9848)}},
		"two, gRPC port given": {"127.0.0.1:8848, 127.0.0.2:80/19848", []constant.ServerConfig{server("127.0.0.1", 8848, 9848), server("127.0.0.2", 80, 19848)}},
		"IPv6":                 {"[::1]:8848", []constant.ServerConfig{server("[::1]", 8848, 9848)}},
		"no port":              {"muster.default", nil},
		"port is a word":       {"muster:http", nil},
		"gRPC port is a word":  {"muster:8848/grpc", nil},
		"port too large":       {"muster:65536", nil},
		"nothing":              {"", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseServers(tt.list)
			if (err == nil) != (tt.want != nil) || len(got) != len(tt.want) {
				t.Fatalf("got %v, %v", got, err)
			}
			for i := range got {
				if got[i] != tt.want[i] {
					t.Errorf("server %d: got %+v, want %+v", i, got[i], tt.want[i])
				}
			}
		})
	}
}

// What is wrong with the flags is said in one line that names the flag.
func TestWrongFlags(t *testing.T) {
	tests := map[string]struct {
		args []string
		says string
	}{
		"no mode":        {nil, "mode"},
		"unknown mode":   {[]string{"observer"}, "mode"},
		"unknown flag":   {[]string{"--colour", "red", "provider"}, "colour"},
		"bad server":     {[]string{"--servers", "x", "provider"}, "--servers"},
		"no clients":     {[]string{"--clients", "0", "consumer"}, "--clients"},
		"too many ports": {[]string{"--port", "65000", "--instances", "1000", "provider"}, "--port"},
		"bad exit":       {[]string{"--on-exit", "explode", "provider"}, "--on-exit"},
		"bad level":      {[]string{"--sdk-log", "loud", "provider"}, "--sdk-log"},
		"bad metadata":   {[]string{"--metadata", "a", "provider"}, "metadata"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var errs bytes.Buffer
			err := run(t.Context(), tt.args, strings.NewReader(""), io.Discard, &errs)
			if !errors.Is(err, errUsage) || !strings.Contains(errs.String(), tt.says) {
				t.Errorf("got %v: %s", err, errs.String())
			}
		})
	}
}

func TestServiceNames(t *testing.T) {
	if got := (&options{service: "demo", services: 1}).names(); len(got) != 1 || got[0] != "demo" {
		t.Errorf("one: %v", got)
	}
	if got := (&options{service: "demo", services: 3}).names(); len(got) != 3 || got[2] != "demo-2" {
		t.Errorf("three: %v", got)
	}
}

// The delay is that of the newest instance that was not in the list before.
func TestListedTellsTheDelay(t *testing.T) {
	now := time.UnixMilli(10_000)
	host := func(port uint64, at string) model.Instance {
		return model.Instance{Ip: "10.0.0.1", Port: port, Healthy: port != 3, Metadata: map[string]string{registeredAt: at}}
	}
	ev, before := listed("s", []model.Instance{host(1, "9000"), host(2, "9900")}, now, nil)
	if *ev.Count != 2 || *ev.Healthy != 2 || *ev.DelayMS != 100 {
		t.Errorf("first list: %s", line(t, ev))
	}
	ev, before = listed("s", []model.Instance{host(1, "9000"), host(2, "9900")}, now, before)
	if ev.DelayMS != nil {
		t.Errorf("nothing new: %s", line(t, ev))
	}
	ev, _ = listed("s", []model.Instance{host(1, "9000"), host(3, "soon")}, now, before)
	if ev.DelayMS != nil || *ev.Healthy != 1 {
		t.Errorf("a provider that says no time: %s", line(t, ev))
	}
	ev, _ = listed("s", nil, now, before)
	if got := line(t, ev); !strings.Contains(got, `"count":0`) {
		t.Errorf("an empty list does not say so: %s", got)
	}
}

// Connections are read from the SDK's log; these are its lines.
func TestConnectionsFromTheLog(t *testing.T) {
	var out bytes.Buffer
	l := newLogger("off", io.Discard, newEvents(&out))
	type serverInfo struct {
		host       string
		port, grpc uint64
	}
	server := serverInfo{"127.0.0.1", 8848, 9848}
	l.create(1)
	l.Infof("[RpcClient.Start] %s try to connect to server on start up, server: %+v", "uuid-1", server)
	l.Infof("%s success to connect to server %+v on start up, connectionId=%s", "uuid-1", server, "7_127.0.0.1_5")
	l.Infof("%s success to connect a server %+v, connectionId=%s", "somebody-else", server, "8_127.0.0.1_5")
	l.Errorf("connectionId %s request stream error, switch server, error=%v", "7_127.0.0.1_5", io.EOF)
	l.Infof("%s server healthy check fail, currentConnection=%s", "uuid-1", "7_127.0.0.1_5")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d events, want 2:\n%s", len(lines), out.String())
	}
	for i, want := range [][]string{
		{`"client":1`, `"connected":true`, `"server":"127.0.0.1:8848"`, `"connection":"7_127.0.0.1_5"`},
		{`"connected":false`, `"connection":"7_127.0.0.1_5"`},
	} {
		for _, w := range want {
			if !strings.Contains(lines[i], w) {
				t.Errorf("line %d lacks %s: %s", i, w, lines[i])
			}
		}
	}
}

// What is registered is read from there too, whoever asked for it.
func TestRegistrationsFromTheLog(t *testing.T) {
	const one = `{"ip":"10.0.0.1","port":80,"weight":1,"healthy":true,"metadata":{"revision":"2"}}`
	tests := map[string]struct{ format, list, want string }{
		"one":      {"register instance namespaceId:<%s>,serviceName:<%s> with instance:<%s>", one, `"count":1`},
		"a batch":  {"batch register instance namespaceId:<%s>,serviceName:<%s> with instance:<%s>", "[" + one + "," + one + "]", `"count":2`},
		"no batch": {"batch register instance namespaceId:<%s>,serviceName:<%s> with instance:<%s>", "soon", `"error":"what the SDK logs is no list`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			newLogger("off", io.Discard, newEvents(&out)).Infof(tt.format, "public", "s-1", tt.list)
			for _, want := range []string{`"event":"registering"`, `"service":"s-1"`, tt.want} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("lacks %s: %s", want, out.String())
				}
			}
			if strings.Contains(tt.want, "count") && !strings.Contains(out.String(), `"address":"10.0.0.1:80","cluster":"","weight":1,"healthy":true,"metadata":{"revision":"2"}`) {
				t.Errorf("another instance: %s", out.String())
			}
		})
	}
}

func line(t *testing.T, ev event) string {
	t.Helper()
	b, err := json.Marshal(ev)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
