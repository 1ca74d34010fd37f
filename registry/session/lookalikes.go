package session

import (
	"hash/maphash"
	"slices"

	"github.com/muster-registry/muster/registry/model"
)

// lookalikes finds the records of connections that one publisher may have made: of one service, with one description of
// the client and an instance in common. Without it every registration, and every look at an unclaimed record, would walk
// the whole service.
//
// It is a hint: changes are noted after the catalog has them, by several goroutines, so that whoever asks looks at the
// record in the catalog. What it misses for a moment is found by the next look.
type lookalikes struct {
	seed  maphash.Seed
	first map[uint64]*model.Record
	more  map[uint64][]*model.Record // those beyond the first, which are few
}

// mark is what two records have in common that may be of one publisher. Its hash is kept, not itself.
type mark struct {
	service  model.ServiceKey
	client   model.Client
	instance model.InstanceKey
}

func newLookalikes() lookalikes {
	return lookalikes{seed: maphash.MakeSeed(), first: map[uint64]*model.Record{}, more: map[uint64][]*model.Record{}}
}

func (l *lookalikes) hash(k model.ServiceKey, c model.Client, in *model.Instance) uint64 {
	return maphash.Comparable(l.seed, mark{k, c, in.Key()})
}

// note takes in a change of a record.
func (l *lookalikes) note(old, r *model.Record) {
	if r.Key.Publisher.Kind != model.KindConnection {
		return
	}
	if old != nil && !old.Deleted && (r.Deleted || !sameInstances(old, r) || old.By() != r.By()) {
		l.remove(old, r.Version)
	}
	if !r.Deleted {
		l.add(r)
	}
}

// sameInstances: marks and new stamps leave the instances as they are.
func sameInstances(a, b *model.Record) bool {
	return len(a.Instances) == len(b.Instances) && (len(a.Instances) == 0 || &a.Instances[0] == &b.Instances[0])
}

// add enters a record, in place of older versions of it.
func (l *lookalikes) add(r *model.Record) {
	for i := range r.Instances {
		h := l.hash(r.Key.Service, r.By(), &r.Instances[i])
		switch had := l.first[h]; {
		case had == nil:
			l.first[h] = r
		case had.Key == r.Key:
			if had.Version.Compare(r.Version) <= 0 {
				l.first[h] = r
			}
		default:
			l.addMore(h, r)
		}
	}
}

func (l *lookalikes) addMore(h uint64, r *model.Record) {
	more := l.more[h]
	i := slices.IndexFunc(more, func(o *model.Record) bool { return o.Key == r.Key })
	switch {
	case i < 0:
		l.more[h] = append(more, r)
	case more[i].Version.Compare(r.Version) <= 0:
		more[i] = r
	}
}

// remove takes out what is entered under the marks of a record, unless it is newer than version.
func (l *lookalikes) remove(r *model.Record, version model.Version) {
	over := func(o *model.Record) bool { return o.Key == r.Key && o.Version.Compare(version) <= 0 }
	for i := range r.Instances {
		h := l.hash(r.Key.Service, r.By(), &r.Instances[i])
		if more := slices.DeleteFunc(l.more[h], over); len(more) > 0 {
			l.more[h] = more
		} else {
			delete(l.more, h)
		}
		if had := l.first[h]; had == nil || !over(had) {
			continue
		}
		delete(l.first, h)
		if more := l.more[h]; len(more) == 1 {
			l.first[h] = more[0]
			delete(l.more, h)
		} else if len(more) > 1 {
			l.first[h], l.more[h] = more[0], slices.Clone(more[1:])
		}
	}
}

// of returns what is entered for a service, a client and any of the instances, sorted by publisher.
func (l *lookalikes) of(k model.ServiceKey, c model.Client, instances []model.Instance) []*model.Record {
	var found []*model.Record
	for i := range instances {
		h := l.hash(k, c, &instances[i])
		if r := l.first[h]; r != nil {
			found = append(found, r)
			found = append(found, l.more[h]...)
		}
	}
	slices.SortFunc(found, func(a, b *model.Record) int { return a.Key.Publisher.Compare(b.Key.Publisher) })
	return slices.CompactFunc(found, func(a, b *model.Record) bool { return a.Key == b.Key })
}

// lookalikes returns the live records of connections in a service that one publisher may have made, as the catalog holds
// them, sorted by publisher.
func (t *Table) lookalikes(k model.ServiceKey, c model.Client, instances []model.Instance) []*model.Record {
	t.mu.Lock()
	entered := t.alike.of(k, c, instances)
	t.mu.Unlock()
	found := entered[:0]
	for _, e := range entered {
		r := t.store.Record(e.Key)
		if r == nil || r.Deleted {
			t.mu.Lock()
			t.alike.remove(e, e.Version)
			t.mu.Unlock()
			continue
		}
		if r.By() == c && r.Overlaps(instances) {
			found = append(found, r)
		}
	}
	return found
}
