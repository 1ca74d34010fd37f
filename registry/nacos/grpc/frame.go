package grpc

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of nacos.proto and of google.protobuf.Any.
const (
	fieldMetadata = 2
	fieldBody     = 3
	fieldType     = 3
	fieldValue    = 2
)

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

// wireCodec sends frames as they are and leaves all else to the ordinary codec.
type wireCodec struct{ encoding.CodecV2 }

func newWireCodec() wireCodec { return wireCodec{encoding.GetCodecV2(grpcproto.Name)} }

// Marshal implements encoding.CodecV2.
func (c wireCodec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(frame); ok {
		return mem.BufferSlice(f), nil
	}
	return nil, fmt.Errorf("%T is not a frame", v)
}
