// Package codec holds the JSON of the Nacos protocols: the exact shapes that gRPC and HTTP (and later UDP) share, the
// lenient way in which Nacos reads what clients send, and the parameter check that guards every protocol. The adapters
// in nacos/grpc and nacos/http call it; it knows no connection, no catalog and no route.
package codec
