package push_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/push"
)

// TestManySubscribers: of many that come and go in any order, exactly those that are there are told, each once.
func TestManySubscribers(t *testing.T) {
	w := opened()
	random := rand.New(rand.NewPCG(1, 2))
	const many = 500
	conns := make([]*push.Conn, many)
	there := make([]bool, many)
	for i := range conns {
		conns[i] = w.hub.Open()
	}
	for round := range 20 {
		for range many {
			i := random.IntN(many)
			if there[i] {
				w.hub.Unsubscribe(conns[i], orders)
			} else {
				w.subscribe(conns[i], orders)
			}
			there[i] = !there[i]
		}
		w.pass(2 * window)
		w.publish(orders, round)
		for i, c := range conns {
			if got := len(take(c)); got != map[bool]int{true: 1}[there[i]] {
				t.Fatalf("round %d: connection %d, subscribed %v, was told %d times", round, i, there[i], got)
			}
		}
	}
	for _, c := range conns {
		w.hub.Close(c)
	}
	if got := w.hub.Subscriptions(); got != 0 {
		t.Errorf("%d subscriptions at the end", got)
	}
}

// TestLeavingDuringAWalk: a subscriber that leaves while a change is told to the others keeps nobody from hearing it. The
// walk asks its connections one after another, and the first that it wakes makes others leave.
func TestLeavingDuringAWalk(t *testing.T) {
	const many = 300
	for _, leaving := range [][]int{{0}, {many - 1}, {0, 1, 2, 70, 150, 299}, {64, 65, 128, 200}} {
		w := opened()
		conns := make([]*push.Conn, many)
		for i := range conns {
			conns[i] = w.hub.Open()
			w.subscribe(conns[i], orders)
		}
		gone := map[int]bool{}
		first, done := bell(conns[many-2]), make(chan struct{})
		go func() {
			defer close(done)
			<-first
			for _, i := range leaving {
				w.hub.Unsubscribe(conns[i], orders)
			}
		}()
		w.publish(orders, 1)
		<-done
		for _, i := range leaving {
			gone[i] = true
		}
		for i, c := range conns {
			if got := len(take(c)); !gone[i] && got != 1 {
				t.Errorf("%v left: connection %d was told %d times", leaving, i, got)
			}
		}
	}
}

// TestUnacknowledgedIsBounded: whoever takes pushes and acknowledges none holds one a service, not one a push.
func TestUnacknowledgedIsBounded(t *testing.T) {
	w := opened()
	c := w.hub.Open()
	w.subscribe(c, orders)
	var ids []uint64
	for i := range 200 {
		w.publish(orders, i)
		w.pass(window)
		for _, it := range take(c) {
			ids = append(ids, it.ID)
		}
	}
	if len(ids) < 100 {
		t.Fatalf("only %d pushes", len(ids))
	}
	w.pass(10*time.Second, c)
	want(t, "sent again, once", c, []int{199})
}

func benchmarkHub(subscribers int) (*push.Hub, []*push.Conn) {
	var last *catalog.Snapshot
	read := func(model.ServiceKey) *catalog.Snapshot { return last }
	hub := push.New(push.Options{Now: func() model.Time { return model.Time{} }, Snapshot: read, Answer: read})
	hub.SetOpen(true)
	conns := make([]*push.Conn, subscribers)
	for i := range conns {
		conns[i] = hub.Open()
		hub.Subscribe(conns[i], orders, "")
	}
	return hub, conns
}

// BenchmarkSubscribe is one more subscriber of a service that has many, and its departure.
func BenchmarkSubscribe(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			hub, _ := benchmarkHub(n)
			c := hub.Open()
			b.ReportAllocs()
			for b.Loop() {
				hub.Subscribe(c, orders, "")
				hub.Unsubscribe(c, orders)
			}
		})
	}
}

// BenchmarkNotify marks a service at all its subscribers.
func BenchmarkNotify(b *testing.B) {
	for _, n := range []int{1, 500, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			hub, _ := benchmarkHub(n)
			b.ReportAllocs()
			for b.Loop() {
				hub.Notify(orders)
			}
		})
	}
}
