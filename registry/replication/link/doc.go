// Package link holds the streams between members: one bidirectional gRPC stream a pair, over mutual TLS that takes
// members only. It dials the addresses that it is given, does the handshake, carries replication.Message both ways, and
// says when a peer is there and when it is not. What the messages mean it does not know: it is handed a Handler.
//
// Both sides of a pair dial. The dialling side says ready, which it does only while it has no other stream with that
// peer; where two cross, both keep the one dialled by the smaller incarnation. A peer from which nothing comes for five
// pings is down: its process may be frozen while its kernel still answers (R4).
//
// A peer has goroutines of its own, so a slow one blocks nobody else: one sends, one reads, and one hands on what was
// read. The sender pulls: nothing is queued here but the one message that was read ahead.
package link
