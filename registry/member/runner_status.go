package member

import (
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/session"
)

// Status is what a member knows of itself and of the others, for people and metrics.
type Status struct {
	Self    model.Member
	Members []PeerStatus
	// Frozen: the source of membership cannot be reached.
	Frozen bool
	// Dirty: some member cannot be reached, or does not agree.
	Dirty     bool
	Ready     bool
	Reason    string // why not
	ReadsOpen bool
	// Strained: what comes in waits for long before it is looked at.
	Strained bool
	Counts   Counts
	// Sum is over all live records: equal on members that agree.
	Sum uint64
	// Applied counts the records that peers have changed here.
	Applied    int64
	Probes     ProbeCounts
	Protection session.BrakeState
}

// PeerStatus is a member of the view, itself among them. Connected and Agreed mean nothing for the member itself.
type PeerStatus struct {
	model.Member
	// Connected: there is a stream with it. Agreed: and both hold the same.
	Connected, Agreed bool
}

// Status returns it as it is now. Its parts are read one after another.
func (r *Runner) Status() Status {
	v := r.View()
	s := Status{
		Self: r.Self(), Frozen: v.Frozen, Dirty: r.Dirty(), ReadsOpen: r.ReadsOpen(), Strained: r.Strained(), Counts: r.Counts(), Sum: r.Sum(),
		Applied: r.applied.Load(), Probes: r.probes(), Protection: r.Protection(),
	}
	s.Ready, s.Reason = r.Ready()
	for _, m := range v.Members {
		s.Members = append(s.Members, PeerStatus{
			Member: m, Connected: r.engine.Connected(m.Incarnation), Agreed: r.engine.Agreed(m.Incarnation),
		})
	}
	return s
}
