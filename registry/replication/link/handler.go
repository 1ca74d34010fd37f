package link

import (
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
)

// Handler is the member behind the streams. Its methods are called from many goroutines; for one peer PeerUp, then Pull
// and Receive, then PeerDown, and never two streams of one peer at a time.
type Handler interface {
	// Hello is what this member says of itself now.
	Hello() replication.Hello
	// Admit refuses whom it does not want to talk to: another cluster, an incompatible protocol, itself.
	Admit(replication.Hello) error
	// PeerUp tells that a stream with p is open. The channel rings when there is something to Pull. ok=false refuses.
	PeerUp(p model.Member) (wake <-chan struct{}, ok bool)
	// Pull returns what to send now, in order, a batch at most; nil = nothing.
	Pull(peer model.Incarnation) []replication.Message
	// Receive takes one message.
	Receive(from model.Incarnation, m replication.Message)
	// PeerDown tells that the stream is over.
	PeerDown(peer model.Incarnation)
	// Dialled tells how an attempt to connect ended.
	Dialled(address string, d replication.Dial)
}
