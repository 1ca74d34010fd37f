package replication

import (
	"slices"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
)

// stepWalk is one step of the walk from a sum that differs down to the records, each side answering the other:
// digest -> groups -> shards -> keys -> repair. What both hold is merged both ways; absence deletes nothing.
func (e *Engine) stepWalk(now model.Time, p *peer, m Message) []catalog.Change {
	switch m.Kind {
	case KindDigest:
		e.compareDigests(now, p, m.Sums)
	case KindOrigins:
		e.compareOwn(p, m)
	case KindGroups:
		if len(m.Sums) == GroupCount { // answered also when none differs any more: whoever walks wants to know
			p.push(item{message: e.shardSums(p, differing(e.groupSums(p), m.Sums))})
		}
	case KindShards:
		if shards, ok := e.differingShards(p, m); ok {
			p.differ(shards, true)
			for _, part := range e.versions(shards, 0) {
				p.push(item{message: part})
			}
		}
	case KindKeys:
		if m.Owner == p.id {
			p.differ(m.Shards, m.Last)
		}
		p.push(e.repair(m)...)
	case KindRepair:
		if len(m.Want) > 0 {
			p.push(item{message: Message{Kind: KindRepair}, records: e.wanted(m.Want), bulk: true})
		}
		return e.apply(now, m.Entries)
	}
	return nil
}

func (e *Engine) groupSums(p *peer) []uint64 {
	sums := e.sums(p, 0, model.ShardCount)
	groups := make([]uint64, GroupCount)
	for i, s := range sums {
		groups[i/GroupSize] += s
	}
	return groups
}

// differing are the places where two lists of one length differ.
func differing(a, b []uint64) []uint16 {
	var d []uint16
	for i := range a {
		if a[i] != b[i] {
			d = append(d, uint16(i))
		}
	}
	return d
}

func (e *Engine) shardSums(p *peer, groups []uint16) Message {
	m := Message{Kind: KindShards, Groups: groups}
	for _, g := range groups {
		m.Sums = append(m.Sums, e.sums(p, model.Shard(g)*GroupSize, GroupSize)...)
	}
	return m
}

// differingShards is not ok when the message makes no sense.
func (e *Engine) differingShards(p *peer, m Message) (differ []model.Shard, ok bool) {
	if len(m.Sums) != len(m.Groups)*GroupSize {
		return nil, false
	}
	for i, g := range m.Groups {
		if g >= GroupCount {
			return nil, false
		}
		for _, d := range differing(e.sums(p, model.Shard(g)*GroupSize, GroupSize), m.Sums[i*GroupSize:(i+1)*GroupSize]) {
			differ = append(differ, model.Shard(g)*GroupSize+model.Shard(d))
		}
	}
	return differ, true
}

// versions lists what we hold in the shards, of one origin when there is an owner, whole shards a message: what is not
// listed is not held. A shard of more than a frame shall hold comes in parts: what is in the others is then given for nothing.
func (e *Engine) versions(shards []model.Shard, owner model.Incarnation) []Message {
	if len(shards) == 0 {
		return nil
	}
	held := map[model.Shard][]KeyVersion{}
	for _, r := range e.store.InShards(shards) {
		if owner != 0 && r.Version.Origin != owner {
			continue
		}
		sh := r.Key.Service.Shard()
		held[sh] = append(held[sh], KeyVersion{Key: r.Key, Version: r.Version, Deleted: r.Deleted, Unclaimed: r.Unclaimed})
	}
	var ms []Message
	m, size := Message{Kind: KindKeys, Owner: owner}, 0
	for _, sh := range shards {
		m.Shards = append(m.Shards, sh)
		for _, v := range held[sh] {
			if size += v.size(); size > model.MaxRecord {
				ms = append(ms, m)
				m, size = Message{Kind: KindKeys, Owner: owner, Shards: []model.Shard{sh}}, v.size()
			}
			m.Versions = append(m.Versions, v)
		}
		if len(m.Versions) >= chunk {
			ms = append(ms, m)
			m, size = Message{Kind: KindKeys, Owner: owner}, 0
		}
	}
	if len(m.Shards) > 0 {
		ms = append(ms, m)
	}
	return ms
}

// size is about how many bytes it takes on its way, and never less.
func (v *KeyVersion) size() int {
	k := &v.Key
	return 100 + len(k.Publisher.ID) + len(k.Service.Namespace) + len(k.Service.Group) + len(k.Service.Name)
}

// repair answers the other's versions with what it lacks and what it shall send. Who joins has all tombstones that the
// other one has, and the other way round: what they kill may still come from a third member.
func (e *Engine) repair(m Message) []item {
	joining := m.Exchange != 0
	theirs := make(map[model.RecordKey]KeyVersion, len(m.Versions))
	for _, v := range m.Versions {
		theirs[v.Key] = v
	}
	var give []*model.Record
	var want []model.RecordKey
	for _, r := range e.ourSide(m) {
		v, held := theirs[r.Key]
		delete(theirs, r.Key)
		switch c := r.Version.Compare(v.Version); {
		case !held:
			if !r.Deleted || joining { // else they have nothing that our tombstone could kill
				give = append(give, r)
			}
		case c > 0 || c == 0 && r.Deleted && !v.Deleted:
			give = append(give, r)
		case c < 0 || !r.Deleted && v.Deleted:
			want = append(want, r.Key)
		case !r.Deleted && r.Unclaimed != v.Unclaimed:
			give, want = append(give, r), append(want, r.Key)
		}
	}
	for _, v := range m.Versions {
		if _, missing := theirs[v.Key]; missing && (!v.Deleted || joining) {
			want = append(want, v.Key)
		}
	}
	return repairs(give, want)
}

// ourSide are the records that the other's versions are compared with.
func (e *Engine) ourSide(m Message) []*model.Record {
	records := e.store.InShards(m.Shards)
	if m.Owner == 0 {
		return records
	}
	named := make(map[model.RecordKey]bool, len(m.Versions))
	for _, v := range m.Versions {
		named[v.Key] = true
	}
	return slices.DeleteFunc(records, func(r *model.Record) bool { return r.Version.Origin != m.Owner && !named[r.Key] })
}

func repairs(give []*model.Record, want []model.RecordKey) []item {
	var ms []item
	for len(give) > 0 || len(want) > 0 {
		m := Message{Kind: KindRepair}
		n, w := min(len(give), chunk), min(len(want), chunk)
		m.Want = want[:w]
		ms = append(ms, item{message: m, records: give[:n], bulk: true})
		give, want = give[n:], want[w:]
	}
	return ms
}

func (e *Engine) wanted(keys []model.RecordKey) []*model.Record {
	var rs []*model.Record
	for _, k := range keys {
		if r := e.store.Record(k); r != nil {
			rs = append(rs, r)
		}
	}
	return rs
}
