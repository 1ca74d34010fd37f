package link

import (
	"cmp"
	"errors"
	"fmt"
	"math"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
	pb "github.com/muster-registry/muster/registry/replication/peerpb"
)

// What arrives is checked for what the core takes for granted: numbers in their ranges, lists as long as their kind
// says, no record missing. The size of a frame was bounded before.

func decodeHello(h *pb.Hello) (replication.Hello, error) {
	m := h.GetMember()
	switch {
	case m.GetIncarnation() == 0:
		return replication.Hello{}, errors.New("hello: incarnation is missing")
	case m.GetState() > uint32(model.StateLeaving):
		return replication.Hello{}, fmt.Errorf("hello: member state %d is unknown", m.GetState())
	case m.GetClientPort() > math.MaxUint16:
		return replication.Hello{}, fmt.Errorf("hello: client port %d is none", m.GetClientPort())
	}
	return replication.Hello{
		Protocol: h.GetProtocol(), ClusterUID: h.GetClusterUid(), Stamp: model.Stamp(h.GetStamp()),
		Member: model.Member{
			Incarnation: model.Incarnation(m.GetIncarnation()), Name: m.GetName(), UID: m.GetUid(), Address: m.GetAddress(),
			ClientPort: int(m.GetClientPort()), Zone: m.GetZone(), Version: m.GetVersion(), State: model.MemberState(m.GetState()),
		},
	}, nil
}

// decodeMessage leaves the entries to the codec.
func decodeMessage(p *pb.Message) (replication.Message, error) {
	if p.GetKind() == 0 || p.GetKind() > math.MaxUint8 {
		return replication.Message{}, fmt.Errorf("message kind %d is none", p.GetKind())
	}
	var d decoder
	m := replication.Message{
		Kind: replication.Kind(p.GetKind()), Seq: p.GetSeq(), Ack: p.GetAck(), Stamp: model.Stamp(p.GetStamp()),
		Status: d.status(p.GetStatus()), Exchange: p.GetExchange(), Last: p.GetLast(),
		Sums:     p.GetSums(),
		Groups:   narrow[uint16](&d, "group", p.GetGroups(), replication.GroupCount),
		Shards:   narrow[model.Shard](&d, "shard", p.GetShards(), model.ShardCount),
		Versions: each(p.GetVersions(), d.keyVersion), Want: each(p.GetWant(), d.key),
		Beats: each(p.GetBeats(), d.beat), Answers: each(p.GetAnswers(), decodeAnswer), Questions: each(p.GetQuestions(), d.question),
		Shares: each(p.GetShares(), d.share), Owner: model.Incarnation(p.GetOwner()), Lookups: each(p.GetLookups(), decodeLookup),
		Known: p.GetKnown(), Names: p.GetNames(),
	}
	d.sums(m)
	if d.err != nil {
		return replication.Message{}, fmt.Errorf("message kind %d: %w", p.GetKind(), d.err)
	}
	return m, nil
}

// decoder keeps the first error.
type decoder struct {
	err   error
	texts *interner
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
}

func (d *decoder) below(what string, v, limit uint32) uint32 {
	if v >= limit {
		d.fail("%s %d is not below %d", what, v, limit)
		return 0
	}
	return v
}

func narrow[T ~uint16](d *decoder, what string, in []uint32, limit uint32) []T {
	return each(in, func(v uint32) T { return T(d.below(what, v, limit)) })
}

// sums checks that there are as many as the kind says.
func (d *decoder) sums(m replication.Message) {
	want := 0
	switch m.Kind {
	case replication.KindDigest:
		want = min(max(len(m.Sums), 1), 2)
	case replication.KindOrigins:
		want = len(m.Shards)
	case replication.KindGroups:
		want = replication.GroupCount
	case replication.KindCompare:
		want = replication.CompareSums
	case replication.KindShards:
		want = len(m.Groups) * replication.GroupSize
	}
	if len(m.Sums) != want {
		d.fail("%d sums, want %d", len(m.Sums), want)
	}
}

func (d *decoder) status(s *pb.Status) replication.Status {
	return replication.Status{
		State:     model.MemberState(d.below("member state", s.GetState(), uint32(model.StateLeaving)+1)),
		ReadsOpen: s.GetReadsOpen(), ViewHash: s.GetViewHash(), Connections: int(s.GetConnections()), Complete: s.GetComplete(), Everywhere: s.GetEverywhere(), Protocol: s.GetProtocol(), Strained: s.GetStrained(),
	}
}

func (d *decoder) cause(v uint32) model.Cause {
	return model.Cause(d.below("cause", v, uint32(model.CauseOurs)+1))
}

func (d *decoder) key(k *pb.RecordKey) model.RecordKey {
	return model.RecordKey{Publisher: d.publisher(k.GetPublisher()), Service: decodeService(k.GetService())}
}

func (d *decoder) publisher(p *pb.Publisher) model.Publisher {
	return model.Publisher{Kind: d.publisherKind(p.GetKind()), Member: model.Incarnation(p.GetMember()), ID: p.GetId()}
}

func (d *decoder) publisherKind(v uint32) model.PublisherKind {
	return model.PublisherKind(d.below("publisher kind", v, uint32(model.KindSettings)+1))
}

func (d *decoder) keyVersion(v *pb.KeyVersion) replication.KeyVersion {
	return replication.KeyVersion{
		Key: d.key(v.GetKey()), Version: decodeVersion(v.GetVersion()), Deleted: v.GetDeleted(), Unclaimed: d.cause(v.GetUnclaimed()),
	}
}

func (d *decoder) beat(b *pb.Beat) replication.Beat {
	return replication.Beat{ID: b.GetId(), Publisher: d.publisher(b.GetPublisher()), Service: decodeService(b.GetService())}
}

func (d *decoder) question(q *pb.Question) replication.Question {
	return replication.Question{Older: d.key(q.GetOlder()), Newer: d.key(q.GetNewer())}
}

func decodeAnswer(a *pb.BeatAnswer) replication.BeatAnswer {
	return replication.BeatAnswer{ID: a.GetId(), Known: a.GetKnown()}
}

func decodeService(k *pb.ServiceKey) model.ServiceKey {
	return model.ServiceKey{Namespace: k.GetNamespace(), Group: k.GetGroup(), Name: k.GetName()}
}

func decodeVersion(v *pb.Version) model.Version {
	return model.Version{Said: model.Stamp(cmp.Or(v.GetSaid(), v.GetStamp())), Stamp: model.Stamp(v.GetStamp()), Origin: model.Incarnation(v.GetOrigin())}
}

func (d *decoder) share(v uint32) replication.Share {
	return replication.Share{Shard: model.Shard(d.below("shard", v/4, model.ShardCount)), Wanted: v&1 != 0, Held: v&2 != 0}
}

func decodeLookup(l *pb.Lookup) replication.Lookup {
	return replication.Lookup{ID: l.GetId(), Service: decodeService(l.GetService())}
}
