package grpc

import (
	"context"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/peer"
)

// Phases of a transport. It becomes a connection when its setup has been accepted, and ends once.
const (
	phaseNew int32 = iota
	phaseConnecting
	phaseConnected
	phaseEnded
)

// transport is one TCP connection: the identity of a client.
type transport struct {
	net.Conn
	id    string
	phase atomic.Int32
	// disconnect is called once, if the transport had become a connection.
	disconnect func(id string)
	closed     func()      // called once
	unset      *time.Timer // closes the transport, unless it becomes a connection

	once    sync.Once
	settled chan struct{} // closed by once, when the transport has become a connection or has ended
	waiting atomic.Int64  // bytes of the calls that wait for that
}

// Close implements net.Conn. It is where a transport ends, whoever ends it: gRPC's own events would cost every request
// more than its handler.
func (t *transport) Close() error {
	err := t.Conn.Close()
	t.unset.Stop()
	t.closed()
	t.end()
	return err
}

// RemoteAddr carries the transport to the handlers: gRPC shows them no more of a connection than its addresses.
func (t *transport) RemoteAddr() net.Addr { return address{t.Conn.RemoteAddr(), t} }

type address struct {
	net.Addr
	transport *transport
}

func transportOf(ctx context.Context) *transport {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	a, ok := p.Addr.(address)
	if !ok {
		return nil
	}
	return a.transport
}

// connect registers the transport as a connection. It reports false when the transport has ended; if it did so meanwhile, it is
// disconnected again: no connection outlives its transport.
func (t *transport) connect(register func()) bool {
	if !t.phase.CompareAndSwap(phaseNew, phaseConnecting) {
		return false
	}
	register()
	if !t.phase.CompareAndSwap(phaseConnecting, phaseConnected) {
		t.disconnect(t.id)
		return false
	}
	t.unset.Stop()
	t.settle()
	return true
}

// settle lets those go on that wait for the setup.
func (t *transport) settle() { t.once.Do(func() { close(t.settled) }) }

// awaitSetup reports whether a request of so many bytes is answered. A call may overtake the setup that was sent ahead of it, and
// does so often when we are busy: a client that is told that nobody knows it gives its connection up, and all the work was in vain (L2).
func (t *transport) awaitSetup(ctx context.Context, size int) bool {
	defer t.waiting.Add(int64(-size))
	if t.waiting.Add(int64(size)) > window {
		return false // a client sends less before it knows that it is known
	}
	wait(ctx, t.settled, overtakenWithin)
	return t.connected()
}

func (t *transport) closeUnset() {
	if !t.connected() {
		_ = t.Close()
	}
}

// connected reports whether requests are answered.
func (t *transport) connected() bool { return t.phase.Load() == phaseConnected }

// end is called when the stream or the transport has ended, whichever comes first.
func (t *transport) end() {
	if t.phase.Swap(phaseEnded) == phaseConnected {
		t.disconnect(t.id)
	}
	t.settle()
}

// endSoon ends it as a client, and closes it a moment later.
func (t *transport) endSoon() {
	t.end()
	time.AfterFunc(lingering, func() { _ = t.Close() })
}

// listener gives each accepted connection its identity.
type listener struct {
	net.Listener
	disconnect func(id string)
	open       prometheus.Gauge
	accepted   atomic.Uint64
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	n := l.accepted.Add(1)
	host, port, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil { // not TCP: no port to tell two apart
		host, port = c.RemoteAddr().String(), strconv.FormatUint(n, 10)
	}
	id := strconv.FormatInt(time.Now().UnixMilli(), 10) + "_" + host + "_" + port
	l.open.Inc()
	t := &transport{Conn: c, id: id, disconnect: l.disconnect, closed: sync.OnceFunc(l.open.Dec), settled: make(chan struct{})}
	t.unset = time.AfterFunc(transportWithin, t.closeUnset)
	return t, nil
}
