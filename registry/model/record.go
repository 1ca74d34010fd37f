package model

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
)

// PublisherKind says how a publisher shows that it lives.
type PublisherKind uint8

// Kinds of publisher.
const (
	// KindConnection is a gRPC connection: its origin is the member that holds it.
	KindConnection PublisherKind = iota
	// KindBeat is an HTTP client that sends beats: its origin is the member that is responsible for it.
	KindBeat
	// KindOverride is an administrator's change of weight, enabled and metadata of one instance (HTTP PUT): it vouches
	// for nothing, lies over what others publish and ends a minute after the last of them.
	KindOverride
	// KindSettings is an administrator's word on a service itself (HTTP PUT /service). It vouches for nothing and ends a minute after
	// the last instance of the service.
	KindSettings
)

// Administers reports whether it is an administrator: it has no instances of its own, and does not have to show that it lives.
func (k PublisherKind) Administers() bool { return k == KindOverride || k == KindSettings }

// Publisher is who registers instances. Comparable.
type Publisher struct {
	Kind PublisherKind
	// Member is the incarnation that accepted a connection: it makes the id unique among members. 0 for other kinds.
	Member Incarnation
	// ID is the connection id; or ip:port of a client that beats; or ip:port:cluster of an override; empty for settings.
	ID string
}

// Hash is the same on every member and in every version.
func (p Publisher) Hash() uint64 {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.Write([]byte{byte(p.Kind)})
	writeUint64(&d, uint64(p.Member))
	writeStrings(&d, p.ID)
	return d.Sum64()
}

// String is for logs.
func (p Publisher) String() string {
	switch p.Kind {
	case KindConnection:
		return "connection " + p.ID + "@" + p.Member.String()
	case KindBeat:
		return "beats " + p.ID
	case KindSettings:
		return "settings"
	default:
		return "override " + p.ID
	}
}

// Compare orders publishers by kind, member and id.
func (p Publisher) Compare(o Publisher) int {
	if p.Kind != o.Kind {
		return int(p.Kind) - int(o.Kind)
	}
	if p.Member != o.Member {
		if p.Member < o.Member {
			return -1
		}
		return 1
	}
	return strings.Compare(p.ID, o.ID)
}

// RecordKey names a record: what one publisher says of one service.
type RecordKey struct {
	Publisher Publisher
	Service   ServiceKey
}

// Compare orders keys by service, then by publisher.
func (k RecordKey) Compare(o RecordKey) int {
	if c := k.Service.Compare(o.Service); c != 0 {
		return c
	}
	return k.Publisher.Compare(o.Publisher)
}

// Version orders the versions of a record, and tombstones with them: by when the publisher said what is in it, then by
// when somebody vouched for that last, then by who. Higher wins, everywhere. A member that vouches for what it knows, since
// the publisher's beats come there, never covers what the publisher has said elsewhere since (P1, P2).
type Version struct {
	// Said is the hybrid logical clock when the publisher registered, changed or withdrew it.
	Said Stamp
	// Stamp is the same clock when the version was made: not before Said.
	Stamp  Stamp
	Origin Incarnation
}

// Compare is negative when v is older than o.
func (v Version) Compare(o Version) int {
	return cmp.Or(cmp.Compare(v.Said, o.Said), cmp.Compare(v.Stamp, o.Stamp), cmp.Compare(v.Origin, o.Origin))
}

// Again is a later version of what was said in v.
func (v Version) Again(stamp Stamp, origin Incarnation) Version {
	return Version{Said: v.Said, Stamp: stamp, Origin: origin}
}

// Cause says whose trouble it is that nobody vouches for a record. Ours is the more lenient one.
type Cause uint8

// Causes, in rising leniency.
const (
	// Vouched: the origin stands for the record.
	Vouched Cause = iota
	// CausePublisher: its connection was lost, or its beats stopped, while its member was well.
	CausePublisher
	// CauseOurs: its member is gone, was cut off, closed the connection itself or handed responsibility over.
	CauseOurs
)

// Client is how a publisher describes itself: two connections with the same description and an instance in common
// are taken for one publisher seen twice.
type Client struct {
	IP    string // self-reported
	Agent string // clientVersion or User-Agent
	App   string
}

