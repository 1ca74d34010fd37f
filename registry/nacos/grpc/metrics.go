package grpc

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-registry/muster/registry/push"
)

type metrics struct {
	transports prometheus.Gauge
	stuck      prometheus.Counter
	panics     prometheus.Counter
	requests   *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
	pushes     *prometheus.CounterVec
	acks       *prometheus.CounterVec

	// Looked up once: by their labels it takes longer than a health check.
	answers     map[string]answers
	sends       [len(kindNames)]prometheus.Counter
	taken, fail prometheus.Counter
}

// answers are the metrics of one type of request that was answered as it wanted.
type answers struct {
	ok      prometheus.Counter
	seconds prometheus.Observer
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		transports: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "muster_grpc_transports", Help: "TCP connections of clients, set up or not.",
		}),
		stuck: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "muster_grpc_connections_stuck_total", Help: "Connections closed because their client did not read.",
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "muster_grpc_panics_total", Help: "Requests and connections that a panic ended.",
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "muster_grpc_requests_total", Help: "Requests answered, by type and outcome (ok, refused, or the error code).",
		}, []string{"type", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "muster_grpc_request_duration_seconds", Help: "Time to answer a request.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 8),
		}, []string{"type"}),
		pushes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "muster_grpc_messages_sent_total", Help: "Messages written to streams, by kind.",
		}, []string{"kind"}),
		acks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "muster_grpc_acknowledgements_total", Help: "Answers of clients to what was sent, by outcome.",
		}, []string{"outcome"}),
	}
	r.MustRegister(m.transports, m.stuck, m.panics, m.requests, m.seconds, m.pushes, m.acks)
	m.answers = map[string]answers{}
	for kind := range handlers {
		m.answers[kind] = m.lookUp(kind)
	}
	m.answers[serverCheck] = m.lookUp(serverCheck)
	for i, name := range kindNames {
		m.sends[i] = m.pushes.WithLabelValues(name)
	}
	m.taken, m.fail = m.acks.WithLabelValues("ok"), m.acks.WithLabelValues("failed")
	return m
}

func (m *metrics) lookUp(kind string) answers {
	return answers{m.requests.WithLabelValues(kind, "ok"), m.seconds.WithLabelValues(kind)}
}

// otherKind are the types that are not known: a label must not grow with what clients send.
const otherKind = "other"

// answered notes a request of a type that is known, and that was answered as it wanted.
func (m *metrics) answered(kind string, began time.Time) {
	a := m.answers[kind]
	a.ok.Inc()
	a.seconds.Observe(time.Since(began).Seconds())
}

func (m *metrics) failed(kind, outcome string, began time.Time) {
	m.requests.WithLabelValues(kind, outcome).Inc()
	m.seconds.WithLabelValues(kind).Observe(time.Since(began).Seconds())
}

// panickedIn notes a request of any type.
func (m *metrics) panickedIn(kind string) {
	if _, known := m.answers[kind]; !known {
		kind = otherKind
	}
	m.requests.WithLabelValues(kind, errInternal.label()).Inc()
}

var kindNames = [...]string{
	push.ItemNotify: "notify", push.ItemDetect: "detect", push.ItemReset: "reset", push.ItemClose: "close",
}

func (m *metrics) sent(k push.ItemKind) {
	m.sends[k].Inc()
}

func (m *metrics) acknowledged(ok bool) {
	if ok {
		m.taken.Inc()
	} else {
		m.fail.Inc()
	}
}

// label is the outcome of a failed request in metrics.
func (e *answerError) label() string { return strconv.Itoa(e.code) }
