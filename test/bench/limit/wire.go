package limit

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/muster-registry/muster/registry/nacos/nacospb"
)

// frame is an encoded message: one buffer for all streams.
type frame []byte

func newFrame(kind string, body []byte) frame {
	b, err := proto.Marshal(&nacospb.Payload{Metadata: &nacospb.Metadata{Type: kind}, Body: &anypb.Any{Value: body}})
	if err != nil {
		panic(err) // bytes and an ASCII name always have an encoding
	}
	return b
}

// wireCodec sends frames as they are and leaves all else to the ordinary codec.
type wireCodec struct{ encoding.CodecV2 }

func newWireCodec() wireCodec { return wireCodec{encoding.GetCodecV2(grpcproto.Name)} }

// Marshal implements encoding.CodecV2.
func (c wireCodec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(frame); ok {
		return mem.BufferSlice{mem.SliceBuffer(f)}, nil
	}
	return c.CodecV2.Marshal(v)
}

// The services are described by hand, because generated ones can only send whole messages.
var (
	requestService = grpc.ServiceDesc{
		ServiceName: nacospb.Request_ServiceDesc.ServiceName,
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "request",
			Handler: func(srv any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				var p nacospb.Payload
				if err := dec(&p); err != nil {
					return nil, err
				}
				return srv.(*Server).request(ctx, &p), nil
			},
		}},
	}
	biStreamService = grpc.ServiceDesc{
		ServiceName: nacospb.BiRequestStream_ServiceDesc.ServiceName,
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{
			StreamName:    "requestBiStream",
			Handler:       func(srv any, stream grpc.ServerStream) error { return srv.(*Server).biStream(stream) },
			ServerStreams: true,
			ClientStreams: true,
		}},
	}
)
