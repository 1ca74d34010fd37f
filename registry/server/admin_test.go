package server

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// The admin port is open to probes and scrapes. Orders come from the member's own host.
func TestWhoMayDrain(t *testing.T) {
	for name, c := range map[string]struct {
		remote, local string
		want          bool
	}{
		"loopback":              {remote: "127.0.0.1:4000", local: "127.0.0.1:8849", want: true},
		"another loopback":      {remote: "127.0.0.1:4000", local: "127.0.0.2:8849", want: true},
		"loopback of IPv6":      {remote: "[::1]:4000", local: "[::1]:8849", want: true},
		"mapped loopback":       {remote: "[::ffff:127.0.0.1]:4000", local: "[::ffff:127.0.0.1]:8849", want: true},
		"its own address":       {remote: "10.0.0.7:4000", local: "10.0.0.7:8849", want: true},
		"its own, once mapped":  {remote: "10.0.0.7:4000", local: "[::ffff:10.0.0.7]:8849", want: true},
		"another pod":           {remote: "10.0.0.8:4000", local: "10.0.0.7:8849"},
		"somebody without port": {remote: "10.0.0.7", local: "10.0.0.7:8849"},
	} {
		t.Run(name, func(t *testing.T) {
			local, err := net.ResolveTCPAddr("tcp", c.local)
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequestWithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, net.Addr(local)), http.MethodPost, "/drain", nil)
			r.RemoteAddr = c.remote
			if got := fromHere(r); got != c.want {
				t.Errorf("from here: %v, want %v", got, c.want)
			}
			if c.want {
				return
			}
			w := httptest.NewRecorder()
			(&Server{}).drain(w, r) // it never comes to the member
			if w.Code != http.StatusForbidden {
				t.Errorf("drain: %d", w.Code)
			}
		})
	}
}
