package session

import (
	"strconv"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
)

// TestTimersOfConnections: whatever asks connections for a sign of life, they are looked at once each time it is due.
func TestTimersOfConnections(t *testing.T) {
	const connections, questions, every = 10, 100, 3 * time.Second
	older := func(t *Table) model.RecordKey {
		return model.RecordKey{Publisher: model.Publisher{Kind: model.KindConnection, Member: t.incarnation(), ID: "0"}}
	}
	for name, ask := range map[string]func(t *Table, now model.Time) []Signal{
		"a pause":              func(t *Table, now model.Time) []Signal { return t.Paused(now, 2*time.Second) },
		"another member":       func(t *Table, now model.Time) []Signal { return t.Asked(now, 2, replication.Question{Older: older(t)}) },
		"a mark of its record": reclaimFirst,
	} {
		t.Run(name, func(t *testing.T) {
			now := model.Time{Mono: time.Hour}
			table := aloneAt(now)
			for i := range connections {
				table.Open(now, Connection{ID: strconv.Itoa(i), Naming: true})
			}
			live := func(signals []Signal) { // all clients do
				for _, s := range signals {
					if s.Kind != SignalDetect {
						t.Fatalf("%v, and it has always answered", s)
					}
					table.Touch(now, s.Connection)
				}
			}
			pass := func(d time.Duration) {
				for end := now.Mono + d; now.Mono < end; {
					now.Mono += 100 * time.Millisecond
					live(table.Tick(now))
				}
			}
			for range questions {
				pass(every)
				live(ask(table, now))
			}
			// one is set for the end of an answer's time, at most, and the one that it comes before is void, and gone in detectAfter
			if n, most := len(table.timers.list), connections*int(detectAfter/detectTimeout+2); n > most {
				t.Errorf("%d timers of %d connections, want at most %d", n, connections, most)
			}
			pass(time.Minute)
			if n := len(table.timers.list); n != connections {
				t.Errorf("%d timers of %d connections in a quiet minute, want one of each", n, connections)
			}
		})
	}
}

// TestTimersOfBeats: whoever is vouched for again and again is looked at once each time it is due.
func TestTimersOfBeats(t *testing.T) {
	now := model.Time{Mono: time.Hour}
	table := aloneAt(now)
	k := model.ServiceKey{Namespace: "public", Group: "DEFAULT_GROUP", Name: "orders"}
	in := model.Instance{IP: "10.0.0.1", Port: 80, Cluster: "DEFAULT", Weight: 1, Healthy: true, Enabled: true}
	for range 100 {
		table.Register(now, k, in, model.Client{})
		table.Deregister(now, k, in.Key())
		table.Register(now, k, in, model.Client{})
		for range 10 {
			now.Mono += 100 * time.Millisecond
			table.Tick(now)
		}
	}
	for range 60 {
		table.Beat(now, model.RecordKey{Publisher: BeatPublisher(in.IP, int(in.Port)), Service: k}, 1)
		for range 50 {
			now.Mono += 100 * time.Millisecond
			table.Tick(now)
		}
	}
	if n := len(table.timers.list); n != 1 {
		t.Errorf("%d timers of one publisher that beats, want one", n)
	}
}

func reclaimFirst(t *Table, now model.Time) []Signal {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.restamps)
	return t.reclaim(now, t.conns["0"], model.ServiceKey{})
}