// MaxClientText bounds, in bytes, what is kept of a text that clients may make as long as they like: every record of a client has
// those of its Client, and carries them between members.
const MaxClientText = 256

// ClipClientText returns a copy of a text, cut at the end of a character. It holds nothing of a longer one.
func ClipClientText(s string) string {
	if len(s) > MaxClientText {
		s = s[:MaxClientText]
	}
	return strings.Clone(strings.ToValidUTF8(s, ""))
}

// Superseded names a record that its publisher replaced by registering again elsewhere.
type Superseded struct {
	Publisher Publisher
	Version   Version
}

// Record is what one publisher says of one service: the unit of replication. A record is a value that is never changed
// once it was handed over; With... methods copy. There are millions: what few have, or many share, is behind a pointer.
type Record struct {
	Key       RecordKey
	Version   Version
	Instances []Instance
	// Client is shared by the records of a connection; nil: the publisher says nothing of itself.
	Client *Client
	// Rare is nil for most.
	Rare *Rare

	// Unclaimed and Answered are knowledge beside the version: they only ever grow at one version, so that members that
	// learn them in any order agree.

	// Since is when nobody vouched for the record any more, on the holder's own Time.Mono; it travels as an age, so that
	// no clock can age a record.
	Since time.Duration
	// Unclaimed is why nobody does.
	Unclaimed Cause
	// Answered: one of its ports has accepted a probe at least once.
	Answered bool
	// Deleted marks a tombstone. It has no instances, and keeps Supersedes: a later deregistration cannot bring a ghost
	// back (P9).
	Deleted bool
}

// Rare is what few records have: what ties one to others of its publisher, or what it says of a service. It is never changed.
type Rare struct {
	Supersedes []Superseded
	// Successor is set on the tombstone of a superseded record: its publisher's newer one. The tombstone never travels
	// ahead of that: it would leave a gap.
	Successor *Publisher
	// Settings are those of a record of KindSettings.
	Settings *Settings
}

// NewSuccession ties a record to others; nil where there is nothing to say.
func NewSuccession(supersedes []Superseded, successor *Publisher) *Rare {
	if len(supersedes) == 0 && successor == nil {
		return nil
	}
	return &Rare{Supersedes: supersedes, Successor: successor}
}

// Supersedes are the records that the publisher left behind.
func (r *Record) Supersedes() []Superseded {
	if r.Rare == nil {
		return nil
	}
	return r.Rare.Supersedes
}

// Successor is the record by which this one was superseded, nil for none.
func (r *Record) Successor() *Publisher {
	if r.Rare == nil {
		return nil
	}
	return r.Rare.Successor
}

// Settings are what the record says of its service, nil for nothing.
func (r *Record) Settings() *Settings {
	if r == nil || r.Rare == nil {
		return nil
	}
	return r.Rare.Settings
}

// Shows is how many instances the record adds to its service: none when it is gone, or an administrator's.
func (r *Record) Shows() int {
	if r == nil || r.Deleted || r.Key.Publisher.Kind.Administers() {
		return 0
	}
	return len(r.Instances)
}

// MaxInstances and MaxRecord, in bytes as Size counts them, bound what one publisher may say of one service. A record travels in
// one piece: what other members cannot take in as one message would be held by one member for ever. While it travels nothing else
// is heard of its sender, so a slow network must carry it within the five seconds after which that is down.
const (
	MaxInstances = 50_000
	MaxRecord    = 8 << 20
)

// Size is about how many bytes the record takes on its way to another member, and never less than that.
func (r *Record) Size() int {
	k := &r.Key
	size := 200 + len(k.Publisher.ID) + len(k.Service.Namespace) + len(k.Service.Group) + len(k.Service.Name)
	for i := range r.Instances {
		size += r.Instances[i].Size()
	}
	if c := r.Client; c != nil {
		size += len(c.IP) + len(c.Agent) + len(c.App)
	}
	if r.Rare == nil {
		return size
	}
	for i := range r.Rare.Supersedes {
		size += 64 + len(r.Rare.Supersedes[i].Publisher.ID)
	}
	if p := r.Rare.Successor; p != nil {
		size += 64 + len(p.ID)
	}
	if s := r.Rare.Settings; s != nil {
		size += 64 + 2*s.Metadata.Size()
	}
	return size
}

