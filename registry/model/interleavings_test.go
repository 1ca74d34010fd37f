package model_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/muster-registry/muster/registry/model"
)

// replica is what a member makes of records: merged, and what one supersedes removed in the same step.
type replica map[model.RecordKey]*model.Record

func (s replica) take(r *model.Record) {
	s[r.Key] = merged(s[r.Key], r)
	for _, sup := range r.Supersedes() {
		k := model.RecordKey{Publisher: sup.Publisher, Service: r.Key.Service}
		s[k] = merged(s[k], &model.Record{Key: k, Version: sup.Version, Deleted: true, Rare: model.NewSuccession(nil, &r.Key.Publisher)})
	}
}

// state is what all replicas must agree on.
func (s replica) state() map[string]string {
	out := map[string]string{}
	for k, r := range s {
		text := fmt.Sprintf("%d@%d", r.Version.Stamp, r.Version.Origin)
		switch {
		case r.Deleted:
			text += " deleted"
		case r.Unclaimed != model.Vouched:
			text += fmt.Sprintf(" unclaimed by %d since %v", r.Unclaimed, r.Since)
		}
		out[k.Publisher.ID] = text
	}
	return out
}

// origins of the interleavings.
const (
	a model.Incarnation = iota + 1
	b
	c
)

func published(id string, stamp model.Stamp, origin model.Incarnation, supersedes ...model.Superseded) *model.Record {
	return &model.Record{
		Key:     model.RecordKey{Publisher: model.Publisher{Member: origin, ID: id}, Service: recordKey.Service},
		Version: model.Version{Said: stamp, Stamp: stamp, Origin: origin}, Instances: []model.Instance{{IP: "10.0.0.1", Port: 80}}, Rare: model.NewSuccession(supersedes, nil),
	}
}

func beating(stamp model.Stamp, origin model.Incarnation) *model.Record {
	r := published("beats", stamp, origin)
	r.Key.Publisher = model.Publisher{Kind: model.KindBeat, ID: "beats"}
	return r
}

func superseding(r *model.Record) model.Superseded {
	return model.Superseded{Publisher: r.Key.Publisher, Version: r.Version}
}

