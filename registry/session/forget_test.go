package session

import (
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/model"
)

// TestForgottenIsNotLost: a shard that others hold now takes its doubts along, and is nothing that was lost.
func TestForgottenIsNotLost(t *testing.T) {
	b := newBrake(Brake{ServicePercent: 30, RegistryPercent: 100, MinInstances: 10, Window: time.Minute, PerSecond: 1, MaxHold: time.Hour})
	now := model.Time{Mono: time.Hour}
	var records []*model.Record
	for i := range 40 {
		records = append(records, &model.Record{
			Key:     model.RecordKey{Publisher: model.Publisher{Member: model.Incarnation(i + 1)}},
			Version: model.Version{Stamp: 1, Origin: 1}, Instances: []model.Instance{{Port: int32(i)}},
		})
	}
	s := b.tally(model.ServiceKey{})
	s.live = len(records)
	s.begin(s.live)
	for _, r := range records[:20] {
		marked := r.WithUnclaimed(model.CausePublisher, now.Mono)
		b.note(now, r, marked)
	}
	for _, r := range records[1:30] {
		b.forget(r)
	}
	first := expiry{key: records[0].Key, instances: 1, due: now.Mono}
	if !b.permit(now, first, 11) {
		t.Errorf("one of 11 is held: %+v", *s)
	}
	for _, r := range records[30:33] {
		b.note(now, r, r.WithUnclaimed(model.CausePublisher, now.Mono))
	}
	if b.permit(now, first, 11) {
		t.Errorf("four of 11 are not held: %+v", *s)
	}
}
