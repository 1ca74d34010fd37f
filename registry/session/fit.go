package session

import (
	"time"

	"github.com/muster-registry/muster/registry/model"
)

// peaks are the most entries that the large maps of a table have had (model.Fit).
type peaks struct {
	at                             time.Duration
	beats, claims, asks, restamps  int
	services, doubtful, held, sure int
}

// fit gives back the room of peaks, once a second. Called with the lock held.
func (t *Table) fit(now model.Time) {
	p := &t.peaks
	if now.Mono-p.at < time.Second {
		return
	}
	p.at = now.Mono
	t.beats = model.Fit(t.beats, &p.beats)
	t.claims = model.Fit(t.claims, &p.claims)
	t.asks = model.Fit(t.asks, &p.asks)
	t.restamps = model.Fit(t.restamps, &p.restamps)
	b := &t.brake
	b.services = model.Fit(b.services, &p.services)
	b.doubtful = model.Fit(b.doubtful, &p.doubtful)
	b.held = model.Fit(b.held, &p.held)
	b.sure = model.Fit(b.sure, &p.sure)
}
