package model

import (
	"fmt"
	"slices"
	"strconv"
)

// Incarnation is a member's identity: random, new at every start, never a host name or an ordinal. 0 = nobody.
type Incarnation uint64

// String is 16 hexadecimal digits.
func (i Incarnation) String() string { return fmt.Sprintf("%016x", uint64(i)) }

// MarshalText makes it the same in JSON, where a number of 64 bits would be rounded.
func (i Incarnation) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// ParseIncarnation reads what String writes.
func ParseIncarnation(s string) (Incarnation, error) {
	v, err := strconv.ParseUint(s, 16, 64)
	if err != nil || len(s) != 16 || v == 0 {
		return 0, fmt.Errorf("incarnation %q is not 16 hexadecimal digits", s)
	}
	return Incarnation(v), nil
}

// MemberState is how far a member is in its life.
type MemberState uint8

// States of a member. Only a complete one answers for the whole; a leaving one is left out of rings.
const (
	StateStarting MemberState = iota
	StateComplete
	StateLeaving
)

// String is the word used in Leases, status and logs.
func (s MemberState) String() string {
	switch s {
	case StateComplete:
		return "complete"
	case StateLeaving:
		return "leaving"
	default:
		return "starting"
	}
}

// ParseMemberState reads what String writes.
func ParseMemberState(s string) (MemberState, error) {
	for _, st := range []MemberState{StateStarting, StateComplete, StateLeaving} {
		if st.String() == s {
			return st, nil
		}
	}
	return 0, fmt.Errorf("member state %q is not one of starting, complete, leaving", s)
}

// Member is one registry process as others see it.
type Member struct {
	Incarnation Incarnation
	// Name is for people: the pod's name, or the address.
	Name string
	// UID is the pod's UID, or the address outside Kubernetes: what stays over a restart of the process.
	UID string
	// Address is host:port of the peer port.
	Address string
	// ClientPort is the HTTP port; the gRPC port is 1000 more.
	ClientPort int
	Zone       string
	Version    string
	State      MemberState
}

// View is the set of live members as one member sees it. Immutable.
type View struct {
	// Self is the owner of the view; it is always one of Members.
	Self Incarnation
	// Members are sorted by incarnation.
	Members []Member
	// Frozen says that the source of membership cannot be reached: nobody is added or removed.
	Frozen bool
}

// NewView sorts and copies the members.
func NewView(self Incarnation, members []Member, frozen bool) *View {
	ms := slices.Clone(members)
	slices.SortFunc(ms, func(a, b Member) int {
		switch {
		case a.Incarnation < b.Incarnation:
			return -1
		case a.Incarnation > b.Incarnation:
			return 1
		}
		return 0
	})
	return &View{Self: self, Members: ms, Frozen: frozen}
}

// Find returns the member of that incarnation.
func (v *View) Find(i Incarnation) (Member, bool) {
	n, ok := slices.BinarySearchFunc(v.Members, i, func(m Member, i Incarnation) int {
		switch {
		case m.Incarnation < i:
			return -1
		case m.Incarnation > i:
			return 1
		}
		return 0
	})
	if !ok {
		return Member{}, false
	}
	return v.Members[n], true
}

// Has reports whether the incarnation is a live member.
func (v *View) Has(i Incarnation) bool { _, ok := v.Find(i); return ok }

// Equal reports whether both views say the same.
func (v *View) Equal(o *View) bool {
	return v.Self == o.Self && v.Frozen == o.Frozen && slices.Equal(v.Members, o.Members)
}
