package membership

import "github.com/muster-registry/muster/registry/model"

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

// Estranged are those that the source lists as alive but that were gone from this view: they have not heard that yet,
// and will take a new incarnation when they do. Until then they are not in the view, and not nobody.
func (t *Tracker) Estranged() []model.Member {
	var out []model.Member
	for _, e := range t.listing.Entries {
		if e.Incarnation != 0 && e.Alive && !e.Left && !t.isSelf(e.Member) && t.gone.set[e.Incarnation] && t.slot(e.Member) == nil {
			out = append(out, e.Member)
		}
	}
	return out
}
