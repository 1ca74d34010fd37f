package link_test

import (
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
)

// wire is a line between two nodes that can be cut: what is said is then neither carried nor refused.
type wire struct {
	listener net.Listener
	to       string
	work     sync.WaitGroup

	mu    sync.Mutex // guards all below
	cut   chan struct{}
	conns []net.Conn
}

func newWire(t *testing.T, ip, to string) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: listener, to: to, cut: make(chan struct{})}
	close(w.cut) // carries
	w.work.Go(w.accept)
	t.Cleanup(w.stop)
	return w
}

func (w *wire) addr() string { return w.listener.Addr().String() }

func (w *wire) accept() {
	for {
		c, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.work.Go(func() {
			w.gate()
			o, err := net.Dial("tcp", w.to)
			if err != nil {
				c.Close()
				return
			}
			w.mu.Lock()
			w.conns = append(w.conns, c, o)
			w.mu.Unlock()
			w.work.Go(func() { w.carry(c, o) })
			w.carry(o, c)
		})
	}
}

// gate waits while the line is cut.
func (w *wire) gate() {
	w.mu.Lock()
	c := w.cut
	w.mu.Unlock()
	<-c
}

func (w *wire) carry(from, to net.Conn) {
	defer to.Close()
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		w.gate()
		if err != nil {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (w *wire) sever() {
	w.mu.Lock()
	w.cut = make(chan struct{})
	w.mu.Unlock()
}

func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.cut:
	default:
		close(w.cut)
	}
}

func (w *wire) stop() {
	w.mend()
	w.listener.Close()
	w.mu.Lock()
	for _, c := range w.conns {
		c.Close()
	}
	w.mu.Unlock()
	w.work.Wait()
}

// A line that is cut without a word is noticed at both ends (R4, P2), and used again when it heals.
func TestSilentPeerIsDown(t *testing.T) {
	a, b := pairWith(t, 50*time.Millisecond)
	w := newWire(t, "127.0.0.4", b.addr())
	a.link.SetTargets([]string{w.addr()})
	a.awaitUp(b)
	b.awaitUp(a)
	w.sever()
	a.await("b is down", func() bool { return a.downs > 0 })
	b.await("a is down", func() bool { return b.downs > 0 })
	a.awaitOutcome(replication.DialSilent)
	w.mend()
	a.awaitUp(b)
	b.awaitUp(a)
}

// A peer that takes nothing in blocks its own sender and nobody else, and is not taken for silent.
func TestSlowPeerBlocksOnlyItsSender(t *testing.T) {
	keys := newKeys(t)
	a := start(t, nodeOptions{inc: 1, ip: "127.0.0.1", keys: keys})
	slow := start(t, nodeOptions{inc: 2, ip: "127.0.0.2", keys: keys})
	quick := start(t, nodeOptions{inc: 3, ip: "127.0.0.3", keys: keys})
	connect(a, slow, quick)
	gate := make(chan struct{})
	slow.do(func() { slow.block = gate })
	big := replication.Message{Kind: replication.KindDelta, Want: bigKeys()}
	for range 50 {
		a.say(slow, big)
	}
	a.await("the sender to be stuck", func() bool { return len(a.outbox[2]) < 50 })
	for i := range 1000 {
		a.say(quick, seq(i+1))
	}
	quick.awaitSeqs(a, 1000)
	slow.do(func() {
		if len(slow.received) != 0 {
			t.Errorf("the slow peer took in %d messages; want none", len(slow.received))
		}
	})
	a.do(func() {
		if a.downs != 0 {
			t.Errorf("%d streams ended; want none", a.downs)
		}
	})
	slow.do(func() { slow.block = nil })
	close(gate)
	slow.await("all that was held back", func() bool { return len(slow.received[1]) == 50 })
}

// Garbage on the peer port harms nobody (B1).
func TestGarbageOnThePort(t *testing.T) {
	a, b := pair(t)
	connect(a, b)
	for _, garbage := range []string{"GET /metrics HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01\xff\xff", "\x80\x01\x00\x01"} {
		c, err := net.Dial("tcp", a.addr())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, garbage); err != nil {
			t.Fatal(err)
		}
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
		_, _ = io.Copy(io.Discard, c) // until the port closes it
		c.Close()
	}
	a.say(b, seq(1))
	b.awaitSeqs(a, 1)
	a.do(func() {
		if a.downs != 0 || a.ups != 1 {
			t.Errorf("%d streams up, %d down; want the first one only", a.ups, a.downs)
		}
	})
}

// bigKeys make a message of about a MiB.
func bigKeys() []model.RecordKey {
	key := model.RecordKey{Service: model.ServiceKey{Name: strings.Repeat("x", 16<<10)}}
	return slices.Repeat([]model.RecordKey{key}, 64)
}