// Names are those of the service.
func (r *Record) Names() ServiceKey { return r.Key.Service }

// By is how the publisher describes itself.
func (r *Record) By() Client {
	if r.Client == nil {
		return Client{}
	}
	return *r.Client
}

// Merge returns the one that wins where two members hold a and b for the same key, and whether that differs from a.
//
// Merge is idempotent, commutative and associative: the higher version wins; of one version the tombstone wins; of two
// live records of one version the knowledge beside it is joined: the more lenient cause, the later time, answered once.
// nil is the neutral element: absence deletes nothing. Of two tombstones of one version, which kill the same, a stays with
// what it says of its maker.
func Merge(a, b *Record) (winner *Record, changed bool) {
	switch {
	case b == nil:
		return a, false
	case a == nil:
		return b, true
	}
	if c := a.Version.Compare(b.Version); c != 0 {
		if c < 0 {
			return b, true
		}
		return a, false
	}
	if a.Deleted || b.Deleted {
		if a.Deleted {
			return a, false
		}
		return b, true
	}
	j := *a
	j.Unclaimed = max(a.Unclaimed, b.Unclaimed)
	j.Since = joinSince(a, b)
	j.Answered = a.Answered || b.Answered
	if j.Unclaimed == a.Unclaimed && j.Since == a.Since && j.Answered == a.Answered {
		return a, false
	}
	return &j, true
}

// joinSince is the later time of those that are unclaimed at all.
func joinSince(a, b *Record) time.Duration {
	switch {
	case a.Unclaimed == Vouched:
		return b.Since
	case b.Unclaimed == Vouched:
		return a.Since
	}
	return max(a.Since, b.Since)
}

// WithUnclaimed marks the record, at its version, as vouched for by nobody since now.
func (r *Record) WithUnclaimed(cause Cause, since time.Duration) *Record {
	c := *r
	c.Unclaimed, c.Since = cause, since
	return &c
}

// WithAnswered notes that one of its ports has accepted a probe.
func (r *Record) WithAnswered() *Record {
	c := *r
	c.Answered = true
	return &c
}

// Restamped is the record vouched for again: its content is as old as it was.
func (r *Record) Restamped(stamp Stamp, origin Incarnation) *Record {
	c := *r
	c.Version, c.Unclaimed, c.Since = r.Version.Again(stamp, origin), Vouched, 0
	return &c
}

// Tombstone removes exactly this version (made by anyone but the origin), or everything that was made before it: with a
// later version of what was said (made by the origin), or as something that is said now (on the publisher's own order).
func (r *Record) Tombstone(v Version) *Record {
	return &Record{Key: r.Key, Version: v, Deleted: true, Client: r.Client, Rare: NewSuccession(r.Supersedes(), nil)}
}

// SameContent reports whether a client could tell the two apart by their instances.
func (r *Record) SameContent(instances []Instance) bool {
	return !r.Deleted && slices.EqualFunc(r.Instances, instances, Instance.Equal)
}

// Overlaps reports whether both publish one instance key at least.
func (r *Record) Overlaps(instances []Instance) bool {
	for i := range r.Instances {
		for j := range instances {
			if r.Instances[i].Key() == instances[j].Key() {
				return true
			}
		}
	}
	return false
}

// Digest is the record's share in the sums that members compare. Tombstones have none: one member may have forgotten
// what another still remembers. The time and Answered have none either, they are no reason for a repair.
func (r *Record) Digest() uint64 {
	if r == nil || r.Deleted {
		return 0
	}
	var d xxhash.Digest
	d.Reset()
	writeUint64(&d, r.Key.Publisher.Hash())
	writeUint64(&d, r.Key.Service.Hash())
	writeUint64(&d, uint64(r.Version.Said))
	writeUint64(&d, uint64(r.Version.Stamp))
	writeUint64(&d, uint64(r.Version.Origin))
	_, _ = d.Write([]byte{byte(r.Unclaimed)})
	return d.Sum64()
}

func writeUint64(d *xxhash.Digest, v uint64) {
	var b [8]byte
	for i := range b {
		b[i] = byte(v >> (8 * i))
	}
	_, _ = d.Write(b[:])
}
