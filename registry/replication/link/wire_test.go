package link

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
	pb "github.com/muster-registry/muster/registry/replication/peerpb"
)

// anyText holds every byte there is: a name need not be UTF-8.
func anyText(t *rapid.T) string {
	return string(rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "text"))
}

func anyKey(t *rapid.T) model.RecordKey {
	return model.RecordKey{
		Publisher: model.Publisher{
			Kind:   model.PublisherKind(rapid.IntRange(0, int(model.KindSettings)).Draw(t, "kind")),
			Member: model.Incarnation(rapid.Uint64().Draw(t, "member")), ID: anyText(t),
		},
		Service: model.ServiceKey{Namespace: anyText(t), Group: anyText(t), Name: anyText(t)},
	}
}

func anyVersion(t *rapid.T) model.Version {
	stamp := rapid.Uint64().Draw(t, "stamp")
	said := rapid.OneOf(rapid.Just(stamp), rapid.Uint64Range(min(1, stamp), stamp)).Draw(t, "said")
	return model.Version{Said: model.Stamp(said), Stamp: model.Stamp(stamp), Origin: model.Incarnation(rapid.Uint64().Draw(t, "origin"))}
}

func anyInstance(t *rapid.T) model.Instance {
	return model.Instance{
		IP: anyText(t), Port: int32(rapid.IntRange(0, 65535).Draw(t, "port")), Cluster: anyText(t), ID: anyText(t),
		Weight: rapid.Float64().Draw(t, "weight"), Healthy: rapid.Bool().Draw(t, "healthy"), Enabled: rapid.Bool().Draw(t, "enabled"),
		Metadata: model.MetadataOf(rapid.MapOfN(rapid.Custom(anyText), rapid.Custom(anyText), 0, 3).Draw(t, "metadata")),
	}
}

func anyEntry(t *rapid.T) replication.Entry {
	r := &model.Record{
		Key: anyKey(t), Version: anyVersion(t), Deleted: rapid.Bool().Draw(t, "deleted"),
		Instances: rapid.SliceOfN(rapid.Custom(anyInstance), 0, 3).Draw(t, "instances"),
		Client:    &model.Client{IP: anyText(t), Agent: anyText(t), App: anyText(t)},
		Unclaimed: model.Cause(rapid.IntRange(0, 2).Draw(t, "cause")), Answered: rapid.Bool().Draw(t, "answered"),
	}
	var older []model.Superseded
	for range rapid.IntRange(0, 2).Draw(t, "superseded") {
		older = append(older, model.Superseded{Publisher: anyKey(t).Publisher, Version: anyVersion(t)})
	}
	var newer *model.Publisher
	if rapid.Bool().Draw(t, "succeeded") {
		p := anyKey(t).Publisher
		newer = &p
	}
	r.Rare = model.NewSuccession(older, newer)
	if rapid.Bool().Draw(t, "settings") {
		r.Rare = &model.Rare{Supersedes: older, Successor: newer, Settings: &model.Settings{
			ProtectThreshold: rapid.Float32().Draw(t, "threshold"), Metadata: anyInstance(t).Metadata,
		}}
	}
	return replication.Entry{Record: r, Age: time.Duration(rapid.Int64Min(0).Draw(t, "age"))}
}

func anyMessage(t *rapid.T) replication.Message {
	u64 := rapid.Uint64()
	m := replication.Message{
		Kind: replication.Kind(rapid.IntRange(int(replication.KindStatus), int(replication.KindSettled)).Draw(t, "kind")),
		Seq:  u64.Draw(t, "seq"), Ack: u64.Draw(t, "ack"), Stamp: model.Stamp(u64.Draw(t, "stamp")),
		Status: replication.Status{
			State: model.MemberState(rapid.IntRange(0, 2).Draw(t, "state")), ReadsOpen: rapid.Bool().Draw(t, "open"), ViewHash: u64.Draw(t, "hash"), Connections: rapid.IntRange(0, 1<<20).Draw(t, "connections"),
			Complete: rapid.Bool().Draw(t, "complete"), Everywhere: rapid.Bool().Draw(t, "everywhere"), Protocol: uint32(rapid.IntRange(0, 9).Draw(t, "protocol")),
			Strained: rapid.Bool().Draw(t, "strained"),
		},
		Exchange: u64.Draw(t, "exchange"), Last: rapid.Bool().Draw(t, "last"),
		Entries: rapid.SliceOfN(rapid.Custom(anyEntry), 0, 3).Draw(t, "entries"),
		Shards: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) model.Shard {
			return model.Shard(rapid.IntRange(0, model.ShardCount-1).Draw(t, "shard"))
		}), 0, 3).Draw(t, "shards"),
		Want: rapid.SliceOfN(rapid.Custom(anyKey), 0, 3).Draw(t, "want"),
	}
	sums := 0
	switch m.Kind {
	case replication.KindDigest:
		sums = 1
	case replication.KindGroups:
		sums = replication.GroupCount
	case replication.KindOrigins:
		sums = len(m.Shards)
	case replication.KindCompare:
		m.Sums = slices.Repeat([]uint64{u64.Draw(t, "each sum")}, replication.CompareSums)
	case replication.KindShards:
		m.Groups = []uint16{0, replication.GroupCount - 1}
		sums = 2 * replication.GroupSize
	}
	for range sums {
		m.Sums = append(m.Sums, u64.Draw(t, "sum"))
	}
	for range rapid.IntRange(0, 2).Draw(t, "others") {
		m.Versions = append(m.Versions, replication.KeyVersion{Key: anyKey(t), Version: anyVersion(t), Deleted: true, Unclaimed: model.CauseOurs})
		m.Beats = append(m.Beats, replication.Beat{ID: u64.Draw(t, "id"), Publisher: anyKey(t).Publisher, Service: anyKey(t).Service})
		m.Answers = append(m.Answers, replication.BeatAnswer{ID: u64.Draw(t, "id"), Known: true})
		m.Questions = append(m.Questions, replication.Question{Older: anyKey(t), Newer: anyKey(t)})
	}
	return m
}

