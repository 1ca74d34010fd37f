package session_test

import (
	"testing"
	"time"
)

// TestAbandoned: a connection that we end, because its client does not read, has the grace of a loss that is ours (L1).
func TestAbandoned(t *testing.T) {
	const limit = 10 * time.Minute
	ends := map[string]func(b *bench){
		"by its client": func(*bench) {},
		"by us":         func(b *bench) { b.Abandon("c") },
		"another one":   func(b *bench) { b.Abandon("nobody") },
	}
	want := map[string]time.Duration{"by its client": graces.Connection, "by us": graces.MemberLoss, "another one": graces.Connection}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, true)
			b.open("c", java)
			key := b.publish("c", instance)
			b.pass(15 * time.Second) // its port has answered once
			end(b)
			b.Close(b.now, "c")
			if got := b.lasts(key, limit); got < want[name] || got > want[name]+2*time.Second {
				t.Errorf("it lasted %v, want %v", got, want[name])
			}
		})
	}
}
