package member

import (
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/push"
	"github.com/muster-registry/muster/registry/replication"
)

// Drain starts to leave: peers hear it first, so that rings leave the member out before anything moves; then every
// client is asked to connect elsewhere. What its connections published is unclaimed by our doing when they go.
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
	m.tellConnections(push.ItemReset)
}

// CloseConnections ends those that did not move.
func (m *Member) CloseConnections() { m.tellConnections(push.ItemClose) }

func (m *Member) tellConnections(k push.ItemKind) {
	for _, id := range m.session.CloseOurselves() {
		if c := m.conn(id); c != nil {
			c.Do(k)
		}
	}
}

// HandedOver reports whether the member may stop: no connection is left, every peer has taken in all that it had to
// hear, and one at least is complete, or none is left.
func (m *Member) HandedOver() bool {
	m.mu.Lock()
	connections := len(m.conns)
	view, r := m.view, m.ring
	m.mu.Unlock()
	if connections > 0 || !m.engine.Drained() || !m.engine.HeldElsewhere(r) {
		return false
	}
	others := 0
	for _, p := range view.Members {
		if p.Incarnation == view.Self || p.State == model.StateLeaving {
			continue
		}
		others++
		if s, ok := m.engine.PeerStatus(p.Incarnation); ok && s.State == model.StateComplete {
			return true
		}
	}
	return others == 0
}

// Leave tells every peer that the member stops now.
func (m *Member) Leave() {
	for _, p := range m.View().Members {
		m.engine.Send(p.Incarnation, replication.Message{Kind: replication.KindLeave})
	}
}

// Told reports whether every peer has taken in all that was sent.
func (m *Member) Told() bool { return m.engine.Drained() }
