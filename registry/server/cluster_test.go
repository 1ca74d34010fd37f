package server_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	configv1alpha1 "github.com/muster-registry/muster/api/config/v1alpha1"
	"github.com/muster-registry/muster/registry/membership/peerkey"
	"github.com/muster-registry/muster/registry/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is three members by file on 127.0.0.1 to .3, with one key.
type cluster struct {
	t       *testing.T
	port    int // of the peers, the same on all addresses
	list    string
	key     string
	members [3]*server.Server
}

func address(i int) string { return "127.0.0." + strconv.Itoa(i+1) }

// newCluster prepares the list and the key. change alters the configuration of every member.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, port: freePort(t), list: filepath.Join(t.TempDir(), "members"), key: newKey(t)}
	var lines []string
	for i := range c.members {
		lines = append(lines, net.JoinHostPort(address(i), strconv.Itoa(c.port)))
	}
	if err := os.WriteFile(c.list, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

func newKey(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "key")
	if err := peerkey.Write(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// freePort finds one that is free on all three addresses.
func freePort(t *testing.T) int {
	t.Helper()
	for range 50 {
		first, err := net.Listen("tcp", net.JoinHostPort(address(0), "0"))
		if err != nil {
			t.Fatal(err)
		}
		port := first.Addr().(*net.TCPAddr).Port
		free := true
		for i := 1; i < 3; i++ {
			l, err := net.Listen("tcp", net.JoinHostPort(address(i), strconv.Itoa(port)))
			if free = free && err == nil; err == nil {
				l.Close()
			}
		}
		first.Close()
		if free {
			return port
		}
	}
	t.Fatal("no port is free on all addresses")
	return 0
}

// config of a member: client and admin ports are free ones, and nobody's beats stop during a test.
func (c *cluster) config(i int) configv1alpha1.ServerConfig {
	conf := configv1alpha1.Default()
	conf.Listen = configv1alpha1.Listen{Address: address(i), PeerPort: c.port}
	conf.Membership = configv1alpha1.Membership{Source: configv1alpha1.SourceFile, File: c.list, TLSDir: c.key}
	conf.Timeouts.ColdStartQuiet.Duration = 200 * time.Millisecond
	conf.Timeouts.ColdStartLimit.Duration = time.Second
	conf.Timeouts.BeatUnhealthyAfter.Duration = time.Hour
	conf.Timeouts.BeatRemoveAfter.Duration = 2 * time.Hour
	return conf
}

func options(conf configv1alpha1.ServerConfig) server.Options {
	return server.Options{Config: conf, Version: "test", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}
}

// start starts one, and stops it at the end of the test.
func start(t *testing.T, conf configv1alpha1.ServerConfig) *server.Server {
	t.Helper()
	s, err := server.New(options(conf))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t *testing.T, s *server.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
	select {
	case err := <-s.Failed():
		t.Errorf("a part ended by itself: %v", err)
	default:
	}
}

func (c *cluster) start(i int) {
	c.t.Helper()
	c.members[i] = start(c.t, c.config(i))
}

func (c *cluster) startAll() {
	c.t.Helper()
	for i := range c.members {
		c.start(i)
	}
	for i := range c.members {
		c.sees(i, 3)
	}
}

// sees waits until a member is ready, sees so many members and agrees with all of them.
func (c *cluster) sees(i, members int) {
	c.t.Helper()
	var v view
	eventually(c.t, func() (bool, any) {
		v = viewOf(c.t, c.members[i])
		return v.Ready && !v.Dirty && len(v.Members) == members, v
	})
}

// view is what people read at /view.
type view struct {
	State   string
	Ready   bool
	Reason  string
	Dirty   bool
	Members []struct{ Name, Incarnation, State string }
	Counts  struct{ Instances, Unclaimed int }
}

func viewOf(t *testing.T, s *server.Server) view {
	t.Helper()
	_, body := get(t, "http://"+s.Addr().Admin.String()+"/view")
	var v view
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("view: %v in %s", err, body)
	}
	return v
}

func eventually(t *testing.T, holds func() (ok bool, state any)) {
	t.Helper()
	limit := time.NewTimer(90 * time.Second)
	defer limit.Stop()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		ok, state := holds()
		if ok {
			return
		}
		select {
		case <-limit.C:
			t.Fatalf("still not so: %+v", state)
		case <-ticker.C:
		}
	}
}

// client opens a connection a request: it does not notice when a server has been replaced.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}

func do(t *testing.T, method, target string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func get(t *testing.T, target string) (int, string) {
	t.Helper()
	return do(t, http.MethodGet, target)
}

func instanceURL(s *server.Server, path string, port int) string {
	q := url.Values{"serviceName": {"shop"}, "ip": {"10.0.0.1"}, "port": {strconv.Itoa(port)}}
	return "http://" + s.Addr().HTTP.String() + "/nacos/v1/ns/instance" + path + "?" + q.Encode()
}

func register(t *testing.T, s *server.Server, port int) {
	t.Helper()
	if code, body := do(t, http.MethodPost, instanceURL(s, "", port)); code != http.StatusOK || body != "ok" {
		t.Fatalf("register: %d %s", code, body)
	}
}

// listed returns the ports that a member lists; ok is false while it does not answer lists.
func listed(t *testing.T, s *server.Server) (ports []int, ok bool) {
	t.Helper()
	code, body := get(t, "http://"+s.Addr().HTTP.String()+"/nacos/v1/ns/instance/list?serviceName=shop")
	if code == http.StatusServiceUnavailable {
		return nil, false
	}
	var list struct{ Hosts []struct{ Port int } }
	if err := json.Unmarshal([]byte(body), &list); code != http.StatusOK || err != nil {
		t.Fatalf("list: %d %s", code, body)
	}
	for _, h := range list.Hosts {
		ports = append(ports, h.Port)
	}
	return ports, true
}
