//go:build linux

package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/muster-registry/muster/test/sdk"
)

// revisionKey is the metadata key under which publishers count their registrations.
const revisionKey = "revision"

// publisher registers one instance. All methods are called by the scenario's goroutine.
type publisher interface {
	// what it has registered.
	what() instance
	// change registers it again, as something newer. It may fail, as it may for an application.
	change() error
	// leave deregisters it; it must be gone everywhere after the bound.
	leave(bound time.Duration)
	// die ends the process as kill -9 does; the instance must be gone everywhere after the bound.
	die(bound time.Duration)
}

// instance is what a publisher has registered.
type instance struct {
	service, ip string
	port        int
	here        bool
	tried       int // revisions
	accepted    int
}

func (in instance) address() string { return net.JoinHostPort(in.ip, strconv.Itoa(in.port)) }

// newInstance gives out an address, and chooses the service by it.
func (c *cluster) newInstance() instance {
	ip, port := c.address()
	return instance{service: serviceName(c.given), ip: ip, port: port}
}

// oneOfEach adds a publisher of each kind: at some members, or anywhere.
func (c *cluster) oneOfEach(at ...*member) []publisher {
	c.t.Helper()
	return []publisher{c.provider(at...), c.silent(at...), c.beater(at...)}
}

// provider is the real Go client, and its port accepts connections.
func (c *cluster) provider(at ...*member) *provider { return c.newProvider(true, at) }

// silent is the same, but its port never answers: nobody listens.
func (c *cluster) silent(at ...*member) *provider { return c.newProvider(false, at) }

type provider struct {
	c      *cluster
	client *sdk.Client
	// before and after are how many events its client had said when the registry had accepted the last change but one, and the last.
	before, after int
	instance
}

func (c *cluster) newProvider(listens bool, at []*member) *provider {
	c.t.Helper()
	p := &provider{c: c, instance: c.newInstance()}
	args := []string{"--servers", c.servers(at...), "run"}
	if listens {
		args = append([]string{"--listen"}, args...)
	}
	p.client = c.sdk(p.service+" at "+p.address(), nil, args...)
	c.changed(p)
	c.publishers = append(c.publishers, p)
	return p
}

// changed lets a publisher try until it has registered something newer: its client may be reconnecting.
func (c *cluster) changed(p publisher) {
	c.t.Helper()
	c.eventually("a registration", func() string { return text(p.change()) })
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (p *provider) what() instance { return p.instance }

// connected is when its client had its last connection.
func (p *provider) connected() time.Time {
	var last time.Time
	for _, e := range p.client.Events() {
		if e.Connected != nil {
			last = e.Time
		}
	}
	return last
}

func (p *provider) do(what string) error {
	ctx, cancel := context.WithTimeout(p.c.t.Context(), 30*time.Second)
	defer cancel()
	return p.client.Do(ctx, map[string]any{
		"do": what, "service": p.service, "ip": p.ip, "port": p.port, "metadata": map[string]string{revisionKey: strconv.Itoa(p.tried)},
	})
}

func (p *provider) change() error {
	p.tried++
	if err := p.do("register"); err != nil {
		return err
	}
	p.here, p.before, p.accepted = true, p.after, p.tried
	p.after = len(p.client.Events())
	p.c.judge.Registered(p.service, p.address())
	return nil
}

// overtaken reports that the client's own redo may have come after the last change. When its connection is new it registers
// what it knew at that moment (nacos-sdk-go 2.3.5, redoRegisterEachService), beside what the application does, and does not say
// when it is done; the registry shows what came last.
func (p *provider) overtaken() bool {
	return slices.ContainsFunc(p.client.Events()[p.before:], func(e sdk.Event) bool {
		return e.Event == "registering" && slices.ContainsFunc(e.Instances, func(in sdk.Instance) bool {
			revision, err := strconv.Atoi(in.Metadata[revisionKey])
			return err == nil && revision < p.accepted
		})
	})
}

func (p *provider) leave(bound time.Duration) {
	p.c.t.Helper()
	p.here = false
	p.c.judge.Gone(p.service, p.address(), time.Now().Add(patience+bound))
	p.c.eventually("a deregistration", func() string { return text(p.do("deregister")) })
	p.c.judge.Gone(p.service, p.address(), time.Now().Add(bound))
}

func (p *provider) die(bound time.Duration) {
	p.here = false
	p.c.judge.Gone(p.service, p.address(), time.Now().Add(bound))
	p.client.Kill()
}

// beater is a 1.x client: it registers by HTTP and beats, at some members or at any. It tries the next one when one fails,
// and registers again when nobody knows it. It listens.
type beater struct {
	c    *cluster
	port net.Listener
	stop context.CancelFunc
	done sync.WaitGroup

	sending sync.Mutex // held while it registers: of two that are under way either may be the last

	mu sync.Mutex // guards all below
	at []*member
	instance
}

// beater adds one.
func (c *cluster) beater(at ...*member) *beater {
	c.t.Helper()
	b := &beater{c: c, at: at, instance: c.newInstance()}
	if len(at) == 0 {
		b.at = c.members
	}
	var err error
	b.port, err = listen(b.address())
	c.must(err)
	var ctx context.Context
	ctx, b.stop = context.WithCancel(c.t.Context())
	c.t.Cleanup(func() { b.end() })
	c.changed(b)
	b.done.Go(func() { b.beat(ctx, c.beat) })
	c.publishers = append(c.publishers, b)
	return b
}

// beatUnknown is the code of an answer to a beat that nobody knows (nacos-protocol §1.1).
const beatUnknown = 20404

// listen accepts connections, and says nothing.
func listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	go func() { // ends when it is closed
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	return l, nil
}

// goTo makes it ask one member only from now on.
func (b *beater) goTo(m *member) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at = []*member{m}
}

