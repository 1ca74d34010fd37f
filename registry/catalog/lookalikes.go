package catalog

import (
	"hash/maphash"
	"slices"

	"github.com/muster-registry/muster/registry/model"
)

// Lookalikes returns the live records of connections that a publisher with this description and these instances may have
// made: of the same client, with an instance in common. They are sorted by publisher.
func (s *Store) Lookalikes(k model.ServiceKey, c model.Client, instances []model.Instance) []*model.Record {
	st, _ := s.stripe(k)
	st.mu.Lock()
	defer st.mu.Unlock()
	svc := st.services.Get(k)
	if svc == nil {
		return nil
	}
	if svc.alike == nil && svc.large() {
		svc.alike = newLookalikes(svc.records)
	}
	if svc.alike != nil {
		return svc.alike.of(c, instances)
	}
	var found []*model.Record
	for _, r := range svc.records {
		if looksAlike(r, c) && r.Overlaps(instances) {
			found = append(found, r)
		}
	}
	return found
}

func looksAlike(r *model.Record, c model.Client) bool {
	return !r.Deleted && r.Key.Publisher.Kind == model.KindConnection && r.By() == c
}

// lookedThrough is how many records and instances a service may have until its lookalikes are indexed: every registration
// asks for them, and most services are small.
const lookedThrough = 64

func (svc *service) large() bool {
	n := 0
	for _, r := range svc.records {
		if n += 1 + len(r.Instances); n > lookedThrough {
			return true
		}
	}
	return false
}

// lookalikes is the index of one large service: the live records of connections by the marks of their instances. nil is none, and
// takes in nothing.
type lookalikes struct {
	first map[uint64]*model.Record
	more  map[uint64][]*model.Record // those beyond the first, which are few
}

// mark is what two records have in common that may be of one publisher. Its hash is kept, not itself.
type mark struct {
	client   model.Client
	instance model.InstanceKey
}

var markSeed = maphash.MakeSeed()

func hashOf(c model.Client, in *model.Instance) uint64 {
	return maphash.Comparable(markSeed, mark{c, in.Key()})
}

func newLookalikes(records []*model.Record) *lookalikes {
	l := &lookalikes{first: map[uint64]*model.Record{}, more: map[uint64][]*model.Record{}}
	for _, r := range records {
		l.add(r)
	}
	return l
}

// replace takes in that a record took the place of another; nil is no record.
func (l *lookalikes) replace(old, r *model.Record) {
	if l == nil {
		return
	}
	if old != nil {
		l.remove(old)
	}
	if r != nil {
		l.add(r)
	}
}

func (l *lookalikes) add(r *model.Record) {
	c := r.By()
	if !looksAlike(r, c) {
		return
	}
	for i := range r.Instances {
		h := hashOf(c, &r.Instances[i])
		if l.first[h] == nil {
			l.first[h] = r
		} else {
			l.more[h] = append(l.more[h], r)
		}
	}
}

func (l *lookalikes) remove(r *model.Record) {
	c := r.By()
	if !looksAlike(r, c) {
		return
	}
	for i := range r.Instances {
		h := hashOf(c, &r.Instances[i])
		more := l.more[h]
		switch at := slices.Index(more, r); {
		case at >= 0:
			more = slices.Delete(more, at, at+1)
		case len(more) > 0:
			l.first[h] = more[0]
			more = slices.Delete(more, 0, 1)
		default:
			delete(l.first, h)
		}
		if len(more) > 0 {
			l.more[h] = more
		} else {
			delete(l.more, h)
		}
	}
}

// of is Lookalikes of the service. Two marks may have one hash: what is found is looked at.
func (l *lookalikes) of(c model.Client, instances []model.Instance) []*model.Record {
	var found []*model.Record
	seen := map[*model.Record]bool{}
	take := func(r *model.Record, in []model.Instance) {
		if r != nil && !seen[r] && looksAlike(r, c) && r.Overlaps(in) {
			seen[r] = true
			found = append(found, r)
		}
	}
	for i := range instances {
		h := hashOf(c, &instances[i])
		take(l.first[h], instances[i:i+1])
		for _, r := range l.more[h] {
			take(r, instances[i:i+1])
		}
	}
	slices.SortFunc(found, func(a, b *model.Record) int { return a.Key.Publisher.Compare(b.Key.Publisher) })
	return found
}
