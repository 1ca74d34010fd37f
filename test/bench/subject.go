package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	configv1alpha1 "github.com/muster-registry/muster/api/config/v1alpha1"
	"github.com/muster-registry/muster/registry/membership/peerkey"
	"github.com/muster-registry/muster/test/bench/load"
	"github.com/muster-registry/muster/test/bench/nacos"
	"github.com/muster-registry/muster/test/bench/process"
)

// startLimit is how long a server may take until it answers.
const startLimit = 2 * time.Minute

// subject is what is measured: a limit, a member, a cluster or another registry.
type subject struct {
	grpc, http, admin []string // addresses, one a process
	procs             []*process.Process
	logs              []string
	// bare answers without knowing anything: nothing needs to be prepared.
	bare bool
	// far: members are asked for what they hold no copy of.
	far bool
	// profiled: members that start write profiles, from a signal on until they are stopped; or from their start on.
	profiled, fromStart bool
	peerPort            int
	list                string // the file with the members
}

// starter starts a fresh one.
type starter func(context.Context) (*subject, error)

func (s *subject) stop() {
	for _, p := range s.procs {
		p.Kill()
	}
}

func (s *subject) cpu() (time.Duration, error) {
	var sum time.Duration
	for _, p := range s.procs {
		if err := p.Ended(); err != nil {
			return 0, err
		}
		d, err := p.CPU()
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

// dial opens connections, in turn to each process.
func (s *subject) dial(ctx context.Context, n int, o nacos.Options) ([]*nacos.Conn, func(), error) {
	conns := make([]*nacos.Conn, n)
	stop := func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	}
	_, err := load.Closed(ctx, min(n, 32), n, func(ctx context.Context, _, i int) (err error) {
		conns[i], err = nacos.Dial(ctx, s.grpc[i%len(s.grpc)], o)
		return err
	})
	if err != nil {
		stop()
		return nil, nil, err
	}
	return conns, stop, nil
}

// output is a fresh log.
func (b *bench) output(name string) (*os.File, error) {
	b.runs++
	return os.Create(filepath.Join(b.work, fmt.Sprintf("%03d-%s.log", b.runs, name)))
}

func (b *bench) start(ctx context.Context, s *subject, name, path string, env []string, args ...string) error {
	f, err := b.output(name)
	if err != nil {
		return err
	}
	defer f.Close()
	p, err := process.Start(ctx, process.Options{Name: name, Path: path, Args: args, Env: env, Output: f})
	if err != nil {
		return err
	}
	s.procs, s.logs = append(s.procs, p), append(s.logs, f.Name())
	return nil
}

// limits starts bare servers that answer with body. More than one are a chain.
func (b *bench) limits(n int, body []byte, contentType string, flags ...string) starter {
	return func(ctx context.Context) (*subject, error) {
		b.runs++
		file := filepath.Join(b.work, fmt.Sprintf("%03d-answer", b.runs))
		if err := os.WriteFile(file, body, 0o600); err != nil {
			return nil, err
		}
		s := &subject{bare: true}
		next := ""
		for range n { // from the last one on
			port, err := freePorts([]string{"127.0.0.1"})
			if err != nil {
				return nil, err
			}
			rpc, web := at("127.0.0.1", port+1000), at("127.0.0.1", port)
			args := append([]string{"limit", "-grpc", rpc, "-http", web, "-answer", file, "-content-type", contentType, "-next", next}, flags...)
			if err := b.start(ctx, s, "limit", b.self, nil, args...); err != nil {
				s.stop()
				return nil, err
			}
			s.grpc, s.http = append(s.grpc, rpc), append(s.http, web)
			if err := s.accepts(ctx, rpc); err != nil {
				s.stop()
				return nil, err
			}
			next = rpc
		}
		slices.Reverse(s.grpc)
		slices.Reverse(s.http)
		return s, nil
	}
}

// accepts waits until somebody listens.
func (s *subject) accepts(ctx context.Context, address string) error {
	return s.eventually(ctx, func() error {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err
	})
}

// eventually tries until there is no error, while all processes live.
func (s *subject) eventually(ctx context.Context, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		for i, p := range s.procs {
			if ended := p.Ended(); ended != nil {
				text, _ := os.ReadFile(s.logs[i])
				return fmt.Errorf("%w: %s", ended, text)
			}
		}
		if load.Wait(ctx, 10*time.Millisecond) != nil {
			return fmt.Errorf("after %v: %w", startLimit, err)
		}
	}
}

