package link

import (
	"cmp"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
)

// Records as they come, field by field: the numbers are those of peer.proto.

// field is one of a message: its number, and its value as a number or as bytes.
type field struct {
	number protowire.Number
	value  uint64
	bytes  []byte
}

// next takes the next field of a message. One of a type that no field of ours has is 0.
func (d *decoder) next(b []byte) (f field, rest []byte) {
	number, kind, n := protowire.ConsumeTag(b)
	if n >= 0 {
		b = b[n:]
		f.number = number
		switch kind {
		case protowire.VarintType:
			f.value, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			f.value, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(b)
		default:
			f.number, n = 0, protowire.ConsumeFieldValue(number, kind, b)
		}
	}
	if n < 0 {
		d.fail("a message is cut off or none: %w", protowire.ParseError(n))
		return field{}, nil
	}
	return f, b[n:]
}

// count is how many fields of that number are to come: a list is made once, and no longer than it is.
func (d *decoder) count(b []byte, number protowire.Number) int {
	n := 0
	for len(b) > 0 {
		var f field
		if f, b = d.next(b); f.number == number {
			n++
		}
	}
	return n
}

func (d *decoder) entry(b []byte) (e replication.Entry) {
	for len(b) > 0 {
		var f field
		switch f, b = d.next(b); f.number {
		case 1:
			e.Record = d.record(f.bytes)
		case 2:
			e.Age = max(time.Duration(f.value), 0)
		}
	}
	if e.Record == nil {
		d.fail("an entry has no record")
	}
	return e
}

func (d *decoder) record(b []byte) *model.Record {
	r := &model.Record{}
	var supersedes []model.Superseded
	var successor *model.Publisher
	var settings *model.Settings
	for len(b) > 0 {
		var f field
		switch f, b = d.next(b); f.number {
		case 1:
			r.Key = d.rawKey(f.bytes)
		case 2:
			r.Version = d.version(f.bytes)
		case 3:
			r.Deleted = f.value != 0
		case 4:
			if r.Instances == nil {
				r.Instances = make([]model.Instance, 0, 1+d.count(b, 4))
			}
			r.Instances = append(r.Instances, d.instance(f.bytes))
		case 5:
			r.Client = d.texts.client(f.bytes, d.client)
		case 6:
			supersedes = append(supersedes, d.superseded(f.bytes))
		case 7:
			r.Unclaimed = d.cause(uint32(f.value))
		case 8:
			r.Answered = f.value != 0
		case 9:
			p := d.rawPublisher(f.bytes)
			successor = &p
		case 10:
			settings = d.settings(f.bytes)
		}
	}
	r.Rare = model.NewSuccession(supersedes, successor)
	if settings != nil {
		r.Rare = &model.Rare{Supersedes: supersedes, Successor: successor, Settings: settings}
	}
	return r
}

func (d *decoder) settings(b []byte) *model.Settings {
	s := &model.Settings{}
	var pairs []model.Pair
	for len(b) > 0 {
		var f field
		switch f, b = d.next(b); f.number {
		case 1:
			s.ProtectThreshold = float32(math.Float64frombits(f.value))
		case 2:
			pairs = append(pairs, d.pair(f.bytes))
		}
	}
	s.Metadata = model.NewMetadata(pairs...)
	return s
}

func (d *decoder) rawKey(b []byte) (k model.RecordKey) {
	for len(b) > 0 {
		var f field
		switch f, b = d.next(b); f.number {
		case 1:
			k.Publisher = d.rawPublisher(f.bytes)
		case 2:
			k.Service = d.service(f.bytes)
		}
	}
	return k
}

func (d *decoder) rawPublisher(b []byte) (p model.Publisher) {
	for len(b) > 0 {
		var f field
		switch f, b = d.next(b); f.number {
		case 1:
			p.Kind = d.publisherKind(uint32(f.value))
		case 2:
			p.Member = model.Incarnation(f.value)
		case 3:
			p.ID = d.texts.get(f.bytes)
		}
	}
	return p
}

func (d *decoder) service(b []byte) (k model.ServiceKey) {
	for len(b) > 0 {
		var f field
		switch f, b = d.next(b); f.number {
		case 1:
			k.Namespace = d.texts.get(f.bytes)
		case 2:
			k.Group = d.texts.get(f.bytes)
		case 3:
			k.Name = d.texts.get(f.bytes)
		}
	}
	return k
}

func (d *decoder) version(b []byte) (v model.Version) {
	for len(b) > 0 {
		var f field
		switch f, b = d.next(b); f.number {
		case 1:
			v.Stamp = model.Stamp(f.value)
		case 2:
			v.Origin = model.Incarnation(f.value)
		case 3:
			v.Said = model.Stamp(f.value)
		}
	}
	v.Said = cmp.Or(v.Said, v.Stamp)
	return v
}

func (d *decoder) client(b []byte) (c model.Client) {
	for len(b) > 0 {
		var f field
		switch f, b = d.next(b); f.number {
		case 1:
			c.IP = d.texts.get(f.bytes)
		case 2:
			c.Agent = d.texts.get(f.bytes)
		case 3:
			c.App = d.texts.get(f.bytes)
		}
	}
	return c
}

func (d *decoder) superseded(b []byte) (s model.Superseded) {
	for len(b) > 0 {
		var f field
		switch f, b = d.next(b); f.number {
		case 1:
			s.Publisher = d.rawPublisher(f.bytes)
		case 2:
			s.Version = d.version(f.bytes)
		}
	}
	return s
}

func (d *decoder) instance(b []byte) (in model.Instance) {
	var few [8]model.Pair
	pairs := few[:0]
	for len(b) > 0 {
		var f field
		switch f, b = d.next(b); f.number {
		case 1:
			in.IP = string(f.bytes)
		case 2:
			in.Port = int32(d.below("port", uint32(f.value), math.MaxUint16+1))
		case 3:
			in.Cluster = d.texts.get(f.bytes)
		case 4:
			in.ID = string(f.bytes)
		case 5:
			in.Weight = math.Float64frombits(f.value)
		case 6:
			in.Healthy = f.value != 0
		case 7:
			in.Enabled = f.value != 0
		case 8:
			pairs = append(pairs, d.pair(f.bytes))
		}
	}
	in.Metadata = model.NewMetadata(pairs...)
	return in
}

func (d *decoder) pair(b []byte) (p model.Pair) {
	for len(b) > 0 {
		var f field
		switch f, b = d.next(b); f.number {
		case 1:
			p.Key = d.texts.get(f.bytes)
		case 2:
			p.Value = d.texts.get(f.bytes)
		}
	}
	return p
}
