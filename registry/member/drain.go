package member

import (
	"slices"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/push"
	"github.com/muster-registry/muster/registry/replication"
)

// Drain starts to leave: peers hear it first, so that rings leave the member out before anything moves; then every
// client is asked to connect elsewhere, if there is anybody else: who is asked and finds nobody tries again without a pause
// (nacos-protocol §3.3). What its connections published is unclaimed by our doing when they go.
func (m *Member) Drain() {
	now := m.enter()
	m.mu.Lock()
	if m.self.State == model.StateLeaving {
		m.mu.Unlock()
		return
	}
	m.self.State = model.StateLeaving
	m.tracker.SetSelf(now, m.self)
	m.mu.Unlock()
	m.settle(now)
	ids := m.session.CloseOurselves()
	if len(m.staying()) > 0 {
		m.tell(ids, push.ItemReset)
	}
}

// staying are the other members that do not leave.
func (m *Member) staying() []model.Member {
	v := m.View()
	return slices.DeleteFunc(slices.Clone(v.Members), func(p model.Member) bool {
		return p.Incarnation == v.Self || p.State == model.StateLeaving
	})
}

// CloseConnections ends those that did not move.
func (m *Member) CloseConnections() { m.tell(m.session.CloseOurselves(), push.ItemClose) }

func (m *Member) tell(connections []string, k push.ItemKind) {
	for _, id := range connections {
		if c := m.conn(id); c != nil {
			c.Do(k)
		}
	}
}

// HandedOver reports whether the member may stop: no connection is left, every peer has taken in all that it had to
// hear, and one at least is complete, or none is left.
func (m *Member) HandedOver() bool {
	m.mu.Lock()
	connections, r := len(m.conns), m.ring
	m.mu.Unlock()
	if connections > 0 || !m.engine.Drained() || !m.engine.HeldElsewhere(r) {
		return false
	}
	others := m.staying()
	complete := func(p model.Member) bool {
		s, ok := m.engine.PeerStatus(p.Incarnation)
		return ok && s.State == model.StateComplete
	}
	return len(others) == 0 || slices.ContainsFunc(others, complete)
}

// Leave tells every peer that the member stops now.
func (m *Member) Leave() {
	for _, p := range m.View().Members {
		m.engine.Send(p.Incarnation, replication.Message{Kind: replication.KindLeave})
	}
}

// Told reports whether every peer has taken in all that was sent.
func (m *Member) Told() bool { return m.engine.Drained() }
