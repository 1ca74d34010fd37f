package grpc

import (
	"errors"
	"fmt"
	"unicode/utf8"

	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of nacos.proto and of google.protobuf.Any.
const (
	fieldMetadata = 2
	fieldBody     = 3
	fieldType     = 3
	fieldClientIP = 8
	fieldValue    = 2
)

// payload is a Payload that was received: what is needed of it, read without a copy. Its body holds until free.
type payload struct {
	kind, clientIP string
	body           []byte
	buffer         mem.Buffer
}

func (p *payload) free() {
	if p.buffer != nil {
		p.buffer.Free()
		p.buffer, p.body = nil, nil
	}
}

var errWire = errors.New("not a payload")

// read takes in the wire form. As with generated code, of what is there twice the last one counts.
func (p *payload) read(b []byte) error {
	return fields(b, func(number protowire.Number, value []byte) error {
		switch number {
		case fieldMetadata:
			return fields(value, p.metadata)
		case fieldBody:
			return fields(value, func(number protowire.Number, value []byte) error {
				if number == fieldValue {
					p.body = value
				}
				return nil
			})
		}
		return nil
	})
}

func (p *payload) metadata(number protowire.Number, value []byte) error {
	switch {
	case number != fieldType && number != fieldClientIP:
		return nil
	case !utf8.Valid(value):
		return errWire
	case number == fieldClientIP:
		p.clientIP = string(value)
		return nil
	}
	if h, ok := handlers[string(value)]; ok { // no copy of a name that is known
		p.kind = h.kind
		return nil
	}
	p.kind = string(value)
	return nil
}

// fields walks over the fields of a message that have a length, and steps over all others.
func fields(b []byte, field func(number protowire.Number, value []byte) error) error {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errWire
		}
		b = b[n:]
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
				return errWire
			}
			b = b[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return errWire
		}
		if err := field(number, value); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// frame is a Payload to be sent, in parts. The parts may be shared: the list of a service is encoded once and is part
// of the frames of all its readers, which are never copied into one piece.
type frame mem.BufferSlice

// newFrame makes the Payload of a message from the parts of its JSON.
func newFrame(kind string, parts ...[]byte) frame {
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	metadata := protowire.SizeTag(fieldType) + protowire.SizeBytes(len(kind))
	value := protowire.SizeTag(fieldValue) + protowire.SizeBytes(size)

	head := make([]byte, 0, metadata+value-size+2*(1+protowire.SizeVarint(uint64(value)))+len(parts[0]))
	head = protowire.AppendTag(head, fieldMetadata, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(metadata))
	head = protowire.AppendTag(head, fieldType, protowire.BytesType)
	head = protowire.AppendString(head, kind)
	head = protowire.AppendTag(head, fieldBody, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(value))
	head = protowire.AppendTag(head, fieldValue, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(size))
	head = append(head, parts[0]...)

	f := make(frame, 0, len(parts))
	f = append(f, mem.SliceBuffer(head))
	for _, p := range parts[1:] {
		f = append(f, mem.SliceBuffer(p))
	}
	return f
}

// wireCodec sends frames and receives payloads. Both are Payloads on the wire.
type wireCodec struct{}

// Name implements encoding.CodecV2.
func (wireCodec) Name() string { return grpcproto.Name }

// Unmarshal implements encoding.CodecV2.
func (wireCodec) Unmarshal(data mem.BufferSlice, v any) error {
	p, ok := v.(*payload)
	if !ok {
		return fmt.Errorf("%T is not a payload", v)
	}
	p.free()
	*p = payload{buffer: data.MaterializeToBuffer(mem.DefaultBufferPool())}
	if err := p.read(p.buffer.ReadOnlyData()); err != nil {
		p.free()
		return err
	}
	return nil
}

// Marshal implements encoding.CodecV2.
func (wireCodec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(frame); ok {
		return mem.BufferSlice(f), nil
	}
	return nil, fmt.Errorf("%T is not a frame", v)
}
