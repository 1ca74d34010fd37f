package link

import (
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
)

// Records as they are on the wire. The numbers are those of peer.proto, which says what the generated code would write.

// writer is a message of protobuf, as far as it is written. What is zero is left out.
type writer []byte

// tag begins a field. All numbers are below 16: it is one byte.
func (w *writer) tag(n protowire.Number, t protowire.Type) { *w = append(*w, byte(n)<<3|byte(t)) }

func (w *writer) number(n protowire.Number, v uint64) {
	if v != 0 {
		w.tag(n, protowire.VarintType)
		*w = protowire.AppendVarint(*w, v)
	}
}

func (w *writer) flag(n protowire.Number, v bool) { w.number(n, protowire.EncodeBool(v)) }

func (w *writer) fixed(n protowire.Number, v uint64) {
	if v != 0 {
		w.tag(n, protowire.Fixed64Type)
		*w = binary.LittleEndian.AppendUint64(*w, v)
	}
}

func (w *writer) text(n protowire.Number, s string) {
	if s != "" {
		w.tag(n, protowire.BytesType)
		*w = append(binary.AppendUvarint(*w, uint64(len(s))), s...)
	}
}

// begin starts a message in the message; end, with what begin returned, ends it.
func (w *writer) begin(n protowire.Number) int {
	w.tag(n, protowire.BytesType)
	*w = append(*w, 0)
	return len(*w)
}

// end writes the length where there is room for a short one; longer ones move what is behind them.
func (w *writer) end(at int) {
	n := len(*w) - at
	if n < 1<<7 {
		(*w)[at-1] = byte(n)
		return
	}
	more := protowire.SizeVarint(uint64(n)) - 1
	for range more {
		*w = append(*w, 0)
	}
	copy((*w)[at+more:], (*w)[at:at+n])
	protowire.AppendVarint((*w)[:at-1], uint64(n))
}

func (w *writer) entry(n protowire.Number, e replication.Entry) {
	at := w.begin(n)
	w.record(1, e.Record)
	w.number(2, uint64(max(e.Age, 0)))
	w.end(at)
}

func (w *writer) record(n protowire.Number, r *model.Record) {
	at := w.begin(n)
	key := w.begin(1)
	w.publisher(1, r.Key.Publisher)
	w.service(2, r.Key.Service)
	w.end(key)
	w.version(2, r.Version)
	w.flag(3, r.Deleted)
	for i := range r.Instances {
		w.instance(4, &r.Instances[i])
	}
	if r.Client != nil {
		client := w.begin(5)
		w.text(1, r.Client.IP)
		w.text(2, r.Client.Agent)
		w.text(3, r.Client.App)
		w.end(client)
	}
	for _, s := range r.Supersedes() {
		superseded := w.begin(6)
		w.publisher(1, s.Publisher)
		w.version(2, s.Version)
		w.end(superseded)
	}
	w.number(7, uint64(r.Unclaimed))
	w.flag(8, r.Answered)
	if p := r.Successor(); p != nil {
		w.publisher(9, *p)
	}
	if s := r.Settings(); s != nil {
		settings := w.begin(10)
		w.fixed(1, math.Float64bits(float64(s.ProtectThreshold)))
		w.metadata(2, s.Metadata)
		w.end(settings)
	}
	w.end(at)
}

func (w *writer) publisher(n protowire.Number, p model.Publisher) {
	at := w.begin(n)
	w.number(1, uint64(p.Kind))
	w.fixed(2, uint64(p.Member))
	w.text(3, p.ID)
	w.end(at)
}

func (w *writer) service(n protowire.Number, k model.ServiceKey) {
	at := w.begin(n)
	w.text(1, k.Namespace)
	w.text(2, k.Group)
	w.text(3, k.Name)
	w.end(at)
}

func (w *writer) version(n protowire.Number, v model.Version) {
	at := w.begin(n)
	w.fixed(1, uint64(v.Stamp))
	w.fixed(2, uint64(v.Origin))
	if v.Said != v.Stamp { // most are what was said last
		w.fixed(3, uint64(v.Said))
	}
	w.end(at)
}

