// Package grpc serves the Nacos gRPC protocol (port 9848): the life of a client's connection, registration, query,
// subscription and push. It translates and decides nothing: every request becomes one call of a Core, every item of a
// connection's push.Conn one message.
//
// A connection is an HTTP/2 transport: the unary calls and the stream that share a TCP connection are one client
// (nacos-protocol §3.2). The goroutine of its stream reads. A second one runs while there is something to write:
// gRPC's flow control blocks that one alone, and a write that is stuck for too long ends the transport, which says
// nothing of the client's life then.
//
// What is not served is refused as the reference does it: an unknown type of request is 302 RequestHandler Not Found,
// and the ability that would announce persistent instances is false.
//
// A panic ends a call, which is answered with 500, or a connection, whose client goes to another member: see docs/adr/0017.
package grpc
