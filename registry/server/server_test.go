package server_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	configv1alpha1 "github.com/muster-registry/muster/api/config/v1alpha1"
	"github.com/muster-registry/muster/registry/server"
)

// holds waits until a member lists exactly these ports.
func holds(t *testing.T, s *server.Server, want ...int) {
	t.Helper()
	eventually(t, func() (bool, any) {
		got, ok := listed(t, s)
		return ok && slices.Equal(got, want), got
	})
}

func digest(t *testing.T, s *server.Server) string {
	t.Helper()
	_, body := get(t, "http://"+s.Addr().Admin.String()+"/digest")
	return body
}

func TestWhatIsRegisteredAtOneIsListedAtAll(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.startAll()
	for i, s := range c.members {
		register(t, s, 8000+i)
	}
	for _, s := range c.members {
		holds(t, s, 8000, 8001, 8002)
	}
	eventually(t, func() (bool, any) {
		sums := []string{digest(t, c.members[0]), digest(t, c.members[1]), digest(t, c.members[2])}
		return len(slices.Compact(sums)) == 1, sums
	})
	if code, body := do(t, http.MethodDelete, instanceURL(c.members[1], "", 8000)); code != http.StatusOK {
		t.Fatalf("deregister: %d %s", code, body)
	}
	for _, s := range c.members {
		holds(t, s, 8001, 8002)
	}
}

// The crash of a member is no reason for an instance to disappear.
func TestACrashRemovesNothing(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.startAll()
	want := []int{8000, 8001, 8002, 8003, 8004, 8005}
	for _, port := range want {
		register(t, c.members[0], port)
	}
	for _, s := range c.members {
		holds(t, s, want...)
	}
	stop(t, c.members[0])
	for i := 1; i < 3; i++ {
		eventually(t, func() (bool, any) {
			if got, ok := listed(t, c.members[i]); !ok || !slices.Equal(got, want) {
				t.Fatalf("member %d lists %v after the crash, want %v", i, got, want)
			}
			v := viewOf(t, c.members[i])
			return len(v.Members) == 2 && !v.Dirty, v
		})
	}
	c.start(0)
	c.sees(0, 3)
	holds(t, c.members[0], want...)
}

func TestDrain(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.startAll()
	want := []int{8000, 8001, 8002, 8003, 8004, 8005}
	for i, port := range want {
		register(t, c.members[i%3], port)
	}
	holds(t, c.members[1], want...)
	first := viewOf(t, c.members[0])

	admin := "http://" + c.members[0].Addr().Admin.String()
	if code, body := do(t, http.MethodPost, admin+"/drain"); code != http.StatusOK {
		t.Fatalf("drain: %d %s", code, body)
	}
	if code, body := get(t, admin+"/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "leaving") {
		t.Errorf("readyz of one that has left: %d %s", code, body)
	}
	if code, body := get(t, admin+"/healthz"); code != http.StatusOK {
		t.Errorf("healthz of one that has left: %d %s", code, body)
	}
	// they have heard it, though nobody refuses connections yet
	for i := 1; i < 3; i++ {
		c.sees(i, 2)
		if got, _ := listed(t, c.members[i]); !slices.Equal(got, want) {
			t.Errorf("member %d lists %v, want %v", i, got, want)
		}
		if v := viewOf(t, c.members[i]); v.Counts.Instances != len(want) {
			t.Errorf("member %d holds %+v, want %d instances", i, v.Counts, len(want))
		}
	}
	stop(t, c.members[0])
	c.start(0)
	for i := range c.members {
		c.sees(i, 3)
		holds(t, c.members[i], want...)
	}
	if v := viewOf(t, c.members[0]); v.Members[0] == first.Members[0] && v.Members[1] == first.Members[1] && v.Members[2] == first.Members[2] {
		t.Error("the new process has the incarnation of the old one")
	}
}

// A registry that starts with nothing takes registrations, and answers no list that could wipe what clients hold.
func TestColdStart(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	for i := range c.members {
		conf := c.config(i)
		conf.Timeouts.ColdStartLimit.Duration = 10 * time.Minute
		conf.Timeouts.ColdStartQuiet.Duration = 3 * time.Second
		c.members[i] = start(t, conf)
	}
	for i, s := range c.members {
		c.sees(i, 3)
		if got, ok := listed(t, s); ok {
			t.Errorf("member %d lists %v in a cold start", i, got)
		}
	}
	register(t, c.members[1], 8000)
	for _, s := range c.members {
		holds(t, s, 8000)
	}
}

