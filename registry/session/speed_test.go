package session_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/session"
)

// crowd opens n connections, each with an instance of its own in orders, all with one description.
func (b *bench) crowd(n int) []model.RecordKey {
	keys := make([]model.RecordKey, n)
	for i := range n {
		id := "c" + strconv.Itoa(i)
		b.open(id, java)
		keys[i] = b.publish(id, member(i))
	}
	return keys
}

// member is the instance of one of a crowd.
func member(i int) model.Instance {
	in := instance
	in.IP = fmt.Sprintf("10.1.%d.%d", i/250, i%250+1)
	return in
}

// BenchmarkPublish registers one more instance in a service, and takes it back.
func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprintf("service of %d", n), func(b *testing.B) {
			w := newBench(b, true)
			w.crowd(n)
			w.open("one more", java)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.Publish(w.now, "one more", orders, []model.Instance{instance}); err != nil {
					b.Fatal(err)
				}
				if err := w.Withdraw(w.now, "one more", orders); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkClaims is one second of a member that watches unclaimed records, all of one service.
func BenchmarkClaims(b *testing.B) {
	const n = 1000
	w := newBench(b, true, 2)
	w.ports = func() session.Answer { return session.Accepted }
	w.crowd(n)
	w.pass(15 * time.Second)
	w.CloseOurselves() // ours: they stay for 5 minutes
	for i := range n {
		w.Close(w.now, "c"+strconv.Itoa(i))
	}
	w.pass(2 * time.Second)
	start := w.now
	b.ReportAllocs()
	for b.Loop() {
		if w.now.Mono-start.Mono > time.Minute { // the same second for ever
			b.StopTimer()
			w = newBench(b, true, 2)
			w.crowd(n)
			w.pass(15 * time.Second)
			w.CloseOurselves()
			for i := range n {
				w.Close(w.now, "c"+strconv.Itoa(i))
			}
			w.pass(2 * time.Second)
			start = w.now
			b.StartTimer()
		}
		w.pass(time.Second)
	}
	if c := w.Counts(); c.Unclaimed != n {
		b.Fatalf("%d records are unclaimed, want %d", c.Unclaimed, n)
	}
}
