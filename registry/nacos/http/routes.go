package http

import (
	nethttp "net/http"
	"regexp"
	"strings"
)

const (
	naming  = "/nacos/v1/ns"
	console = "/nacos/v1/console"
	auth    = "/nacos/v1/auth"
)

// namingRoute is an endpoint below /v1/ns. Its requests pass the filters, and its name is a metric's label.
type namingRoute struct {
	name, method, path string
	reads              reads
	handle             func(*Server, *request) (answer, error)
}

func namingRoutes() []namingRoute {
	return []namingRoute{
		{"instance.register", nethttp.MethodPost, "/instance", readsMetadata, (*Server).register},
		{"instance.deregister", nethttp.MethodDelete, "/instance", readsMetadata, (*Server).deregister},
		{"instance.update", nethttp.MethodPut, "/instance", readsMetadata, (*Server).update},
		{"instance.detail", nethttp.MethodGet, "/instance", readsMetadata, (*Server).detail},
		{"instance.beat", nethttp.MethodPut, "/instance/beat", readsBeat, (*Server).heartbeat},
		{"instance.list", nethttp.MethodGet, "/instance/list", 0, (*Server).list},
		{"service.detail", nethttp.MethodGet, "/service", 0, (*Server).service},
		{"service.update", nethttp.MethodPut, "/service", readsMetadata, (*Server).configure},
		{"service.list", nethttp.MethodGet, "/service/list", 0, (*Server).services},
		{"operator.metrics", nethttp.MethodGet, "/operator/metrics", 0, (*Server).operatorMetrics},
		{"operator.metrics", nethttp.MethodGet, "/ops/metrics", 0, (*Server).operatorMetrics},
	}
}

// plainRoute is an endpoint that no filter guards. Another method is an error of its own kind there.
type plainRoute struct {
	name, method, path string
	handle             func(*Server, *nethttp.Request, params) (answer, error)
}

func plainRoutes() []plainRoute {
	return []plainRoute{
		{"health.liveness", nethttp.MethodGet, console + "/health/liveness", (*Server).liveness},
		{"health.readiness", nethttp.MethodGet, console + "/health/readiness", (*Server).readiness},
		{"server.state", nethttp.MethodGet, console + "/server/state", (*Server).state},
		{"auth.login", nethttp.MethodPost, auth + "/login", (*Server).login},
		{"auth.login", nethttp.MethodPost, auth + "/users/login", (*Server).login},
	}
}

// target is what a request line names.
type target struct{ method, path string }

func (s *Server) routes() {
	for _, route := range namingRoutes() {
		serve := func(w nethttp.ResponseWriter, r *nethttp.Request) {
			q := s.requests.Get().(*request)
			q.Request = r
			s.run(w, r, route.name, func() (answer, error) { return s.naming(w, q, route) })
			q.reset()
			s.requests.Put(q)
		}
		s.mux.HandleFunc(route.method+" "+naming+route.path, serve)
		s.direct[target{route.method, naming + route.path}] = serve
	}
	for _, route := range plainRoutes() {
		s.mux.HandleFunc(route.path, func(w nethttp.ResponseWriter, r *nethttp.Request) {
			s.run(w, r, route.name, func() (answer, error) { return s.plain(w, r, route) })
		})
	}
	s.mux.HandleFunc(naming, s.unknownNaming)
	s.mux.HandleFunc(naming+"/", s.unknownNaming)
	s.mux.HandleFunc("/nacos/", s.unknown)
	s.mux.HandleFunc("/nacos", s.unknown)
	s.mux.HandleFunc("/", s.outside)
}

func (s *Server) naming(w nethttp.ResponseWriter, q *request, route namingRoute) (answer, error) {
	if q.Method != route.method { // net/http takes HEAD for GET
		return answer{}, noSuchAPI(q.Request)
	}
	if err := q.params.read(w, q.Request); err != nil {
		return answer{}, err
	}
	if err := q.filter(route.reads); err != nil {
		return answer{}, err
	}
	a, err := route.handle(s, q)
	if err == nil && a.contentType == typeJSON {
		return negotiate(q.Request, a), nil
	}
	return a, err
}

func (s *Server) plain(w nethttp.ResponseWriter, r *nethttp.Request, route plainRoute) (answer, error) {
	head := r.Method == nethttp.MethodHead && route.method == nethttp.MethodGet
	if r.Method != route.method && !head {
		return answer{}, caused("Request method &#39;" + r.Method + "&#39; not supported")
	}
	var p params
	if err := p.read(w, r); err != nil {
		return answer{}, err
	}
	return route.handle(s, r, p)
}

// unknownNaming: clients take 501 for "the server does not have that feature".
func (s *Server) unknownNaming(w nethttp.ResponseWriter, r *nethttp.Request) {
	s.refuse(w, r, noSuchAPI(r))
}

func (s *Server) unknown(w nethttp.ResponseWriter, r *nethttp.Request) {
	s.refuse(w, r, framework(nethttp.StatusNotFound, "No message available"))
}

// outside of the context path Nacos' servlet container answers, with a page.
func (s *Server) outside(w nethttp.ResponseWriter, r *nethttp.Request) {
	const page = `<!doctype html><html lang="en"><head><title>HTTP Status 404 – Not Found</title></head>` +
		`<body><h1>HTTP Status 404 – Not Found</h1></body></html>`
	s.run(w, r, "unknown", func() (answer, error) {
		return answer{status: nethttp.StatusNotFound, contentType: typeHTML, body: []byte(page)}, nil
	})
}

// mediaType is a type that may stand in a header of ours though it came with a request.
var mediaType = regexp.MustCompile(`^[a-z]+/[a-z0-9.+-]{1,64}$`)

// negotiate refuses to answer JSON to one who wants something else alone.
func negotiate(r *nethttp.Request, a answer) answer {
	accept := r.Header["Accept"]
	if len(accept) == 0 {
		return a
	}
	first := ""
	for t := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		t, _, _ = strings.Cut(t, ";")
		switch t = strings.ToLower(strings.TrimSpace(t)); t {
		case "", "*/*", "application/*", "application/json", "*":
			return a
		}
		if first == "" && mediaType.MatchString(t) {
			first = t
		}
	}
	f := caused("Could not find acceptable representation")
	refused := text(f.status, f.text)
	if first != "" {
		refused.contentType = first + ";charset=UTF-8"
	}
	return refused
}
