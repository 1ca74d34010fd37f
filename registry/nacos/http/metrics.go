package http

import (
	"errors"
	nethttp "net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count requests. Labels are bounded: an endpoint is the name of a route, or "unknown".
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	// well are those of requests that are answered as they wish, by endpoint: looked up by labels they cost as much as a list.
	well map[string]endpoint
}

type endpoint struct {
	ok       prometheus.Counter
	duration prometheus.Observer
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "muster_http_requests_total", Help: "Requests over Nacos HTTP, by endpoint and status.",
		}, []string{"endpoint", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "muster_http_request_duration_seconds", Help: "Time to answer a request over Nacos HTTP.",
			Buckets: []float64{.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5},
		}, []string{"endpoint"}),
	}
	m.well = map[string]endpoint{}
	for _, route := range namingRoutes() {
		m.well[route.name] = endpoint{m.requests.WithLabelValues(route.name, "200"), m.duration.WithLabelValues(route.name)}
	}
	return m, errors.Join(r.Register(m.requests), r.Register(m.duration))
}

func (m *metrics) observe(name string, status int, d time.Duration) {
	if e, ok := m.well[name]; ok && status == nethttp.StatusOK {
		e.ok.Inc()
		e.duration.Observe(d.Seconds())
		return
	}
	m.requests.WithLabelValues(name, strconv.Itoa(status)).Inc()
	m.duration.WithLabelValues(name).Observe(d.Seconds())
}
