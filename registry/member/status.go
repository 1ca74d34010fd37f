package member

import (
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/session"
)

// StartsAlone counts how often the member began, or began again after a pause, with nobody complete to merge with.
func (m *Member) StartsAlone() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.life.alone
}

// Ready reports whether the member is complete; why not is for people.
func (m *Member) Ready() (bool, string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.self.State == model.StateLeaving {
		return false, "the member is leaving"
	}
	return m.life.complete, m.life.reason
}

// Dirty reports whether a peer of the view cannot be reached, or does not agree with what we hold.
func (m *Member) Dirty() bool {
	for _, p := range m.View().Members {
		if p.Incarnation == m.Self().Incarnation || p.State == model.StateStarting {
			continue
		}
		if !m.engine.Agreed(p.Incarnation) {
			return true
		}
	}
	return false
}

// Sum is over all live records: equal on members that agree.
func (m *Member) Sum() uint64 { return m.store.Sum() }

// Records returns everything that the member holds, tombstones too, in a fixed order.
func (m *Member) Records() []*model.Record { return m.store.Collect(nil) }

// Protection returns what the brake on expiries does now.
func (m *Member) Protection() session.BrakeState { return m.session.BrakeState(m.clock.Now()) }

// Counts are for metrics and operators.
type Counts struct {
	Services, Instances, Subscriptions, Connections, BeatClients, Unclaimed int
	// WantedShards and HeldShards are all of them where every member holds everything.
	WantedShards, HeldShards int
}

// Counts returns what the member holds now.
func (m *Member) Counts() Counts {
	s := m.session.Counts()
	wanted, held := m.engine.ShardCounts()
	return Counts{
		Services: m.store.Services(), Instances: m.store.Instances(), Subscriptions: m.hub.Subscriptions(),
		Connections: s.Connections, BeatClients: s.Beats, Unclaimed: s.Unclaimed,
		WantedShards: wanted, HeldShards: held,
	}
}
