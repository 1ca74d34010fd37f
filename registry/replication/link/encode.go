package link

import (
	"time"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
	pb "github.com/muster-registry/muster/registry/replication/peerpb"
)

func encodeHello(h Hello) *pb.Frame {
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

func encodeMessage(m replication.Message) *pb.Frame {
	return &pb.Frame{Kind: &pb.Frame_Message{Message: &pb.Message{
		Kind: uint32(m.Kind), Seq: m.Seq, Ack: m.Ack, Stamp: uint64(m.Stamp),
		Status: encodeStatus(m.Status), Exchange: m.Exchange, Last: m.Last,
		Entries: each(m.Entries, encodeEntry), Sums: m.Sums, Groups: widen(m.Groups), Shards: widen(m.Shards),
		Versions: each(m.Versions, encodeKeyVersion), Want: each(m.Want, encodeKey),
		Beats: each(m.Beats, encodeBeat), Answers: each(m.Answers, encodeAnswer), Questions: each(m.Questions, encodeQuestion),
		Shares: each(m.Shares, encodeShare), Owner: uint64(m.Owner), Lookups: each(m.Lookups, encodeLookup), Known: m.Known, Names: m.Names,
	}}}
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
	return &pb.Status{State: uint32(s.State), ReadsOpen: s.ReadsOpen, ViewHash: s.ViewHash, Connections: uint32(s.Connections), Complete: s.Complete, Everywhere: s.Everywhere}
}

func encodeEntry(e replication.Entry) *pb.Entry {
	return &pb.Entry{Record: encodeRecord(e.Record), AgeNanos: int64(max(e.Age, 0) / time.Nanosecond)}
}

func encodeRecord(r *model.Record) *pb.Record {
	return &pb.Record{
		Key: encodeKey(r.Key), Version: encodeVersion(r.Version), Deleted: r.Deleted,
		Instances: each(r.Instances, encodeInstance), Client: encodeClient(r.Client),
		Supersedes: each(r.Supersedes, encodeSuperseded), Unclaimed: uint32(r.Unclaimed), Answered: r.Answered,
		Successor: encodeSuccessor(r.Successor),
	}
}

// encodeSuccessor leaves out nobody: few records have one.
func encodeSuccessor(p model.Publisher) *pb.Publisher {
	if p == (model.Publisher{}) {
		return nil
	}
	return encodePublisher(p)
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
	return &pb.Version{Stamp: uint64(v.Stamp), Origin: uint64(v.Origin)}
}

func encodeInstance(i model.Instance) *pb.Instance {
	return &pb.Instance{
		Ip: i.IP, Port: uint32(i.Port), Cluster: i.Cluster, Id: i.ID, Weight: i.Weight,
		Healthy: i.Healthy, Enabled: i.Enabled, Metadata: i.Metadata,
	}
}

func encodeClient(c model.Client) *pb.Client {
	if c == (model.Client{}) {
		return nil
	}
	return &pb.Client{Ip: c.IP, Agent: c.Agent, App: c.App}
}

func encodeSuperseded(s model.Superseded) *pb.Superseded {
	return &pb.Superseded{Publisher: encodePublisher(s.Publisher), Version: encodeVersion(s.Version)}
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
