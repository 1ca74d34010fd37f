package membership

import "time"

// Policy is what differs between sources in the rules of Tracker.
type Policy struct {
	// Alone: there are no peers, and never will be.
	Alone bool
	// Linger is how long a stream that ended still counts as live: a reconnect takes up to two seconds, and a short cut
	// is no reason to declare a member gone whose Lease has trouble at the same time.
	Linger time.Duration
	// RefusedFor is how long an address refuses connections until its member is gone. 0 = a refusal says nothing.
	RefusedFor time.Duration
}

const (
	defaultLinger = 3 * time.Second
	// refusedGap is the longest time between two refusals that still count as one row: a member that was paused itself
	// has seen nothing in between (R4).
	refusedGap = 5 * time.Second
)

// PolicyLease is for Leases: listed means alive, and only age, a release or a deletion removes.
func PolicyLease() Policy { return Policy{Linger: defaultLinger} }

// PolicyEndpointSlice is for EndpointSlices: gone = delisted, or not serving, with no live stream.
func PolicyEndpointSlice() Policy { return Policy{Linger: defaultLinger} }

// PolicyFile is for a list of addresses: nobody is a witness there but the address itself, by refusing connections. One
// that is silent is unreachable, and stays.
func PolicyFile() Policy { return Policy{Linger: defaultLinger, RefusedFor: 10 * time.Second} }

// PolicyStandalone is for a member without peers.
func PolicyStandalone() Policy { return Policy{Alone: true} }