// wired is a message as it is on the wire.
func wired(t interface{ Fatal(...any) }, m replication.Message) []byte {
	data, err := newCodec(nil).Marshal(&m)
	if err != nil {
		t.Fatal(err)
	}
	defer data.Free()
	return data.Materialize()
}

// heard is what is taken in of it.
func heard(data []byte) (replication.Message, error) {
	in := incoming{texts: newInterner()}
	err := newCodec(nil).Unmarshal(mem.BufferSlice{mem.SliceBuffer(data)}, &in)
	return in.message, err
}

// What one member says is what the other hears, and what the generated code reads and writes is the same.
func TestMessageRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyMessage(t)
		data := wired(t, want)
		for range 2 {
			got, err := heard(data)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateNaNs()); d != "" {
				t.Fatalf("(-sent +received):\n%s", d)
			}
			var f pb.Frame
			if err := proto.Unmarshal(data, &f); err != nil {
				t.Fatal(err)
			}
			for _, e := range f.GetMessage().GetEntries() {
				if unknown := e.GetRecord().ProtoReflect().GetUnknown(); len(unknown) > 0 {
					t.Fatalf("fields that no record has: %x", unknown)
				}
			}
			if data, err = proto.Marshal(&f); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestSize: by a record's size messages are cut, so it never takes more than that.
func TestSize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := anyEntry(t)
		empty := replication.Message{Kind: replication.KindDelta}
		full := empty
		full.Entries = []replication.Entry{e}
		if took := len(wired(t, full)) - len(wired(t, empty)); took > e.Record.Size() {
			t.Errorf("a record of %d bytes takes %d", e.Record.Size(), took)
		}
	})
}

// TestEveryLength is about the lengths that take one byte, two or three.
func TestEveryLength(t *testing.T) {
	for n := range 300 {
		for _, size := range []int{n, 1<<14 - 200 + n} {
			r := &model.Record{Key: model.RecordKey{Service: model.ServiceKey{Name: strings.Repeat("x", size)}}}
			got, err := heard(wired(t, replication.Message{Kind: replication.KindDelta, Entries: []replication.Entry{{Record: r}, {Record: &model.Record{}}}}))
			if err != nil || len(got.Entries) != 2 || got.Entries[0].Record.Key != r.Key {
				t.Fatalf("a name of %d bytes: %v", size, err)
			}
		}
	}
}

// TestNothingIsLeftOut: a field that the codec does not know would be lost without a word.
func TestNothingIsLeftOut(t *testing.T) {
	for _, deleted := range []bool{false, true} {
		var want replication.Message
		fill(reflect.ValueOf(&want).Elem())
		want.Kind, want.Sums = replication.KindDelta, nil
		r := want.Entries[0].Record
		r.Deleted, r.Since = deleted, 0 // it travels as an age
		got, err := heard(wired(t, want))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-sent +received):\n%s", d)
		}
	}
}

// fill sets every field, and one element of every list, to something that is not its zero value and not out of range.
func fill(v reflect.Value) {
	if v.Type() == reflect.TypeFor[model.Metadata]() {
		v.Set(reflect.ValueOf(model.NewMetadata(model.Pair{Key: "k", Value: "v"})))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.String:
		v.SetString("s")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float32, reflect.Float64:
		v.SetFloat(1.5)
	default:
		if v.CanUint() {
			v.SetUint(1)
		} else {
			v.SetInt(1)
		}
	}
}

