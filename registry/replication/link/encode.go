package link

import (
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
	pb "github.com/muster-registry/muster/registry/replication/peerpb"
)

func encodeHello(h replication.Hello) *pb.Frame {
	return &pb.Frame{Kind: &pb.Frame_Hello{Hello: &pb.Hello{
		Protocol: h.Protocol, ClusterUid: h.ClusterUID, Member: encodeMember(h.Member), Stamp: uint64(h.Stamp),
	}}}
}

func encodeMember(m model.Member) *pb.Member {
	return &pb.Member{
		Incarnation: uint64(m.Incarnation), Name: m.Name, Uid: m.UID, Address: m.Address,
		ClientPort: uint32(m.ClientPort), Zone: m.Zone, Version: m.Version, State: uint32(m.State),
	}
}

// encodeMessage leaves the entries to the codec.
func encodeMessage(m replication.Message) *pb.Message {
	return &pb.Message{
		Kind: uint32(m.Kind), Seq: m.Seq, Ack: m.Ack, Stamp: uint64(m.Stamp),
		Status: encodeStatus(m.Status), Exchange: m.Exchange, Last: m.Last,
		Sums: m.Sums, Groups: widen(m.Groups), Shards: widen(m.Shards),
		Versions: each(m.Versions, encodeKeyVersion), Want: each(m.Want, encodeKey),
		Beats: each(m.Beats, encodeBeat), Answers: each(m.Answers, encodeAnswer), Questions: each(m.Questions, encodeQuestion),
		Shares: each(m.Shares, encodeShare), Owner: uint64(m.Owner), Lookups: each(m.Lookups, encodeLookup), Known: m.Known, Names: m.Names,
	}
}

func each[A, B any](in []A, f func(A) B) []B {
	if len(in) == 0 {
		return nil
	}
	out := make([]B, len(in))
	for i := range in {
		out[i] = f(in[i])
	}
	return out
}

func widen[T ~uint16](in []T) []uint32 { return each(in, func(v T) uint32 { return uint32(v) }) }

// encodeStatus leaves out what says nothing: most messages have no status.
func encodeStatus(s replication.Status) *pb.Status {
	if s == (replication.Status{}) {
		return nil
	}
	return &pb.Status{State: uint32(s.State), ReadsOpen: s.ReadsOpen, ViewHash: s.ViewHash, Connections: uint32(s.Connections), Complete: s.Complete, Everywhere: s.Everywhere, Protocol: s.Protocol, Strained: s.Strained}
}

func encodeKey(k model.RecordKey) *pb.RecordKey {
	return &pb.RecordKey{Publisher: encodePublisher(k.Publisher), Service: encodeService(k.Service)}
}

func encodePublisher(p model.Publisher) *pb.Publisher {
	return &pb.Publisher{Kind: uint32(p.Kind), Member: uint64(p.Member), Id: p.ID}
}

func encodeService(k model.ServiceKey) *pb.ServiceKey {
	return &pb.ServiceKey{Namespace: k.Namespace, Group: k.Group, Name: k.Name}
}

func encodeVersion(v model.Version) *pb.Version {
	p := &pb.Version{Stamp: uint64(v.Stamp), Origin: uint64(v.Origin)}
	if v.Said != v.Stamp { // most are what was said last
		p.Said = uint64(v.Said)
	}
	return p
}

func encodeKeyVersion(v replication.KeyVersion) *pb.KeyVersion {
	return &pb.KeyVersion{
		Key: encodeKey(v.Key), Version: encodeVersion(v.Version), Deleted: v.Deleted, Unclaimed: uint32(v.Unclaimed),
	}
}

func encodeBeat(b replication.Beat) *pb.Beat {
	return &pb.Beat{Id: b.ID, Publisher: encodePublisher(b.Publisher), Service: encodeService(b.Service)}
}

func encodeAnswer(a replication.BeatAnswer) *pb.BeatAnswer {
	return &pb.BeatAnswer{Id: a.ID, Known: a.Known}
}

func encodeQuestion(q replication.Question) *pb.Question {
	return &pb.Question{Older: encodeKey(q.Older), Newer: encodeKey(q.Newer)}
}

func encodeShare(s replication.Share) uint32 {
	v := uint32(s.Shard) * 4
	if s.Wanted {
		v++
	}
	if s.Held {
		v += 2
	}
	return v
}

func encodeLookup(l replication.Lookup) *pb.Lookup {
	return &pb.Lookup{Id: l.ID, Service: encodeService(l.Service)}
}
