package http

import (
	"context"
	"errors"
	"log/slog"
	"net"
	nethttp "net/http"
	"path"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-registry/muster/registry/model"
)

// Bounds on what a client can hold open (B1). A slow one is cut off, and a form must fit maxBody.
const (
	maxHeader = 64 << 10
	// readTimeout is for a whole request. One for its header alone would set each connection's deadline twice.
	readTimeout  = 10 * time.Second
	writeTimeout = 30 * time.Second
	idleTimeout  = 2 * time.Minute
)

// Options is what a Server needs.
type Options struct {
	Core       Core
	Log        *slog.Logger
	Registerer prometheus.Registerer
	// Standalone is what the server's state says of the member: alone by configuration.
	Standalone bool
}

// Server answers HTTP v1. It is a handler, and a server for one listener.
type Server struct {
	core       Core
	log        *slog.Logger
	metrics    *metrics
	standalone bool
	mux        *nethttp.ServeMux
	// direct has the routes that clients ask for all the time, as they write them. All else goes through mux.
	direct map[target]nethttp.HandlerFunc
	// requests are those that have ended, to be used again.
	requests sync.Pool // of *request
	http     *nethttp.Server
}

// New makes a server that has no listener yet.
func New(o Options) (*Server, error) {
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	s := &Server{
		core: o.Core, log: o.Log, metrics: m, standalone: o.Standalone, mux: nethttp.NewServeMux(),
		direct:   map[target]nethttp.HandlerFunc{},
		requests: sync.Pool{New: func() any { return &request{params: make(params, 0, usual)} }},
	}
	s.routes()
	s.http = &nethttp.Server{
		Handler: s, MaxHeaderBytes: maxHeader, ReadTimeout: readTimeout,
		WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, ConnState: answered, ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// Serve answers the connections of a listener until Stop, which is no error.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(newListener(l)); !errors.Is(err, nethttp.ErrServerClosed) {
		return err
	}
	return nil
}

// Stop stops accepting, lets running requests end, and closes what is left when the context is done.
func (s *Server) Stop(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}

// ServeHTTP implements net/http.Handler.
func (s *Server) ServeHTTP(w nethttp.ResponseWriter, r *nethttp.Request) {
	if serve, ok := s.direct[target{r.Method, r.URL.Path}]; ok && r.URL.RawPath == "" {
		serve(w, r)
		return
	}
	p := r.URL.EscapedPath()
	switch clean := strings.TrimSuffix(p, "/"); {
	case strings.Contains(p, "//"):
		s.refuse(w, r, framework(nethttp.StatusInternalServerError,
			`The request was rejected because the URL contained a potentially malicious String "//"`))
	case !strings.HasPrefix(p, "/") || clean != "" && path.Clean(clean) != clean:
		s.refuse(w, r, framework(nethttp.StatusInternalServerError, "The request was rejected because the URL was not normalized."))
	default:
		s.mux.ServeHTTP(w, withoutSlash(r))
	}
}

// withoutSlash: Nacos takes /instance/ for /instance.
func withoutSlash(r *nethttp.Request) *nethttp.Request {
	if len(r.URL.Path) <= 1 || !strings.HasSuffix(r.URL.Path, "/") {
		return r
	}
	c := r.Clone(r.Context())
	c.URL.Path, c.URL.RawPath = strings.TrimSuffix(r.URL.Path, "/"), strings.TrimSuffix(r.URL.RawPath, "/")
	return c
}

func (s *Server) refuse(w nethttp.ResponseWriter, r *nethttp.Request, f *refusal) {
	s.run(w, r, "unknown", func() (answer, error) { return answer{}, f })
}

// run calls a handler and writes and counts its answer. A panic ends one request, not the member.
func (s *Server) run(w nethttp.ResponseWriter, r *nethttp.Request, endpoint string, handle func() (answer, error)) {
	start := time.Now()
	a := func() (a answer) {
		defer func() {
			if p := recover(); p != nil {
				s.log.Error("panic", "in", endpoint, "panic", p, "stack", string(debug.Stack()))
				a = framework(nethttp.StatusInternalServerError, "Server failed").answer(r, start)
			}
		}()
		a, err := handle()
		if err == nil {
			return a
		}
		var f *refusal
		if !errors.As(err, &f) {
			f = refusalOf(err)
		}
		s.log.Debug("request refused", "endpoint", endpoint, "status", f.status, "reason", model.ClipClientText(f.text))
		return f.answer(r, start)
	}()
	a.write(w)
	s.metrics.observe(endpoint, a.status, time.Since(start))
}
