package link

import (
	"encoding/binary"
	"log/slog"

	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
	pb "github.com/muster-registry/muster/registry/replication/peerpb"
)

// frameMessage is the field of a frame that holds a message, messageEntries the field of a message that holds a record.
const (
	frameMessage   = 3
	messageEntries = 8
	// maxLength is how many bytes a length takes at most.
	maxLength = binary.MaxVarintLen32
)

// codec is that of gRPC, but for messages. Their records, which are nearly all that members tell each other, are written
// and read without the generated types in between: those cost more than all that is done with a record. On the wire it is
// the same.
type codec struct {
	encoding.CodecV2
	// buffers come in finer sizes than those of gRPC, each of which is cleared before it is used again: beyond 32 KB that
	// were a megabyte a frame.
	buffers mem.BufferPool
	log     *slog.Logger
}

func newCodec(log *slog.Logger) codec {
	return codec{encoding.GetCodecV2(grpcproto.Name), mem.NewTieredBufferPool(1<<10, 4<<10, 16<<10, 32<<10, 64<<10, 128<<10, 256<<10, 1<<20), log}
}

// incoming is where a frame is put that is received after the handshake.
type incoming struct {
	texts   *interner
	message replication.Message
	// says: it holds a message. One that does not shows that its sender lives.
	says bool
}

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*replication.Message)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	pool := c.buffers
	buf := pool.Get(256 + 400*len(m.Entries) + 128*len(m.Versions))
	out, left, err := appendMessage((*buf)[:0], m)
	for _, r := range left {
		c.log.Error("record is too large for other members", "service", r.Key.Service.String(), "publisher", r.Key.Publisher.String(), "bytes", r.Size())
	}
	if err != nil || cap(out) != cap(*buf) { // it was too small
		pool.Put(buf)
		buf = new([]byte)
	}
	*buf = out
	return mem.BufferSlice{mem.NewBuffer(buf, pool)}, err
}

// appendMessage leaves out records that do not fit into a frame. None is so large (model.MaxRecord); it would end one stream after
// the other, and with them all that members tell each other.
func appendMessage(b []byte, m *replication.Message) (out []byte, left []*model.Record, err error) {
	w := writer(b)
	at := w.begin(frameMessage)
	rest := *m
	rest.Entries = nil
	w, err = proto.MarshalOptions{}.MarshalAppend(w, encodeMessage(rest))
	if err != nil {
		return nil, nil, err
	}
	for i := range m.Entries {
		had := len(w)
		if w.entry(messageEntries, m.Entries[i]); len(w) > maxMessage-maxLength {
			w, left = w[:had], append(left, m.Entries[i].Record)
		}
	}
	w.end(at)
	return w, left, nil
}

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	in, ok := v.(*incoming)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	buf := data.MaterializeToBuffer(c.buffers)
	defer buf.Free()
	return in.read(buf.ReadOnlyData())
}

func (in *incoming) read(b []byte) error {
	in.message, in.says = replication.Message{}, false
	d := decoder{texts: in.texts}
	for len(b) > 0 {
		var f field
		if f, b = d.next(b); f.number == frameMessage {
			in.message, in.says = d.message(f.bytes), true
		}
	}
	return d.err
}

// message reads the records one by one, and leaves the rest, which is little, to the generated code.
func (d *decoder) message(b []byte) replication.Message {
	var entries []replication.Entry
	var rest []byte
	for len(b) > 0 {
		f, after := d.next(b)
		if f.number != messageEntries {
			rest = append(rest, b[:len(b)-len(after)]...)
		} else {
			if entries == nil {
				entries = make([]replication.Entry, 0, 1+d.count(after, messageEntries))
			}
			entries = append(entries, d.entry(f.bytes))
		}
		b = after
	}
	if d.err != nil {
		return replication.Message{}
	}
	var p pb.Message
	if err := proto.Unmarshal(rest, &p); err != nil {
		d.err = err
		return replication.Message{}
	}
	m, err := decodeMessage(&p)
	if err != nil {
		d.err = err
	}
	m.Entries = entries
	return m
}
