//go:build linux

package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	configv1alpha1 "github.com/muster-registry/muster/api/config/v1alpha1"
)

// member is one cmd/registry in a host of its own. It may be started again after its end.
type member struct {
	*node
	name   string
	dir    string // configuration and log
	config configv1alpha1.ServerConfig
	env    []string

	mu      sync.Mutex // guards all below
	cmd     *exec.Cmd  // nil: not running
	ended   chan struct{}
	stopped bool // by SIGSTOP
}

func (m *member) url(port int, path string) string {
	return "http://" + net.JoinHostPort(m.address, strconv.Itoa(port)) + path
}

// server is how a client names it.
func (m *member) server() string {
	return net.JoinHostPort(m.address, strconv.Itoa(m.config.Listen.HTTPPort))
}

func (m *member) grpc() string {
	return net.JoinHostPort(m.address, strconv.Itoa(m.config.Listen.GRPCPort))
}

// start starts the process. Its log goes on where that of the former one ended.
func (m *member) start() error {
	text, err := configv1alpha1.Render(m.config)
	if err != nil {
		return err
	}
	file := filepath.Join(m.dir, m.name+".yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(m.dir, m.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(program("registry"), "--config", file)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, append(os.Environ(), m.env...)
	if err := m.space.start(cmd); err != nil {
		return fmt.Errorf("start %s: %w", m.name, err)
	}
	ended := make(chan struct{})
	go func() { // ends with the process
		_ = cmd.Wait() // members are killed here
		close(ended)
	}()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cmd, m.ended, m.stopped = cmd, ended, false
	return nil
}

// signal sends one, and remembers what it means.
func (m *member) signal(s syscall.Signal) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cmd == nil {
		return fmt.Errorf("%s does not run", m.name)
	}
	if err := m.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("signal %s: %w", m.name, err)
	}
	m.stopped = s == syscall.SIGSTOP || m.stopped && s != syscall.SIGCONT
	return nil
}

// gone waits until the process has ended.
func (m *member) gone(ctx context.Context) error {
	m.mu.Lock()
	ended := m.ended
	m.mu.Unlock()
	select {
	case <-ended:
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of %s: %w", m.name, ctx.Err())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cmd = nil
	return nil
}

// kill is a crash.
func (m *member) kill(ctx context.Context) error {
	if err := m.signal(syscall.SIGKILL); err != nil {
		return err
	}
	return m.gone(ctx)
}

// runs: the process is there, and not stopped.
func (m *member) runs() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cmd != nil && !m.stopped
}

func (m *member) pid() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cmd == nil {
		return 0
	}
	return m.cmd.Process.Pid
}

// resident is the memory of the process in bytes: now, and the most that it has had since it was started.
func (m *member) resident() (now, most int, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.pid()))
	if err != nil {
		return 0, 0, err
	}
	for name, into := range map[string]*int{"VmRSS:": &now, "VmHWM:": &most} {
		_, after, _ := strings.Cut(string(text), name)
		kib, err := strconv.Atoi(strings.Fields(after + " ?")[0])
		if err != nil {
			return 0, 0, fmt.Errorf("%s of %s: %w", name, m.name, err)
		}
		*into = kib << 10
	}
	return now, most, nil
}

// view is what people read at /view.
type view struct {
	State   string
	Ready   bool
	Reason  string
	Frozen  bool
	Dirty   bool
	Members []struct{ Name, Incarnation, State string }
	Counts  struct{ Services, Instances, Unclaimed, Connections, BeatPublishers, Subscriptions int }
}

func (m *member) view(ctx context.Context) (view, error) {
	var v view
	return v, getJSON(ctx, m.url(m.config.Listen.AdminPort, "/view"), &v)
}

// metric reads one of /metrics.
func (m *member) metric(ctx context.Context, name string) (float64, error) {
	text, err := send(ctx, http.MethodGet, m.url(m.config.Listen.AdminPort, "/metrics"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("%s has no metric %s", m.name, name)
}

// digest is the same on members that agree.
type digest struct {
	Sum       string
	Instances int
}

func (m *member) digest(ctx context.Context) (digest, error) {
	var d digest
	return d, getJSON(ctx, m.url(m.config.Listen.AdminPort, "/digest"), &d)
}

// host is an instance as a list shows it; revision is what its publisher put into the metadata.
type host struct {
	healthy  bool
	revision string
}

// list asks for a service by HTTP, and returns its instances by address.
func (m *member) list(ctx context.Context, service string) (map[string]host, error) {
	var answer struct {
		Hosts []struct {
			IP       string
			Port     int
			Healthy  bool
			Metadata map[string]string
		}
	}
	err := getJSON(ctx, m.url(m.config.Listen.HTTPPort, "/nacos/v1/ns/instance/list?serviceName="+service), &answer)
	if err != nil {
		return nil, err
	}
	hosts := make(map[string]host, len(answer.Hosts))
	for _, h := range answer.Hosts {
		hosts[net.JoinHostPort(h.IP, strconv.Itoa(h.Port))] = host{h.Healthy, h.Metadata[revisionKey]}
	}
	return hosts, nil
}

// client waits less long than clients do: a member that does not answer says nothing.
var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: 10 * time.Second}, Timeout: 3 * time.Second}

// send makes a request and returns the body of a good answer.
func send(ctx context.Context, method, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, url, answer.Status, body)
	}
	return body, err
}

func getJSON(ctx context.Context, url string, into any) error {
	body, err := send(ctx, http.MethodGet, url)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}
