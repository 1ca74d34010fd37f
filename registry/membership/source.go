package membership

import (
	"context"
	"slices"

	"github.com/muster-registry/muster/registry/model"
)

// Entry is one member as a source lists it.
type Entry struct {
	// Member as far as the source knows it. Incarnation 0 = unknown: such an entry enters the view by the handshake only.
	model.Member
	// Alive: the source vouches for it now (a Lease that is renewed, an endpoint that serves, a line in the file).
	Alive bool
	// Left: this incarnation has said itself that it is gone (a released Lease). No stream vetoes that.
	Left bool
}

// Listing is all that a source knows at one moment.
type Listing struct {
	Entries []Entry
	// Reachable: the source could be read. False freezes the view.
	Reachable bool
	// Reader is the incarnation of the reader whose own renewal came back with this. A listing that was made for a former
	// one may be old: clocks may have stood still since (R4). 0: the source cannot tell.
	Reader model.Incarnation
	// Renewal is the reader's own renewal that came back with this. It rises: a listing with a higher one was made later.
	// 0: the source cannot tell.
	Renewal int64
}

// Same reports whether two listings say the same.
func (l Listing) Same(o Listing) bool {
	return l.Reachable == o.Reachable && l.Reader == o.Reader && l.Renewal == o.Renewal && slices.Equal(l.Entries, o.Entries)
}

// Source is a way in which members find each other.
type Source interface {
	// Run joins and watches until ctx ends, and calls sink at every change, never twice at a time. An error means that
	// it cannot start, and is one line that says what is wrong and how to mend it.
	Run(ctx context.Context, sink func(Listing)) error
	// Announce tells the others what they shall see of this member: its state, whether it has a dirty peer, and its
	// incarnation, which may change while it runs. It may be called before Run.
	Announce(ctx context.Context, self model.Member, dirty bool) error
	// Leave tells the others that this member is gone.
	Leave(ctx context.Context) error
}
