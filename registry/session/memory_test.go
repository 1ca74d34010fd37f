package session_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/model"
)

// BenchmarkMemory registers 200,000 instances, each a record, in turn over 50 connections, and takes them back: what a
// record holds on to, what its tombstone does, and what is left when that is forgotten.
func BenchmarkMemory(b *testing.B) {
	for _, each := range []int{10, 1} {
		b.Run(fmt.Sprintf("services of %d", each), func(b *testing.B) {
			for b.Loop() {
				w := newHarness(b, true)
				start := heap()
				w.fill(b, each)
				filled := heap()
				w.empty(b, each)
				buried := heap()
				w.forget()
				report(b, "B/record", filled-start)
				report(b, "B/tombstone", buried-start)
				report(b, "B/left", heap()-start)
				runtime.KeepAlive(w)
			}
		})
	}
}

const (
	crowdSize  = 200_000
	connection = "connection-%02d"
	holders    = 50
)

// heap is what lives now.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func report(b *testing.B, unit string, bytes int64) {
	b.ReportMetric(float64(bytes)/crowdSize, unit)
}

// fill registers as clients do over gRPC: the names of a request are its own, but for the default ones.
func (h *harness) fill(tb testing.TB, each int) {
	for i := range holders {
		h.open(fmt.Sprintf(connection, i), java)
	}
	for i := range crowdSize {
		k := crowdService(i / each)
		in := model.Instance{
			IP: fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), Port: 8080, Cluster: model.DefaultCluster, Weight: 1, Healthy: true, Enabled: true,
			Metadata: model.MetadataOf(map[string]string{strings.Clone("version"): strings.Clone("1.24.3"), strings.Clone("seq"): fmt.Sprintf("%07d", i)}),
		}
		in.ID = in.IP + "#8080#DEFAULT#" + k.Grouped()
		if _, err := h.Publish(h.now, fmt.Sprintf(connection, i%holders), k, []model.Instance{in}); err != nil {
			tb.Fatal(err)
		}
		h.elapse(i)
	}
}

// empty takes back what fill has registered.
func (h *harness) empty(tb testing.TB, each int) {
	for i := range crowdSize {
		if err := h.Withdraw(h.now, fmt.Sprintf(connection, i%holders), crowdService(i/each)); err != nil {
			tb.Fatal(err)
		}
		h.elapse(i)
	}
}

// forget lets the time of services and tombstones pass.
func (h *harness) forget() {
	h.now.Mono += 10 * time.Minute
	h.Tick(h.now)
	h.TakeProbes()
	h.store.Sweep(h.now)
}

// elapse: 10,000 requests a second, and the ticks of a member meanwhile.
func (h *harness) elapse(i int) {
	if h.now.Mono += 100 * time.Microsecond; i%1000 == 0 {
		for _, s := range h.Tick(h.now) {
			h.Touch(h.now, s.Connection)
		}
		h.TakeProbes()
		h.store.Sweep(h.now)
	}
}

func crowdService(i int) model.ServiceKey {
	return model.ServiceKey{Namespace: model.DefaultNamespace, Group: model.DefaultGroup, Name: fmt.Sprintf("com.example.shop.service-%06d", i)}
}