func (w *writer) instance(n protowire.Number, in *model.Instance) {
	at := w.begin(n)
	w.text(1, in.IP)
	w.number(2, uint64(uint32(in.Port)))
	w.text(3, in.Cluster)
	w.text(4, in.ID)
	w.fixed(5, math.Float64bits(in.Weight))
	w.flag(6, in.Healthy)
	w.flag(7, in.Enabled)
	w.metadata(8, in.Metadata)
	w.end(at)
}

func (w *writer) metadata(n protowire.Number, m model.Metadata) {
	for k, v := range m.All() {
		pair := w.begin(n)
		w.text(1, k)
		w.text(2, v)
		w.end(pair)
	}
}

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
			r.Key = d.recordKey(f.bytes)
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
			r.Client = d.words.client(f.bytes, d.client)
		case 6:
			supersedes = append(supersedes, d.superseded(f.bytes))
		case 7:
			r.Unclaimed = d.cause(uint32(f.value))
		case 8:
			r.Answered = f.value != 0
		case 9:
			p := d.author(f.bytes)
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

func (d *decoder) recordKey(b []byte) (k model.RecordKey) {
	for len(b) > 0 {
		var f field
		switch f, b = d.next(b); f.number {
		case 1:
			k.Publisher = d.author(f.bytes)
		case 2:
			k.Service = d.service(f.bytes)
		}
	}
	return k
}

func (d *decoder) author(b []byte) (p model.Publisher) {
	for len(b) > 0 {
		var f field
		switch f, b = d.next(b); f.number {
		case 1:
			p.Kind = d.publisherKind(uint32(f.value))
		case 2:
			p.Member = model.Incarnation(f.value)
		case 3:
			p.ID = d.words.get(f.bytes)
		}
	}
	return p
}

func (d *decoder) service(b []byte) (k model.ServiceKey) {
	for len(b) > 0 {
		var f field
		switch f, b = d.next(b); f.number {
		case 1:
			k.Namespace = d.words.get(f.bytes)
		case 2:
			k.Group = d.words.get(f.bytes)
		case 3:
			k.Name = d.words.get(f.bytes)
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
			c.IP = d.words.get(f.bytes)
		case 2:
			c.Agent = d.words.get(f.bytes)
		case 3:
			c.App = d.words.get(f.bytes)
		}
	}
	return c
}

func (d *decoder) superseded(b []byte) (s model.Superseded) {
	for len(b) > 0 {
		var f field
		switch f, b = d.next(b); f.number {
		case 1:
			s.Publisher = d.author(f.bytes)
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
			in.Cluster = d.words.get(f.bytes)
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
			p.Key = d.words.get(f.bytes)
		case 2:
			p.Value = d.words.get(f.bytes)
		}
	}
	return p
}

// words keeps some of the texts that came last: names of groups and clusters, clients and keys of metadata come again with
// every record. It is as large as it is; a new text takes the place of another one.
type words struct {
	seed  maphash.Seed
	slots [1024]string
	// clients are those that came last, and as what.
	clients [256]struct {
		bytes  string
		client *model.Client
	}
}

// client keeps descriptions likewise, which all records of a connection share.
func (w *words) client(b []byte, decode func([]byte) model.Client) *model.Client {
	slot := &w.clients[maphash.Bytes(w.seed, b)%uint64(len(w.clients))]
	if slot.client == nil || slot.bytes != string(b) {
		c := decode(b)
		slot.bytes, slot.client = string(b), &c
	}
	return slot.client
}

// longestWord: longer texts seldom come twice.
const longestWord = 64

func newWords() *words { return &words{seed: maphash.MakeSeed()} }

func (w *words) get(b []byte) string {
	if len(b) == 0 || len(b) > longestWord {
		return string(b)
	}
	slot := &w.slots[maphash.Bytes(w.seed, b)%uint64(len(w.slots))]
	if *slot != string(b) {
		*slot = string(b)
	}
	return *slot
}
