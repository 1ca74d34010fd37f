package nacos

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
)

// HTTPConn is a connection that is kept. net/http's client costs more than the servers that are measured.
type HTTPConn struct {
	conn net.Conn
	in   *bufio.Reader
	body []byte
}

// DialHTTP opens one.
func DialHTTP(address string) (*HTTPConn, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return &HTTPConn{conn: conn, in: bufio.NewReaderSize(conn, 16<<10)}, nil
}

// Close ends it.
func (c *HTTPConn) Close() { c.conn.Close() }

// Do sends a whole request and returns the body of the answer, which is valid until the next one. Any status but 200 is
// an error.
func (c *HTTPConn) Do(request []byte) ([]byte, error) {
	if _, err := c.conn.Write(request); err != nil {
		return nil, err
	}
	status, err := c.in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	fields := bytes.Fields(status)
	if len(fields) < 2 {
		return nil, fmt.Errorf("%q is no status line", status)
	}
	ok := string(fields[1]) == "200"
	line := string(bytes.TrimSpace(status))
	if err := c.readBody(); err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("answered with %s: %s", line, c.body)
	}
	return c.body, nil
}

func (c *HTTPConn) readBody() error {
	length, chunked := 0, false
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return fmt.Errorf("content length: %w", err)
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = bytes.EqualFold(value, []byte("chunked"))
		}
	}
	c.body = c.body[:0]
	if chunked {
		return c.readChunks()
	}
	return c.take(length)
}

func (c *HTTPConn) readChunks() error {
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 32)
		if err != nil {
			return fmt.Errorf("size of a chunk: %w", err)
		}
		if err := c.take(int(size)); err != nil {
			return err
		}
		if end, err := c.in.ReadSlice('\n'); err != nil || len(bytes.TrimSpace(end)) != 0 {
			return errors.Join(fmt.Errorf("a chunk ends with %q", end), err)
		}
		if size == 0 {
			return nil
		}
	}
}

// take appends n bytes to the body.
func (c *HTTPConn) take(n int) error {
	had := len(c.body)
	c.body = append(c.body, make([]byte, n)...)
	_, err := io.ReadFull(c.in, c.body[had:])
	return err
}
