package server

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	canaryEvery = time.Second
	// canaryPatience ends one that nobody answers: the next one is asked.
	canaryPatience = 10 * time.Second
)

// What a client says first, and is answered without a handler of ours.
const (
	helloHTTP = "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
	// helloGRPC is the preface of HTTP/2 with empty settings (RFC 9113 §3.4), which the server answers with its own.
	helloGRPC = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
)

// canary asks a port of ours again and again, as a client that has just come, and knows how long the answer takes. It goes the whole
// way of what clients send: through the kernel's queues, being accepted, and the turns of goroutines (docs/adr/0019).
type canary struct {
	dial  func(context.Context) (net.Conn, error)
	hello string

	mu sync.Mutex // guards all below
	// since is when the one was sent that is on its way; zero: none is.
	since time.Time
	// longest is the time of one that came back since it was asked for.
	longest time.Duration
	// known: one was answered. Before that a failure is the way's, which may be barred to us, and says nothing.
	known bool
}

func newCanary(address net.Addr, hello string) *canary {
	return &canary{hello: hello, dial: func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, address.Network(), address.String()) // an unspecified one is this host
	}}
}

// run goes on until ctx ends.
func (c *canary) run(ctx context.Context) {
	tick := time.NewTicker(canaryEvery)
	defer tick.Stop()
	for {
		c.ask(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// waited is the longest time that an answer took since the last call, or that one is awaited. One that fails counts as
// canaryPatience: who gets no connection at all is heard no better.
func (c *canary) waited() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	longest := c.longest
	c.longest = 0
	if c.known && !c.since.IsZero() {
		longest = max(longest, time.Since(c.since))
	}
	return longest
}

func (c *canary) ask(ctx context.Context) {
	sent := time.Now()
	c.mu.Lock()
	c.since = sent
	c.mu.Unlock()
	err := c.exchange(ctx)
	took := time.Since(sent)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since = time.Time{}
	switch {
	case ctx.Err() != nil:
		return
	case err == nil:
		c.known = true
	case c.known:
		took = max(took, canaryPatience)
	default:
		return
	}
	c.longest = max(c.longest, took)
}

// exchange returns with the first byte of the answer.
func (c *canary) exchange(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, canaryPatience)
	defer cancel()
	conn, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := conn.Write([]byte(c.hello)); err != nil {
		return fmt.Errorf("ask ourselves: %w", err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("wait for our own answer: %w", err)
	}
	return nil
}
