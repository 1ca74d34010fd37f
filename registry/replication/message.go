package replication

import (
	"time"

	"github.com/muster-registry/muster/registry/model"
)

// ProtocolVersion is what members say in the handshake. Members of versions that differ by more than one do not talk.
// Since 2 an exchange can begin with sums (KindCompare), and a status tells the version.
const ProtocolVersion = 2

// Hello is what members say of themselves when a stream opens, before any Message.
type Hello struct {
	Protocol   uint32
	ClusterUID string
	Member     model.Member
	Stamp      model.Stamp
}

// Kind says which fields of a Message are set.
type Kind uint8

// Kinds of message. Numbers are part of the wire protocol.
const (
	// KindStatus tells the sender's state; sent once a second and at each change. Field Status.
	KindStatus Kind = iota + 1
	// KindDelta carries changed records, as they happen. Field Entries.
	KindDelta
	// KindOffer carries all that the sender holds, in chunks; the last one has Last. Fields Exchange, Entries, Last.
	KindOffer
	// KindMerged answers an offer with the merged whole, in chunks. Fields Exchange, Entries, Last.
	KindMerged
	// KindDigest is the sum over all shards, or over those that both hold; then the sum of the sender's own records in
	// those that only the receiver holds. Field Sums, one value or two.
	KindDigest
	// KindGroups answers a digest that differs: the sums of all groups of shards. Field Sums, GroupCount values.
	KindGroups
	// KindShards answers: the sums of the shards of the groups that differ. Fields Groups, Sums (GroupSize values each).
	KindShards
	// KindKeys answers: the versions held in the shards that differ; with Owner those of that origin only. Fields Shards,
	// Versions, Owner; Exchange, where they answer KindCompare.
	KindKeys
	// KindRepair answers: records that the other lacks or has older (Entries), and keys that it shall send (Want).
	KindRepair
	// KindBeats relays beats to the member that is responsible for them. Field Beats.
	KindBeats
	// KindBeatAnswers answers the beats that asked. Field Answers.
	KindBeatAnswers
	// KindAsk asks the origin of an older record whether its connection lives: the publisher has registered again
	// elsewhere. Field Questions.
	KindAsk
	// KindAlive answers: it does. Field Questions.
	KindAlive
	// KindGone tells a member that it was gone from the sender's view: it must take a new incarnation.
	KindGone
	// KindLeave is the last message of a member that stops.
	KindLeave
	// KindOwnership says which shards the sender wants and holds: what has changed since the last one. Field Shares.
	KindOwnership
	// KindFetch asks for all records of shards. Fields Exchange, Shards.
	KindFetch
	// KindFetched answers, in chunks. Fields Exchange, Entries, Last.
	KindFetched
	// KindOrigins answers a digest whose second sum differs: the sums, shard by shard, of what the sender holds of the
	// receiver's own records. Fields Shards, Sums.
	KindOrigins
	// KindLookups asks for services that the sender does not hold, or for names. Field Lookups.
	KindLookups
	// KindFound answers one of them. Fields Exchange (its id), Known, Entries, Names.
	KindFound
	// KindShown shows the origin of a record an older one of the same publisher. Field Entries.
	KindShown
	// KindWithdraw passes on the order of publishers to a member that knows them. Field Want.
	KindWithdraw
	// KindCompare stands in for an offer between two that hold nearly the same: the sums of all shards, then the sums of their
	// tombstones. Fields Exchange, Sums (CompareSums values).
	KindCompare
	// KindCompared ends the answer, which is KindKeys with the Exchange for all shards that differ. Field Exchange.
	KindCompared
	// KindSettled answers: whatever those keys called for has been sent and asked for. KindMerged ends the exchange. Field
	// Exchange.
	KindSettled
)

// Shards are summed in groups, so that a pair walks down from one number to the records that differ.
const (
	GroupCount = 128
	GroupSize  = model.ShardCount / GroupCount
	// CompareSums is how many sums begin an exchange.
	CompareSums = 2 * model.ShardCount
)

// Message is what members tell each other. Which fields are set, Kind says. Values are never changed once sent.
type Message struct {
	Kind Kind
	// Seq counts the messages of a stream from 1; Ack is the last one that the sender has taken in.
	Seq, Ack uint64
	// Stamp is the sender's clock.
	Stamp model.Stamp

	Status    Status
	Exchange  uint64
	Last      bool
	Entries   []Entry
	Sums      []uint64
	Groups    []uint16
	Shards    []model.Shard
	Versions  []KeyVersion
	Want      []model.RecordKey
	Beats     []Beat
	Answers   []BeatAnswer
	Questions []Question
	Shares    []Share
	Owner     model.Incarnation
	Lookups   []Lookup
	Known     bool
	Names     []string
}

// Lookup asks for the records of a service, or with an empty name for the names of a group's services.
type Lookup struct {
	ID      uint64
	Service model.ServiceKey
}

// Status is a member's state as it tells its peers.
type Status struct {
	State model.MemberState
	// Complete: it has offered and merged. A complete member that was paused is not so until it has done that again.
	Complete bool
	// ReadsOpen: lists are answered (false during a cold start).
	ReadsOpen bool
	// Everywhere: it is a replica of everything, and wants and holds all shards without saying so.
	Everywhere bool
	// ViewHash is over the incarnations in the sender's view that are not leaving.
	ViewHash uint64
	// Connections are the client connections that the sender holds. Members even them out by it; a change of it alone waits
	// for the next status.
	Connections int
	// Protocol is the sender's ProtocolVersion, written by its engine; 0 of one that is older than 2.
	Protocol uint32
	// Strained: what comes in waits for long before the sender looks at it.
	Strained bool
}

// Whole reports whether the member holds everything, as far as it knows.
func (s Status) Whole() bool { return s.Complete && s.Everywhere }

// Compares reports whether an exchange with the member can begin with sums.
func (s Status) Compares() bool { return s.Whole() && s.Protocol >= 2 }

// Entry is a record on its way. Record.Since means nothing there: Age is the time that the record has been unclaimed.
type Entry struct {
	Record *model.Record
	Age    time.Duration
}

// KeyVersion is what is compared at the bottom of the walk.
type KeyVersion struct {
	Key       model.RecordKey
	Version   model.Version
	Deleted   bool
	Unclaimed model.Cause
}

// Beat is one beat on its way to the responsible member. Old times never travel: it counts when it arrives.
type Beat struct {
	// ID is set when the taker waits for the answer.
	ID        uint64
	Publisher model.Publisher
	Service   model.ServiceKey
}

// BeatAnswer says whether the responsible member knows the publisher in that service.
type BeatAnswer struct {
	ID    uint64
	Known bool
}

// Question asks the origin of Older about its connection, for the publisher of Newer; in an answer it says that the
// connection lives.
type Question struct {
	Older, Newer model.RecordKey
}
