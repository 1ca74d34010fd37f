package member

import "time"

// TickPush is what the push loop of a Runner does.
func (m *Member) TickPush() (next time.Duration, idle bool) { return m.tickPush() }

// DialsKnown is of how many addresses it is kept how the last attempt to connect ended.
func (m *Member) DialsKnown() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.life.dialled)
}
