package membership

// Unmet are the addresses that the source lists as alive, without an incarnation, and with which there was no handshake
// yet: who is there, and how far it is, nobody knows.
func (t *Tracker) Unmet() []string {
	var out []string
	for _, e := range t.listing.Entries {
		if e.Incarnation == 0 && e.Alive && !e.Left && !t.isSelf(e.Member) && t.slot(e.Member) == nil {
			out = append(out, e.Address)
		}
	}
	return out
}
