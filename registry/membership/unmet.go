package membership

import (
	"slices"
	"time"

	"github.com/muster-registry/muster/registry/model"
)

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

// renewPatience is how long those that the source lists have to show that they are alive, after the source could not be
// reached: their renewals were missed as well.
const renewPatience = 5 * time.Second

// MayMiss reports whether there may be somebody who is not in the view: the source has said nothing since the last peer
// went (clocks may have stood still since, and others started meanwhile, R4); or it lists somebody, and had not been
// reachable for long enough to say that nobody is there when it last spoke (a reader that sleeps hears nothing of them).
func (t *Tracker) MayMiss(now model.Time) bool {
	if t.policy.Alone {
		return false
	}
	if t.lost && t.listing.Renewal != 0 && t.listing.Renewal == t.lostAt {
		return true
	}
	spoke := t.spoke
	if t.listing.Renewal == 0 {
		spoke = now.Mono // it cannot tell
	}
	if spoke-t.thawed >= renewPatience {
		return false
	}
	return slices.ContainsFunc(t.listing.Entries, func(e Entry) bool {
		return e.Incarnation != 0 && !e.Left && !t.isSelf(e.Member) && t.slot(e.Member) == nil
	})
}
