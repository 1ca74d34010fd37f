package http

import (
	"errors"
	"net"
	nethttp "net/http"
	"sync"
	"time"
)

// fullBuffer is what net/http gathers of an answer before it writes.
const fullBuffer = 4 << 10

// listener makes connections that cost net/http less.
type listener struct {
	net.Listener
	buffers *sync.Pool // of *pieces
}

// pieces are a full buffer and what follows it.
type pieces [2 * fullBuffer]byte

func newListener(l net.Listener) net.Listener {
	return listener{l, &sync.Pool{New: func() any { return new(pieces) }}}
}

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{
		Conn: c, buffers: l.buffers, reads: deadline{set: c.SetReadDeadline}, writes: deadline{set: c.SetWriteDeadline},
	}, nil
}

// conn writes at once what net/http writes in two pieces, because its buffer is full: a list of ten instances is a little
// longer than that, and each piece is a system call, an eighth of all that such an answer costs. A full buffer waits here
// for what follows. Nearly always something does; if not, it goes out when the answer has ended.
type conn struct {
	net.Conn
	buffers *sync.Pool
	mu      sync.Mutex // guards held
	held    *pieces    // its first half; nil: nothing

	reads, writes deadline
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if n > 0 || !c.reads.early(err) {
			return n, err
		}
	}
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.held != nil && len(p) <= fullBuffer:
		n := copy(c.held[fullBuffer:], p)
		return n, c.send(fullBuffer + n)
	case c.held != nil: // a long piece, for which net/http does without its buffer
		if err := c.send(fullBuffer); err != nil {
			return 0, err
		}
	case len(p) == fullBuffer:
		c.held = c.buffers.Get().(*pieces)
		return copy(c.held[:], p), nil
	}
	return c.write(p)
}

// write goes on where a deadline that has not come yet has ended it.
func (c *conn) write(p []byte) (int, error) {
	for done := 0; ; {
		n, err := c.Conn.Write(p[done:])
		if done += n; !c.writes.early(err) {
			return done, err
		}
	}
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error { return c.reads.at(t) }

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.writes.at(t) }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error { return errors.Join(c.reads.at(t), c.writes.at(t)) }

// answered is a server's ConnState: it sends what nothing followed.
func answered(c net.Conn, state nethttp.ConnState) {
	if c, ok := c.(*conn); ok && state == nethttp.StateIdle {
		c.mu.Lock()
		defer c.mu.Unlock()
		_ = c.flush() // net/http notices the same when it reads
	}
}

// Close implements net.Conn. It waits for nobody who is writing: that is who it is to stop.
func (c *conn) Close() error {
	if c.mu.TryLock() {
		_ = c.flush() // the client is told by the end of the connection
		c.mu.Unlock()
	}
	return c.Conn.Close()
}

// CloseWrite is what net/http looks for to let a client read why its request was refused (B1).
func (c *conn) CloseWrite() error {
	c.mu.Lock()
	err := c.flush()
	c.mu.Unlock()
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok && err == nil {
		return w.CloseWrite()
	}
	return err
}

// flush writes what is held. net/http has lifted its deadline by then, so it has one of its own. Called with the lock held.
func (c *conn) flush() error {
	if c.held == nil {
		return nil
	}
	_ = c.SetWriteDeadline(time.Now().Add(writeTimeout)) // a failure is that of the write
	return c.send(fullBuffer)
}

// send writes the first n bytes of what is held. Called with the lock held.
func (c *conn) send(n int) error {
	_, err := c.write(c.held[:n])
	c.buffers.Put(c.held)
	c.held = nil
	return err
}