// members starts a registry of n members, standalone or by file on 127.0.0.1 and on. change alters the configuration.
func (b *bench) members(n int, change func(*configv1alpha1.ServerConfig), env ...string) starter {
	return func(ctx context.Context) (*subject, error) {
		s, err := b.cluster(n)
		if err != nil {
			return nil, err
		}
		for range n {
			if err := b.join(ctx, s, change, env...); err != nil {
				s.stop()
				return nil, err
			}
		}
		if err := s.ready(ctx); err != nil {
			s.stop()
			return nil, err
		}
		return s, nil
	}
}

// cluster prepares a registry of no member yet: keys and a list. One of a single member needs neither.
func (b *bench) cluster(n int) (*subject, error) {
	s := &subject{}
	var addresses []string
	for i := range max(n, 1) {
		addresses = append(addresses, address(i))
	}
	port, err := freePorts(addresses)
	if err != nil || n < 2 {
		s.peerPort = port + 3000
		return s, err
	}
	b.runs++
	s.peerPort, s.list = port+3000, filepath.Join(b.work, fmt.Sprintf("%03d-members", b.runs))
	if err := peerkey.Write(s.list + ".key"); err != nil {
		return nil, err
	}
	return s, s.enlist(n)
}

// enlist writes the list of the first n members.
func (s *subject) enlist(n int) error {
	var lines []string
	for i := range n {
		lines = append(lines, at(address(i), s.peerPort))
	}
	return os.WriteFile(s.list, []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

// join starts one more member.
func (b *bench) join(ctx context.Context, s *subject, change func(*configv1alpha1.ServerConfig), env ...string) error {
	i := len(s.procs)
	c := configv1alpha1.Default()
	port := s.peerPort - 3000
	c.Listen = configv1alpha1.Listen{Address: address(i), HTTPPort: port, GRPCPort: port + 1000, AdminPort: port + 2000, PeerPort: s.peerPort}
	if s.list != "" {
		c.Membership = configv1alpha1.Membership{Source: configv1alpha1.SourceFile, File: s.list, TLSDir: s.list + ".key"}
	}
	c.Timeouts.ColdStartQuiet.Duration, c.Timeouts.ColdStartLimit.Duration = 0, 0
	c.Probing.Enabled = false // the instances are nobody
	c.LogLevel = "warn"
	if change != nil {
		change(&c)
	}
	data, err := configv1alpha1.Render(c)
	if err != nil {
		return err
	}
	b.runs++
	file := filepath.Join(b.work, fmt.Sprintf("%03d-member.yaml", b.runs))
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return err
	}
	path, args := b.registry, []string{"--config", file}
	if s.profiled {
		path, args = b.self, []string{"member", "-config", file, "-profiles", b.profiles}
		if s.fromStart {
			args = append(args, "-from-start")
		}
	}
	s.grpc = append(s.grpc, at(address(i), port+1000))
	s.http = append(s.http, at(address(i), port))
	s.admin = append(s.admin, at(address(i), port+2000))
	return b.start(ctx, s, "member", path, env, args...)
}

// ready waits until all members are complete, answer lists, and see and agree with each other.
func (s *subject) ready(ctx context.Context) error {
	for _, admin := range s.admin {
		if err := s.eventually(ctx, func() error { return s.settled(ctx, admin) }); err != nil {
			return err
		}
	}
	return nil
}

func (s *subject) settled(ctx context.Context, admin string) error {
	var v struct {
		Ready, ReadsOpen, Dirty bool
		Reason                  string
		Members                 []struct{}
	}
	if err := get(ctx, "http://"+admin+"/view", &v); err != nil {
		return err
	}
	if !v.Ready || !v.ReadsOpen || v.Dirty || s.list != "" && len(v.Members) != len(s.admin) {
		return fmt.Errorf("the member at %s is not settled: %+v", admin, v)
	}
	return nil
}

// digest is what a member holds.
type digest struct {
	Sum       string
	Instances int
}

func (s *subject) digest(ctx context.Context, i int) (digest, error) {
	var d digest
	return d, get(ctx, "http://"+s.admin[i]+"/digest", &d)
}

func get(ctx context.Context, url string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: startLimit}).Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	return json.NewDecoder(answer.Body).Decode(into)
}

func address(i int) string { return "127.0.0." + strconv.Itoa(i+1) }

func at(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// freePorts finds p so that p, p+1000, p+2000 and p+3000 are free on all addresses. They are below those that the
// kernel gives to clients.
func freePorts(addresses []string) (int, error) {
	for range 100 {
		p := 20_000 + rand.IntN(1000)
		free := true
		for _, a := range addresses {
			for _, port := range []int{p, p + 1000, p + 2000, p + 3000} {
				l, err := net.Listen("tcp", at(a, port))
				if err == nil {
					l.Close()
				}
				free = free && err == nil
			}
		}
		if free {
			return p, nil
		}
	}
	return 0, errors.New("no four ports are free")
}