func TestHelloRoundTrip(t *testing.T) {
	want := replication.Hello{
		Protocol: 3, ClusterUID: "uid", Stamp: 1 << 60,
		Member: model.Member{
			Incarnation: 1<<64 - 1, Name: "pod-a", UID: "1234", Address: "[::1]:9849", ClientPort: 8848, Zone: "z", Version: "v1",
			State: model.StateLeaving,
		},
	}
	got, err := decodeHello(encodeHello(want).GetHello())
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Fatalf("(-sent +received), %v:\n%s", err, d)
	}
}

func TestDecodeRefuses(t *testing.T) {
	record := &pb.Record{}
	tests := map[string]*pb.Message{
		"no kind":                   {},
		"a kind that is no byte":    {Kind: 256},
		"an entry without a record": {Kind: 2, Entries: []*pb.Entry{{}}},
		"a shard too many":          {Kind: 8, Shards: []uint32{model.ShardCount}},
		"a group too many":          {Kind: 8, Groups: []uint32{replication.GroupCount}},
		"a digest without a sum":    {Kind: uint32(replication.KindDigest)},
		"groups with one sum":       {Kind: uint32(replication.KindGroups), Sums: []uint64{1}},
		"shards without their sums": {Kind: uint32(replication.KindShards), Groups: []uint32{1}},
		"sums of the records only":  {Kind: uint32(replication.KindCompare), Sums: make([]uint64, model.ShardCount)},
		"sums of no exchange":       {Kind: uint32(replication.KindSettled), Sums: []uint64{1}},
		"an unknown member state":   {Kind: 1, Status: &pb.Status{State: 3}},
		"an unknown cause":          {Kind: 2, Entries: []*pb.Entry{{Record: &pb.Record{Unclaimed: 3}}}},
		"an unknown publisher":      {Kind: 11, Beats: []*pb.Beat{{Publisher: &pb.Publisher{Kind: 4}}}},
		"port 65536":                {Kind: 2, Entries: []*pb.Entry{{Record: record}, {Record: &pb.Record{Instances: []*pb.Instance{{Port: 65536}}}}}},
	}
	for name, m := range tests {
		t.Run(name, func(t *testing.T) {
			data, err := proto.Marshal(&pb.Frame{Kind: &pb.Frame_Message{Message: m}})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := heard(data); err == nil {
				t.Errorf("decoded to %+v, want an error", got)
			}
		})
	}
	whole := wired(t, replication.Message{Kind: replication.KindDelta, Entries: []replication.Entry{{Record: &model.Record{Answered: true}}}})
	for n := 1; n < len(whole); n++ {
		if got, err := heard(whole[:n]); err == nil {
			t.Errorf("the first %d bytes of %d decoded to %+v, want an error", n, len(whole), got)
		}
	}
	for name, h := range map[string]*pb.Hello{
		"no member": {}, "no incarnation": {Member: &pb.Member{Uid: "a"}},
		"state 9": {Member: &pb.Member{Incarnation: 1, State: 9}}, "port 70000": {Member: &pb.Member{Incarnation: 1, ClientPort: 70000}},
	} {
		t.Run("hello: "+name, func(t *testing.T) {
			if got, err := decodeHello(h); err == nil {
				t.Errorf("decoded to %+v, want an error", got)
			}
		})
	}
}

// B3: whatever arrives, nothing panics, and what is taken in can be passed on.
func FuzzDecode(f *testing.F) {
	for _, m := range []replication.Message{
		{Kind: replication.KindStatus, Seq: 1, Status: replication.Status{State: model.StateComplete}},
		{Kind: replication.KindDelta, Entries: []replication.Entry{{Record: &model.Record{Instances: []model.Instance{{IP: "10.0.0.1", Port: 80}}}}}},
		{Kind: replication.KindDigest, Sums: []uint64{7}},
		{Kind: replication.KindCompare, Exchange: 1, Sums: make([]uint64, replication.CompareSums)},
		{Kind: replication.KindBeats, Beats: []replication.Beat{{ID: 1}}},
	} {
		f.Add(wired(f, m))
	}
	f.Add([]byte{0x0a, 0x02, 0x1a, 0x00})
	f.Fuzz(func(t *testing.T, data []byte) {
		var frame pb.Frame
		if proto.Unmarshal(data, &frame) == nil && frame.GetHello() != nil {
			_, _ = decodeHello(frame.GetHello())
		}
		m, err := heard(data)
		if err != nil || m.Kind == 0 {
			return
		}
		again, err := heard(wired(t, m))
		if err != nil {
			t.Fatalf("taken in, but cannot be passed on: %v", err)
		}
		if d := cmp.Diff(m, again, cmpopts.EquateEmpty(), cmpopts.EquateNaNs()); d != "" {
			t.Fatalf("changed on the way:\n%s", d)
		}
	})
}