// TestInterleavings: what the fault scenarios let members hear in any order ends the same everywhere. The order of a case
// is the one in which things happened.
func TestInterleavings(t *testing.T) {
	at := func(stamp model.Stamp, origin model.Incarnation) model.Version {
		return model.Version{Said: stamp, Stamp: stamp, Origin: origin}
	}
	older := published("older", 1, a)
	newer := published("newer", 3, b, superseding(older))
	beats := beating(1, a)
	const heal = 20 * time.Second
	tests := map[string]struct {
		heard []*model.Record
		want  map[string]string
	}{
		"P9: moves from A to B behind a cut, A's loss is heard late": {
			[]*model.Record{older, newer, older.WithUnclaimed(model.CauseOurs, heal)},
			map[string]string{"older": "1@1 deleted", "newer": "3@2"},
		},
		"P9: and deregisters at B": {
			[]*model.Record{older, newer, newer.Tombstone(at(5, b)), older.WithUnclaimed(model.CauseOurs, heal)},
			map[string]string{"older": "1@1 deleted", "newer": "5@2 deleted"},
		},
		"P9: only the deregistration is heard of": {
			[]*model.Record{older, newer.Tombstone(at(5, b))},
			map[string]string{"older": "1@1 deleted", "newer": "5@2 deleted"},
		},
		"P9: what changed at A last lives, B never heard of it": {
			[]*model.Record{older, older.Restamped(2, a), newer, newer.Tombstone(at(5, b))},
			map[string]string{"older": "2@1", "newer": "5@2 deleted"},
		},
		"P9: two origins are asked, neither is superseded": {
			[]*model.Record{older, published("newer", 3, b)},
			map[string]string{"older": "1@1", "newer": "3@2"},
		},
		"P10: the origin dies after its last delta": {
			[]*model.Record{older, older.Restamped(2, a), older.Restamped(2, a).WithUnclaimed(model.CauseOurs, heal)},
			map[string]string{"older": "2@1 unclaimed by 2 since 20s"},
		},
		"P10: its last delta is heard after it was marked": {
			[]*model.Record{older, older.WithUnclaimed(model.CauseOurs, heal), older.Restamped(2, a)},
			map[string]string{"older": "2@1"},
		},
		"P11: an enumeration carries the version before a registration": {
			[]*model.Record{beats, beating(4, b), beats.WithAnswered()},
			map[string]string{"beats": "4@2"},
		},
		"P11: and a removal of that version": {
			[]*model.Record{beats, beats.Tombstone(beats.Version), beating(4, b)},
			map[string]string{"beats": "4@2"},
		},
		"P11: responsibility moves twice": {
			[]*model.Record{beats, beats.Restamped(2, b), beats.Restamped(2, b).WithUnclaimed(model.CauseOurs, heal), beats.Restamped(3, c)},
			map[string]string{"beats": "3@3"},
		},
		"P12: removed by the first replica while another adopts it": {
			[]*model.Record{beats, beats.WithUnclaimed(model.CauseOurs, heal), beats.Tombstone(beats.Version), beats.Restamped(9, c)},
			map[string]string{"beats": "9@3"},
		},
		"P12: and the paused origin wakes with what it held": {
			[]*model.Record{beats, beats.Tombstone(beats.Version), beats.Restamped(9, c), beats.WithUnclaimed(model.CausePublisher, heal)},
			map[string]string{"beats": "9@3"},
		},
		"P12: adopted by nobody it stays removed, whoever wakes": {
			[]*model.Record{beats, beats.WithUnclaimed(model.CauseOurs, heal), beats.Tombstone(beats.Version), beats.WithUnclaimed(model.CausePublisher, 2*heal)},
			map[string]string{"beats": "1@1 deleted"},
		},
		"of two marks of one version the more lenient and the later stay": {
			[]*model.Record{beats, beats.WithUnclaimed(model.CauseOurs, heal), beats.WithUnclaimed(model.CausePublisher, 2*heal)},
			map[string]string{"beats": "1@1 unclaimed by 2 since 40s"},
		},
		"P1: changed at A, while beats at B vouch for what was before": {
			[]*model.Record{beats, beating(4, a), beats.Restamped(5, b)},
			map[string]string{"beats": "4@1"},
		},
		"P1: and vouched for at B, which has heard of it": {
			[]*model.Record{beats, beats.Restamped(3, b), beating(4, a), beating(4, a).Restamped(6, b)},
			map[string]string{"beats": "6@2"},
		},
		"P1: withdrawn at A, while a late beat at B vouches on": {
			[]*model.Record{beats, beats.Tombstone(at(4, a)), beats.Restamped(5, b)},
			map[string]string{"beats": "4@1 deleted"},
		},
		"P1: ended at A for its silence, while it beats at B": {
			[]*model.Record{beats, beats.Tombstone(beats.Version.Again(4, a)), beats.Restamped(5, b)},
			map[string]string{"beats": "5@2"},
		},
		"two members stamp at one moment": {
			[]*model.Record{beats, beats.Restamped(2, b), beats.Restamped(2, c)},
			map[string]string{"beats": "2@3"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			permutations(test.heard, func(order []*model.Record) {
				s := replica{}
				for _, r := range order {
					s.take(r)
				}
				if d := cmp.Diff(test.want, s.state()); d != "" {
					t.Fatalf("heard as %v: %s", order, d)
				}
			})
		})
	}
}

// permutations calls do with every order.
func permutations(rs []*model.Record, do func([]*model.Record)) {
	if len(rs) == 0 {
		do(nil)
		return
	}
	for i, r := range rs {
		rest := slices.Delete(slices.Clone(rs), i, i+1)
		permutations(rest, func(order []*model.Record) { do(append([]*model.Record{r}, order...)) })
	}
}

