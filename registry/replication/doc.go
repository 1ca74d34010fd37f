// Package replication is the protocol between members: deltas, anti-entropy, offer and merge. The engine commits
// records to the catalog, queues what each peer has to hear, and takes in what peers say. It has no goroutine, no clock
// and no socket: whoever holds the streams (link, or the simulation) pulls messages out and pushes messages in.
//
// It knows no Nacos. DESIGN.md tells the protocol.
package replication
