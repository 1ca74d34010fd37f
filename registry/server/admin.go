package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/muster-registry/muster/api/wellknown"
	"github.com/muster-registry/muster/registry/member"
)

// Paths on the admin port that are for people and tests.
const (
	pathView   = "/view"
	pathDigest = "/digest"
)

// serveAdmin answers the kubelet, Prometheus and people.
func (s *Server) serveAdmin(l net.Listener) {
	server := &http.Server{
		Handler: s.adminRoutes(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.spawn("admin listener", func() error {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	s.onStop("admin", server.Shutdown)
}

func (s *Server) adminRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+wellknown.PathHealthz, s.healthz)
	mux.HandleFunc("GET "+wellknown.PathReadyz, s.readyz)
	mux.Handle("GET "+wellknown.PathMetrics, promhttp.HandlerFor(s.opts.Metrics, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.HandleFunc("POST "+wellknown.PathDrain, s.drain)
	mux.HandleFunc("GET "+pathView, s.view)
	mux.HandleFunc("GET "+pathDigest, s.digest)
	return mux
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	if err := s.runner.Alive(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if ready, why := s.runner.Ready(); !ready {
		http.Error(w, why, http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

// drain takes orders of this host only: the port is open to probes and scrapes from everywhere, and the preStop hook
// runs beside the member.
func (s *Server) drain(w http.ResponseWriter, r *http.Request) {
	if !fromHere(r) {
		http.Error(w, "drain: only from the member's own host", http.StatusForbidden)
		return
	}
	if err := s.Drain(r.Context()); err != nil {
		http.Error(w, "drain: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "drained")
}

// fromHere: over loopback, or from the address that was called.
func fromHere(r *http.Request) bool {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	if remote.Addr().Unmap().IsLoopback() {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && local.AddrPort().Addr().Unmap() == remote.Addr().Unmap()
}

// viewAnswer is the JSON of /view.
type viewAnswer struct {
	Name        string       `json:"name"`
	Incarnation string       `json:"incarnation"`
	State       string       `json:"state"`
	Ready       bool         `json:"ready"`
	Reason      string       `json:"reason,omitempty"`
	ReadsOpen   bool         `json:"readsOpen"`
	Strained    bool         `json:"strained"`
	Frozen      bool         `json:"frozen"`
	Dirty       bool         `json:"dirty"`
	Members     []viewMember `json:"members"`
	Counts      viewCounts   `json:"counts"`
	// Protection is there while the brake holds expiries back.
	Protection *viewProtection `json:"protection,omitempty"`
}

type viewProtection struct {
	Registry bool `json:"registry"`
	Services int  `json:"services"`
	Held     int  `json:"held"`
	// ReleaseSeconds: until the last of those that are held is let go, at the latest.
	ReleaseSeconds int `json:"releaseSeconds"`
}

type viewMember struct {
	Name        string `json:"name"`
	Incarnation string `json:"incarnation"`
	Address     string `json:"address,omitempty"`
	Zone        string `json:"zone,omitempty"`
	Version     string `json:"version"`
	State       string `json:"state"`
	Self        bool   `json:"self,omitempty"`
	Connected   bool   `json:"connected,omitempty"`
	Agreed      bool   `json:"agreed,omitempty"`
}

type viewCounts struct {
	Services       int `json:"services"`
	Instances      int `json:"instances"`
	Unclaimed      int `json:"unclaimed"`
	Connections    int `json:"connections"`
	BeatPublishers int `json:"beatPublishers"`
	Subscriptions  int `json:"subscriptions"`
}

func (s *Server) view(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, viewOf(s.runner.Status()))
}

func viewOf(st member.Status) viewAnswer {
	a := viewAnswer{
		Name: st.Self.Name, Incarnation: st.Self.Incarnation.String(), State: st.Self.State.String(), Ready: st.Ready,
		ReadsOpen: st.ReadsOpen, Strained: st.Strained, Frozen: st.Frozen, Dirty: st.Dirty,
		Counts: viewCounts{
			Services: st.Counts.Services, Instances: st.Counts.Instances, Unclaimed: st.Counts.Unclaimed,
			Connections: st.Counts.Connections, BeatPublishers: st.Counts.BeatClients, Subscriptions: st.Counts.Subscriptions,
		},
	}
	if !st.Ready {
		a.Reason = st.Reason
	}
	if p := st.Protection; p.Active || p.Held > 0 {
		a.Protection = &viewProtection{Registry: p.Registry, Services: p.Services, Held: p.Held, ReleaseSeconds: int(p.Release.Seconds())}
	}
	for _, m := range st.Members {
		a.Members = append(a.Members, viewMember{
			Name: m.Name, Incarnation: m.Incarnation.String(), Address: m.Address, Zone: m.Zone, Version: m.Version,
			State: m.State.String(), Self: m.Incarnation == st.Self.Incarnation, Connected: m.Connected, Agreed: m.Agreed,
		})
	}
	return a
}

// digestAnswer is the JSON of /digest: the same on members that agree.
type digestAnswer struct {
	Sum       string `json:"sum"`
	Services  int    `json:"services"`
	Instances int    `json:"instances"`
}

func (s *Server) digest(w http.ResponseWriter, _ *http.Request) {
	n := s.runner.Counts()
	writeJSON(w, digestAnswer{Sum: fmt.Sprintf("%016x", s.runner.Sum()), Services: n.Services, Instances: n.Instances})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // the caller has gone: nobody to tell
}
