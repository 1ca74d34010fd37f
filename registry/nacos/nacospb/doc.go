// Package nacospb holds the generated wire types of the Nacos gRPC protocol. nacos/grpc serves them; tests call them.
// The JSON inside the payloads is not here: see nacos/codec and nacos/grpc.
package nacospb