func (b *beater) what() instance {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.instance
}

// beat goes on until ctx ends.
func (b *beater) beat(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var answer struct{ Code int }
		body, err := b.ask(ctx, http.MethodPut, "/nacos/v1/ns/instance/beat")
		if err == nil && json.Unmarshal(body, &answer) == nil && answer.Code == beatUnknown {
			_ = b.register(ctx, 0) // the next beat tries again
		}
	}
}

// ask sends a request to one member after the other, from any of them on.
func (b *beater) ask(ctx context.Context, method, path string) ([]byte, error) {
	b.mu.Lock()
	in, at := b.instance, b.at
	b.mu.Unlock()
	metadata, _ := json.Marshal(map[string]string{revisionKey: strconv.Itoa(in.tried)}) // a map of text
	q := url.Values{
		"serviceName": {in.service}, "ip": {in.ip}, "port": {strconv.Itoa(in.port)}, "metadata": {string(metadata)}, "ephemeral": {"true"},
	}
	var last error
	for i, first := 0, rand.IntN(len(at)); i < len(at); i++ {
		m := at[(first+i)%len(at)]
		body, err := send(ctx, method, m.url(m.config.Listen.HTTPPort, path+"?"+q.Encode()))
		if err == nil {
			return body, nil
		}
		last = err
	}
	return nil, last
}

// register counts as newer by so much.
func (b *beater) register(ctx context.Context, newer int) error {
	b.sending.Lock()
	defer b.sending.Unlock()
	b.mu.Lock()
	b.tried += newer
	tried := b.tried
	b.mu.Unlock()
	if _, err := b.ask(ctx, http.MethodPost, "/nacos/v1/ns/instance"); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.here, b.accepted = true, max(b.accepted, tried)
	b.c.judge.Registered(b.service, b.address())
	return nil
}

func (b *beater) change() error { return b.register(b.c.t.Context(), 1) }

func (b *beater) leave(bound time.Duration) {
	b.c.t.Helper()
	b.stop()
	b.done.Wait()
	b.gone(patience + bound)
	b.c.eventually("a deregistration", func() string {
		_, err := b.ask(b.c.t.Context(), http.MethodDelete, "/nacos/v1/ns/instance")
		return text(err)
	})
	b.gone(bound)
	b.end()
}

func (b *beater) die(bound time.Duration) {
	b.end() // before that is noted: a beat under way may register it again
	b.gone(bound)
}

func (b *beater) gone(bound time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.here = false
	b.c.judge.Gone(b.service, b.address(), time.Now().Add(bound))
}

func (b *beater) end() {
	b.stop()
	b.done.Wait()
	b.port.Close()
}

// churn changes random publishers for a while.
func (c *cluster) churn(t *testing.T, publishers []publisher, d time.Duration) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); c.pass(200 * time.Millisecond) {
		if p := publishers[rand.IntN(len(publishers))]; p.what().here {
			if err := p.change(); err != nil {
				t.Log(fmt.Errorf("a change that its publisher will have to redo: %w", err))
			}
		}
	}
}
