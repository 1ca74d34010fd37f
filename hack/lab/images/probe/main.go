// Command probe is the pod that lab check asks to look at the cluster from inside: fetch a URL, resolve a name, call the API
// server, exchange datagrams (a one-way cut shows only there, TCP needs both ways), be unready, end.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// serviceAccount is where Kubernetes puts a pod's credentials.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount/"

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve() error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	conn, err := net.ListenPacket("udp4", ":8080")
	if err != nil {
		return err
	}
	ear := &ear{heard: map[string]int{}}
	go ear.listen(conn)
	server := &http.Server{Addr: ":8080", Handler: handler(ear, conn), ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() {
		if err := server.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	})
	fmt.Println("listening on", server.Addr)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func handler(e *ear, conn net.PacketConn) http.Handler {
	var unready atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", whoAmI)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if unready.Load() {
			http.Error(w, "told to be unready", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /unready", func(http.ResponseWriter, *http.Request) { unready.Store(true) })
	mux.HandleFunc("GET /ready", func(http.ResponseWriter, *http.Request) { unready.Store(false) })
	mux.HandleFunc("GET /exit", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	mux.HandleFunc("GET /say", func(w http.ResponseWriter, r *http.Request) {
		if _, err := conn.WriteTo([]byte("hello"), &net.UDPAddr{IP: net.ParseIP(r.FormValue("to")), Port: 8080}); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	})
	mux.HandleFunc("GET /heard", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, e.count(r.FormValue("from"))) })
	mux.HandleFunc("GET /get", fetch)
	mux.HandleFunc("GET /lookup", lookup)
	mux.HandleFunc("GET /pods", pods)
	return mux
}

// ear counts the datagrams that came from each address.
type ear struct {
	mu    sync.Mutex // guards heard
	heard map[string]int
}

func (e *ear) listen(conn net.PacketConn) {
	for buf := make([]byte, 64); ; {
		_, from, err := conn.ReadFrom(buf)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return
		}
		if udp, ok := from.(*net.UDPAddr); ok {
			e.mu.Lock()
			e.heard[udp.IP.String()]++
			e.mu.Unlock()
		}
	}
}

func (e *ear) count(from string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.heard[from]
}

func whoAmI(w http.ResponseWriter, _ *http.Request) {
	answer := map[string]string{"name": os.Getenv("POD_NAME"), "ip": os.Getenv("POD_IP")}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// fetch gets the URL u from inside the pod, on a connection of its own.
func fetch(w http.ResponseWriter, r *http.Request) {
	forward(w, r, &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}, r.FormValue("u"), "")
}

// lookup resolves the name n with the pod's own resolv.conf.
func lookup(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, r.FormValue("n"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	fmt.Fprintln(w, addresses)
}

// pods lists the pods of the namespace through the API server, with the pod's own token.
func pods(w http.ResponseWriter, r *http.Request) {
	var files [3]string
	for i, name := range []string{"token", "ca.crt", "namespace"} {
		b, err := os.ReadFile(serviceAccount + name)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		files[i] = string(b)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(files[1]))
	client := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true,
	}}
	url := fmt.Sprintf("https://%s/api/v1/namespaces/%s/pods?limit=1",
		net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")), files[2])
	forward(w, r, client, url, files[0])
}

// forward answers with what the URL answers, or with 502 and why it did not.
func forward(w http.ResponseWriter, r *http.Request, client *http.Client, url, token string) {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, url, nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(w, io.LimitReader(resp.Body, 64<<10)); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}
