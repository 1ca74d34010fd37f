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
func (h *harness) crowd(n int) []model.RecordKey {
	keys := make([]model.RecordKey, n)
	for i := range n {
		id := "c" + strconv.Itoa(i)
		h.open(id, java)
		keys[i] = h.publish(id, member(i))
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
			w := newHarness(b, true)
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

// BenchmarkBatch registers a batch that an older connection of the same client, whose ports have answered, published too.
func BenchmarkBatch(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("%d instances", n), func(b *testing.B) {
			w := newHarness(b, true)
			batch := make([]model.Instance, n)
			for i := range batch {
				batch[i] = member(i)
			}
			for _, id := range []string{"older", "newer"} {
				w.open(id, java)
			}
			if _, err := w.Publish(w.now, "older", orders, batch); err != nil {
				b.Fatal(err)
			}
			w.pass(15 * time.Second)
			for b.Loop() {
				if _, err := w.Publish(w.now, "newer", orders, batch); err != nil {
					b.Fatal(err)
				}
				if err := w.Withdraw(w.now, "newer", orders); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkClaims is one second of a member that watches unclaimed records, all of one service.
func BenchmarkClaims(b *testing.B) {
	const n = 1000
	lost := func(l session.Brake, ours bool, since time.Duration) *harness {
		w := braked(b, l, 2)
		w.crowd(n)
		w.pass(15 * time.Second)
		if ours {
			w.CloseOurselves()
		}
		w.die(0, n)
		w.pass(since)
		return w
	}
	for name, fresh := range map[string]func() *harness{
		"ours":        func() *harness { return lost(session.Brake{}, true, 2*time.Second) },
		"ours, brake": func() *harness { return lost(limits, true, 2*time.Second) },
		"held back":   func() *harness { return lost(limits, false, time.Minute) },
		"publisher's": func() *harness { return lost(limits, false, 2*time.Second) },
	} {
		b.Run(name, func(b *testing.B) {
			w := fresh()
			start := w.now
			b.ReportAllocs()
			for b.Loop() {
				if w.now.Mono-start.Mono > 30*time.Second { // the same second for ever
					b.StopTimer()
					w = fresh()
					start = w.now
					b.StartTimer()
				}
				w.pass(time.Second)
			}
			if c := w.Counts(); c.Unclaimed != n {
				b.Fatalf("%d records are unclaimed, want %d", c.Unclaimed, n)
			}
		})
	}
}