func TestAloneOnFreePorts(t *testing.T) {
	t.Parallel()
	conf := configv1alpha1.Default()
	conf.Listen = configv1alpha1.Listen{Address: "127.0.0.1"}
	s := start(t, conf)
	a := s.Addr()
	if a.Peers != nil {
		t.Errorf("one that is alone listens for peers at %s", a.Peers)
	}
	if http, grpc := a.HTTP.(*net.TCPAddr).Port, a.GRPC.(*net.TCPAddr).Port; grpc != http+1000 {
		t.Errorf("HTTP %d, gRPC %d: clients add 1000", http, grpc)
	}
	admin := "http://" + a.Admin.String()
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ready\n"} {
		if code, body := get(t, admin+path); code != http.StatusOK || body != want {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	register(t, s, 8000)
	_, metrics := get(t, admin+"/metrics")
	for _, line := range []string{
		"muster_member_ready 1", "muster_member_reads_open 0", "muster_member_dirty 0", "muster_member_view_frozen 0",
		`muster_member_view_members{state="complete"} 1`, "muster_catalog_instances 1", "muster_catalog_services 1",
		"muster_session_beat_publishers 1", "muster_session_connections 0", "muster_session_unclaimed_records 0",
		"muster_push_subscriptions 0", "muster_replication_records_applied_total 0", `muster_member_probes_total{answer="accepted"} 0`,
		`muster_server_build_info{version="test"} 1`, "go_goroutines ", "process_resident_memory_bytes ",
		`muster_http_requests_total{code="200",endpoint="instance.register"} 1`, "muster_grpc_transports 0",
	} {
		if !strings.Contains(metrics, "\n"+line) {
			t.Errorf("metrics without %s", line)
		}
	}
	if code, _ := get(t, admin+"/drain"); code != http.StatusMethodNotAllowed {
		t.Errorf("a GET drains: %d", code)
	}
}

func TestStopTwice(t *testing.T) {
	conf := configv1alpha1.Default()
	conf.Listen = configv1alpha1.Listen{Address: "127.0.0.1"}
	s := start(t, conf)
	stop(t, s)
	stop(t, s)
	if _, err := client.Get("http://" + s.Addr().Admin.String() + "/healthz"); err == nil {
		t.Error("still there")
	}
}

// What is wrong, and how to mend it, in one line.
func TestBadInput(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	key, list := newKey(t), filepath.Join(t.TempDir(), "members")
	if err := os.WriteFile(list, []byte("127.0.0.1:1"), 0o600); err != nil {
		t.Fatal(err)
	}
	byFile := func(c *configv1alpha1.ServerConfig) {
		c.Listen.PeerPort = freePort(t)
		c.Membership = configv1alpha1.Membership{Source: configv1alpha1.SourceFile, File: list, TLSDir: key}
	}
	for name, c := range map[string]struct {
		change func(*configv1alpha1.ServerConfig)
		pod    server.Pod
		want   []string
	}{
		"HTTP port taken": {
			change: func(c *configv1alpha1.ServerConfig) { c.Listen.HTTPPort, c.Listen.GRPCPort = port, port+1000 },
			want:   []string{"listen.httpPort", strconv.Itoa(port), "taken", "--http-port"},
		},
		"gRPC port taken": {
			change: func(c *configv1alpha1.ServerConfig) { c.Listen.HTTPPort, c.Listen.GRPCPort = port-1000, port },
			want:   []string{"listen.grpcPort", strconv.Itoa(port), "taken", "--http-port"},
		},
		"admin port taken": {
			change: func(c *configv1alpha1.ServerConfig) { c.Listen.AdminPort = port },
			want:   []string{"listen.adminPort", "taken", "--admin-port"},
		},
		"peer port taken": {
			change: func(c *configv1alpha1.ServerConfig) {
				byFile(c)
				c.Listen.PeerPort = port
			},
			want: []string{"listen.peerPort", "taken", "--peer-port"},
		},
		"foreign address": {
			change: func(c *configv1alpha1.ServerConfig) { c.Listen.Address = "192.0.2.1" },
			want:   []string{"listen.address", "192.0.2.1", "no address of this host"},
		},
		"no peer port": {
			change: func(c *configv1alpha1.ServerConfig) {
				byFile(c)
				c.Listen.PeerPort = 0
			},
			want: []string{"listen.peerPort"},
		},
		"nowhere to be reached": {
			change: func(c *configv1alpha1.ServerConfig) {
				byFile(c)
				c.Listen.Address = ""
			},
			want: []string{"membership.advertise", "--advertise"},
		},
		"a pod's address that is none": {
			change: byFile,
			pod:    server.Pod{IP: "garbage"},
			want:   []string{"POD_IP", "garbage", "--advertise"},
		},
		"no key": {
			change: func(c *configv1alpha1.ServerConfig) {
				byFile(c)
				c.Membership.TLSDir = filepath.Join(t.TempDir(), "nothing")
			},
			want: []string{"tls.crt", "no such file", "peer-keys"},
		},
		"no list": {
			change: func(c *configv1alpha1.ServerConfig) {
				byFile(c)
				c.Membership.File += ".not"
			},
			want: []string{"membership.file", "no such file"},
		},
		"a lease outside of a pod": {
			change: func(c *configv1alpha1.ServerConfig) {
				byFile(c)
				c.ClusterName, c.ClusterUID, c.Membership.Source = "r", "u", configv1alpha1.SourceLease
			},
			want: []string{"POD_NAME", "downward API"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			conf := configv1alpha1.Default()
			conf.Listen = configv1alpha1.Listen{Address: "127.0.0.1"}
			c.change(&conf)
			o := options(conf)
			o.Pod = c.pod
			err := failure(t, o)
			if err == nil {
				t.Fatal("it runs")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is more than a line", err)
			}
		})
	}
}

// failure is why a server does not start, or ends.
func failure(t *testing.T, o server.Options) error {
	t.Helper()
	s, err := server.New(o)
	if err != nil {
		return err
	}
	if err := s.Start(t.Context()); err != nil {
		return err
	}
	defer func() { _ = s.Stop(context.WithoutCancel(t.Context())) }()
	select {
	case err := <-s.Failed():
		return err
	case <-time.After(30 * time.Second):
		return nil
	}
}

// A member with a key of another cluster is never in the view, and is no reason to start cold.
func TestAForeignKeyDoesNotEnter(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.start(0)
	conf := c.config(1)
	conf.Membership.TLSDir = newKey(t)
	foreign := start(t, conf)
	eventually(t, func() (bool, any) {
		v := viewOf(t, foreign)
		return !v.Ready && strings.Contains(v.Reason, "refuses the handshake"), v
	})
	if v := viewOf(t, c.members[0]); len(v.Members) != 1 {
		t.Errorf("view with a stranger: %+v", v)
	}
}
