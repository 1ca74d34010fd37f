package http

import (
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// piped is a connection to nobody who says anything, with the number of deadlines that its socket was given.
func piped(t interface{ Cleanup(func()) }) (c *conn, set *int) {
	socket, other := net.Pipe()
	t.Cleanup(func() { _, _ = socket.Close(), other.Close() })
	set = new(int)
	counting := func(f func(time.Time) error) func(time.Time) error {
		return func(t time.Time) error {
			*set++
			return f(t)
		}
	}
	return &conn{Conn: socket, reads: deadline{set: counting(socket.SetReadDeadline)}, writes: deadline{set: counting(socket.SetWriteDeadline)}}, set
}

// Whatever deadlines came before, a read and a write end with the last one to the moment.
func TestDeadlinesAreMet(t *testing.T) {
	moves := rapid.SliceOfN(rapid.IntRange(-1, 200), 1, 20)
	rapid.Check(t, func(rt *rapid.T) {
		after, pauses := moves.Draw(rt, "seconds ahead, -1: none"), moves.Draw(rt, "seconds between")
		wrong := ""
		last := time.Duration(rapid.IntRange(-3, 300).Draw(rt, "last")) * time.Second
		synctest.Test(t, func(t *testing.T) {
			c, _ := piped(t)
			for i, s := range after {
				var at time.Time
				if s >= 0 {
					at = time.Now().Add(time.Duration(s) * time.Second)
				}
				_ = c.SetDeadline(at)
				<-time.After(time.Duration(pauses[i%len(pauses)]) * time.Second)
			}
			for name, end := range map[string]func([]byte) (int, error){"read": c.Read, "write": c.Write} {
				began := time.Now()
				_ = c.SetDeadline(began.Add(last))
				if _, err := end(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != max(last, 0) {
					wrong = fmt.Sprintf("%s ended with %v after %v instead of %v", name, err, time.Since(began), last)
				}
			}
		})
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

// A read that waits is ended by a deadline that is over, as net/http does it, and not by one that was lifted.
func TestDeadlineEndsWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := piped(t)
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		_ = c.SetReadDeadline(time.Time{})
		ended := make(chan error, 1)
		go func() {
			_, err := c.Read(make([]byte, 1))
			ended <- err
		}()
		<-time.After(time.Hour)
		select {
		case err := <-ended:
			t.Fatalf("ended by a deadline that was lifted: %v", err)
		default:
		}
		_ = c.SetReadDeadline(time.Unix(1, 0))
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("ended with %v", err)
		}
	})
}

// What net/http sets for a request costs two settings of the socket, of eight.
func TestDeadlinesAreSetSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, set := piped(t)
		const requests = 100
		for range requests {
			now := time.Now()
			_ = c.SetReadDeadline(now.Add(idleTimeout))
			_ = c.SetReadDeadline(now.Add(readTimeout))
			_ = c.SetReadDeadline(now.Add(readTimeout))
			_ = c.SetWriteDeadline(now.Add(writeTimeout))
			_ = c.SetReadDeadline(time.Time{})
			_ = c.SetReadDeadline(time.Unix(1, 0))
			_ = c.SetReadDeadline(time.Time{})
			_ = c.SetWriteDeadline(time.Time{})
			<-time.After(time.Millisecond)
		}
		if *set > 2*requests+10 {
			t.Errorf("%d settings for %d requests", *set, requests)
		}
	})
}
