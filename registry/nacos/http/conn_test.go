package http

import (
	"bufio"
	"errors"
	"io"
	"net"
	nethttp "net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// counted notes the sizes of the writes of one connection.
type counted struct {
	net.Listener
	mu    sync.Mutex // guards sizes
	sizes []int
}

type countedConn struct {
	net.Conn
	of *counted
}

func (l *counted) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return countedConn{c, l}, err
}

func (c countedConn) Write(p []byte) (int, error) {
	c.of.mu.Lock()
	c.of.sizes = append(c.of.sizes, len(p))
	c.of.mu.Unlock()
	return c.Conn.Write(p)
}

func (l *counted) taken() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	sizes := l.sizes
	l.sizes = nil
	return sizes
}

// sized answers with as many bytes as the path says, the last ones apart as in a list.
func sized(w nethttp.ResponseWriter, r *nethttp.Request) {
	n, _ := strconv.Atoi(strings.Trim(r.URL.Path, "/"))
	body := []byte(strings.Repeat("x", n))
	answer{status: nethttp.StatusOK, contentType: typeText, body: body[:n*9/10], end: body[n*9/10:]}.write(w)
}

func serveSized(t *testing.T) (*counted, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	all := &counted{Listener: l}
	server := &nethttp.Server{Handler: nethttp.HandlerFunc(sized), ReadHeaderTimeout: readTimeout, ConnState: answered}
	done := make(chan error, 1)
	go func() { done <- server.Serve(newListener(all)) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-done; !errors.Is(err, nethttp.ErrServerClosed) {
			t.Error(err)
		}
	})
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return all, c
}

// A list that is a little longer than net/http's buffer is one write, and whatever its length it arrives whole.
func TestAnswersAreWrittenAtOnce(t *testing.T) {
	all, c := serveSized(t)
	in := bufio.NewReader(c)
	held := false
	for n := range 3 * fullBuffer / 2 {
		n += 3000 // around one buffer and around two
		if _, err := io.WriteString(c, "GET /"+strconv.Itoa(n)+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		r, err := nethttp.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r.Body)
		if err != nil || len(got) != n || strings.Trim(string(got), "x") != "" {
			t.Fatalf("%d bytes of %d, %v", len(got), n, err)
		}
		sizes := all.taken()
		if len(sizes) != 1 && n < 2*fullBuffer-fullBuffer/4 {
			t.Errorf("an answer of %d bytes is written in pieces of %v", n, sizes)
		}
		held = held || slices.Contains(sizes, fullBuffer)
	}
	if !held {
		t.Error("no answer filled the buffer exactly: nothing was held that nothing follows")
	}
}

// The end of a connection lets out what is held.
func TestAnswersBeforeTheEnd(t *testing.T) {
	for n := fullBuffer - 250; n <= fullBuffer; n++ {
		_, c := serveSized(t)
		if _, err := io.WriteString(c, "GET /"+strconv.Itoa(n)+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		r, err := nethttp.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r.Body); err != nil || len(got) != n {
			t.Fatalf("%d bytes of %d, %v", len(got), n, err)
		}
	}
}
