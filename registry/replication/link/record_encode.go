package link

import (
	"encoding/binary"
	"math"

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