// TestSupersessionIsFinal: in whatever order, how often and over whom replicas hear of a publisher's moves, they agree; no
// superseded version lives, and only the version that was named is dead.
func TestSupersessionIsFinal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		history := moves(t)
		one, other, third := replica{}, replica{}, replica{}
		for _, r := range history {
			one.take(r)
		}
		for _, r := range rapid.Permutation(history).Draw(t, "order") {
			other.take(r)
			if rapid.Bool().Draw(t, "again") {
				other.take(r)
			}
		}
		for _, r := range other { // all that one holds, as an offer or a repair carries it
			third.take(r)
		}
		if d := cmp.Diff(one.state(), other.state()); d != "" {
			t.Fatalf("two orders: %s", d)
		}
		if d := cmp.Diff(other.state(), third.state()); d != "" {
			t.Fatalf("over a third member: %s", d)
		}
		for _, r := range history {
			for _, sup := range r.Supersedes() {
				held := one[model.RecordKey{Publisher: sup.Publisher, Service: r.Key.Service}]
				if held == nil || held.Version.Compare(sup.Version) < 0 || held.Version == sup.Version && !held.Deleted {
					t.Fatalf("%v is superseded, and %v is held", sup, held)
				}
			}
		}
	})
}

// moves is what a publisher does that registers at one member after another: each registration supersedes some version
// of one before; some are changed, lost, or deregistered.
func moves(t *rapid.T) []*model.Record {
	var history []*model.Record
	stamp := model.Stamp(0)
	next := func() model.Stamp { stamp++; return stamp }
	for i := range rapid.IntRange(1, 4).Draw(t, "moves") {
		origin := model.Incarnation(rapid.IntRange(1, 3).Draw(t, "origin"))
		var sup []model.Superseded
		if len(history) > 0 && rapid.IntRange(0, 4).Draw(t, "supersedes") > 0 {
			if o := rapid.SampledFrom(history).Draw(t, "older"); !o.Deleted {
				sup = append(sup, superseding(o))
			}
		}
		r := published(fmt.Sprint("c", i), next(), origin, sup...)
		history = append(history, r)
		for range rapid.IntRange(0, 2).Draw(t, "then") {
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				r = r.Restamped(next(), origin)
			case 1:
				r = r.WithUnclaimed(model.Cause(rapid.IntRange(1, 2).Draw(t, "cause")), time.Duration(stamp)*time.Second)
			case 2:
				r = r.WithAnswered()
			default:
				history = append(history, r.Tombstone(model.Version{Stamp: next(), Origin: origin}))
				continue
			}
			history = append(history, r)
		}
	}
	return history
}

// TestKnowledgeNeverHides: what is learned beside a version never outlives it, and never takes back what was known.
func TestKnowledgeNeverHides(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := anyRecord(t, "record")
		if r == nil || r.Deleted {
			return
		}
		cause := model.Cause(rapid.IntRange(1, 2).Draw(t, "marked"))
		since := time.Duration(rapid.IntRange(0, 5).Draw(t, "at")) * time.Second
		marked := merged(r, r.WithUnclaimed(cause, since))
		if marked.Unclaimed != max(r.Unclaimed, cause) || marked.Since < since || marked.Version != r.Version {
			t.Fatalf("%+v marked with %d since %v is %+v", r, cause, since, marked)
		}
		again := r.Restamped(r.Version.Stamp+1, r.Version.Origin)
		if got := merged(marked, again); got.Unclaimed != model.Vouched || got.Answered != r.Answered {
			t.Fatalf("stamped again it is %+v", got)
		}
		if got := merged(again, marked); got != again {
			t.Fatalf("a mark that came late made %+v of %+v", got, again)
		}
		if answered := merged(r, r.WithAnswered()); !answered.Answered || merged(answered, r) != answered {
			t.Fatalf("that its ports answered is lost: %+v", answered)
		}
	})
}

// TestDigestsTellStatesApart: two live records have one digest when no repair has anything to carry between them.
func TestDigestsTellStatesApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, y := anyRecord(t, "x"), anyRecord(t, "y")
		gone := func(r *model.Record) bool { return r == nil || r.Deleted }
		same := gone(x) && gone(y) || !gone(x) && !gone(y) && x.Version == y.Version && x.Unclaimed == y.Unclaimed
		if equal := x.Digest() == y.Digest(); equal != same {
			t.Fatalf("digests are equal: %v, of %+v and %+v", equal, x, y)
		}
	})
}
