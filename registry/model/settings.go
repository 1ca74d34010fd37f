package model

// Settings are what an administrator says of a service as a whole. They are never changed once handed over.
type Settings struct {
	// ProtectThreshold is the share of healthy instances at or below which all are shown as healthy. Nacos takes any number; 0 and
	// less protect a service of which none is healthy, 1 and more protect always.
	ProtectThreshold float32
	Metadata         Metadata
}

// Protects reports whether so few are healthy that all are shown as healthy: clients would otherwise crowd onto the few that are
// left. A service without settings is never protected, nor is one without instances (nacos-protocol §4.5).
func (s *Settings) Protects(healthy, total int) bool {
	return s != nil && total > 0 && float32(healthy)/float32(total) <= max(s.ProtectThreshold, 0)
}

// SameSettings compares what either may not have.
func SameSettings(a, b *Settings) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
