package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/muster-registry/muster/hack/lab/layout"
	"github.com/muster-registry/muster/hack/lab/node"
	"github.com/muster-registry/muster/hack/lab/poll"
)

// apiClient asks the API server the few things that up and status need; everything else is kubectl's.
type apiClient struct {
	base string
	http *http.Client
}

func (l *Lab) api() (apiClient, error) {
	cert, err := tls.LoadX509KeyPair(l.cfg.Path("pki", "admin.crt"), l.cfg.Path("pki", "admin.key"))
	if err != nil {
		return apiClient{}, err
	}
	pem, err := os.ReadFile(l.cfg.Path("pki", "ca.crt"))
	if err != nil {
		return apiClient{}, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return apiClient{base: l.cfg.APIServer(), http: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: roots, MinVersion: tls.VersionTLS12},
	}}}, nil
}

func (a apiClient) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+path, nil)
	if err != nil {
		return err
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 300))
		return fmt.Errorf("GET %s: %s: %s", path, resp.Status, strings.TrimSpace(string(text)))
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// readiness is the part of a Node object that says whether its kubelet reports well, and when it last did.
type readiness struct {
	Status struct {
		Conditions []struct {
			Type              string    `json:"type"`
			Status            string    `json:"status"`
			LastHeartbeatTime time.Time `json:"lastHeartbeatTime"`
		} `json:"conditions"`
	} `json:"status"`
}

// ready tells whether the node's kubelet has called it ready since that time. The API's times have whole seconds.
func (r readiness) ready(since time.Time) bool {
	for _, c := range r.Status.Conditions {
		if c.Type == "Ready" {
			return c.Status == "True" && !c.LastHeartbeatTime.Before(since.Truncate(time.Second))
		}
	}
	return false
}

// WaitAPI waits until the API server says that it is ready.
func (l *Lab) WaitAPI(ctx context.Context) error {
	api, err := l.api()
	if err != nil {
		return err
	}
	err = poll.Until(ctx, apiPatience, func(ctx context.Context) error {
		if !l.Running(1) {
			return fmt.Errorf("%s does not run", layout.NodeName(1))
		}
		return api.get(ctx, "/readyz", nil)
	})
	if err != nil {
		return fmt.Errorf("the API server is not ready, see %s: %w", l.cfg.Log(1), err)
	}
	return nil
}

// WaitNode waits until node i has started all of its components and its kubelet, the one that runs now, calls it ready.
func (l *Lab) WaitNode(ctx context.Context, i int) error {
	api, err := l.api()
	if err != nil {
		return err
	}
	started, err := os.Stat(l.pidPath(i))
	if err != nil {
		return err
	}
	control, name := l.Control(i), layout.NodeName(i)
	err = poll.Until(ctx, nodePatience, func(ctx context.Context) error {
		if !l.Running(i) {
			return fmt.Errorf("its first process ended: %s", lastLine(l.cfg.Log(i, "node.log")))
		}
		status, err := control.Status(ctx)
		if err != nil {
			return err
		}
		if status.Phase != node.PhaseRunning {
			return fmt.Errorf("it is %s", status.Phase)
		}
		var r readiness
		if err := api.get(ctx, "/api/v1/nodes/"+name, &r); err != nil {
			return err
		}
		if !r.ready(started.ModTime()) {
			return fmt.Errorf("its kubelet does not call it ready")
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s is not Ready, see %s: %w", name, l.cfg.Log(i), err)
	}
	return nil
}

// lastLine is the end of a log, for an error that should not send its reader away.
func lastLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "no " + filepath.Base(path)
	}
	text := strings.TrimSpace(string(b))
	return text[strings.LastIndexByte(text, '\n')+1:]
}
