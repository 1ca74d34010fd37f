package main

import (
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/nacos-group/nacos-sdk-go/v2/model"
)

// event is one line of output. Fields that say nothing are left out.
type event struct {
	Event string `json:"event"`
	// MS is the time since the start of the program, Time that of day.
	MS   int64     `json:"ms"`
	Time time.Time `json:"time"`

	ID     string `json:"id,omitempty"`
	Do     string `json:"do,omitempty"`
	OK     *bool  `json:"ok,omitempty"`
	Error  string `json:"error,omitempty"`
	TookMS *int64 `json:"took_ms,omitempty"`

	Client    *int  `json:"client,omitempty"`
	Connected *bool `json:"connected,omitempty"`
	// Server and Connection are the server's address and the id that it gave the connection.
	Server     string `json:"server,omitempty"`
	Connection string `json:"connection,omitempty"`

	Service   string     `json:"service,omitempty"`
	Count     *int       `json:"count,omitempty"`
	Healthy   *int       `json:"healthy,omitempty"`
	Instances []instance `json:"instances,omitempty"`
	// DelayMS is how long after its provider registered it the newest instance is told, when its metadata say when.
	DelayMS *int64   `json:"delay_ms,omitempty"`
	Names   []string `json:"names,omitempty"`
}

type instance struct {
	Address  string            `json:"address"`
	Cluster  string            `json:"cluster"`
	Weight   float64           `json:"weight"`
	Healthy  bool              `json:"healthy"`
	Metadata map[string]string `json:"metadata,omitempty"`
}

// events writes lines, from any goroutine.
type events struct {
	began time.Time
	mu    sync.Mutex // guards out
	out   *json.Encoder
}

func newEvents(out io.Writer) *events { return &events{began: time.Now(), out: json.NewEncoder(out)} }

func (e *events) emit(ev event) {
	ev.Time = time.Now()
	ev.MS = ev.Time.Sub(e.began).Milliseconds()
	e.mu.Lock()
	defer e.mu.Unlock()
	_ = e.out.Encode(ev) // nobody is left to be told that nobody listens
}

// listed describes a list. before holds the addresses that the last one had.
func listed(service string, hosts []model.Instance, now time.Time, before map[string]bool) (event, map[string]bool) {
	ev := event{Event: "list", Service: service, Count: ptr(len(hosts)), Healthy: ptr(0), Instances: []instance{}}
	addresses := make(map[string]bool, len(hosts))
	for _, h := range hosts {
		in := instance{Address: address(h.Ip, h.Port), Cluster: h.ClusterName, Weight: h.Weight, Healthy: h.Healthy, Metadata: h.Metadata}
		ev.Instances = append(ev.Instances, in)
		addresses[in.Address] = true
		if h.Healthy {
			*ev.Healthy++
		}
		if before[in.Address] {
			continue
		}
		if delay, ok := since(h.Metadata, now); ok && (ev.DelayMS == nil || delay < *ev.DelayMS) {
			ev.DelayMS = &delay
		}
	}
	return ev, addresses
}

func ptr[T any](v T) *T { return &v }
