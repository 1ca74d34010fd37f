package member

import "time"

// TickPush is what the push loop of a Runner does.
func (m *Member) TickPush() (next time.Duration, idle bool) { return m.tickPush() }
