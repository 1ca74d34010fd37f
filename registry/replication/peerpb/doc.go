// Package peerpb is the wire format of the peer port, generated from peer.proto. Only replication/link uses it.
package peerpb
