package node

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"
)

// PhaseRunning is the phase of a node whose components have all been started.
const PhaseRunning = "running"

// Status is what a node says of itself.
type Status struct {
	Phase      string            `json:"phase"`
	Components []ComponentStatus `json:"components"`
}

// ComponentStatus is one process of a node. Stopped: it is down because somebody asked for that.
type ComponentStatus struct {
	Name     string `json:"name"`
	Running  bool   `json:"running"`
	Stopped  bool   `json:"stopped"`
	Restarts int    `json:"restarts"`
}

// Client talks to the first process of a node through its control socket.
type Client struct{ http *http.Client }

// Dial returns a client for the node whose Run folder this is. It connects with the first call.
func Dial(run string) Client {
	socket := filepath.Join(run, ControlSocket)
	return Client{&http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}}
}

// Status asks what runs.
func (c Client) Status(ctx context.Context) (Status, error) {
	var st Status
	err := c.call(ctx, http.MethodGet, "/status", &st)
	return st, err
}

// Stop kills a component and keeps it down.
func (c Client) Stop(ctx context.Context, component string) error {
	return c.call(ctx, http.MethodPost, "/components/"+url.PathEscape(component)+"/stop", nil)
}

// Start resumes a component that Stop ended.
func (c Client) Start(ctx context.Context, component string) error {
	return c.call(ctx, http.MethodPost, "/components/"+url.PathEscape(component)+"/start", nil)
}

func (c Client) call(ctx context.Context, method, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://node"+path, nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(text)))
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
