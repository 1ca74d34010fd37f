package replication

import "github.com/muster-registry/muster/registry/model"

// walkEvery: while changes come without a pause, one in so many digests that differ leads to a walk.
const walkEvery = 4

// agreement is what the digests of a stream have shown. A change that is on its way makes a digest differ, and where they come
// without a pause nearly all of them do. What counts is whether a shard differs twice in a row.
type agreement struct {
	agreed bool
	// differed counts the digests that differed, in a row; doubtful those since the last proof: an equal one, or a walk in which no
	// shard differed that had differed in the one before. A proof is good for as many more as there may be until the next walk.
	differed, doubtful int
	// walking is how many answers the walk under way waits for, found what they have shown so far, last what the walk before it
	// found: everything, if there was none. Never changed once it is last.
	walking     int
	found, last *model.ShardSet
}

func newAgreement() agreement { return agreement{last: everything} }

// equal notes a digest.
func (a *agreement) equal() { *a = agreement{agreed: true, last: &model.ShardSet{}} }

// unequal notes a digest. One may have crossed a delta; two in a row are a disagreement, unless a walk shows where they come from.
func (a *agreement) unequal() {
	a.differed++
	if a.doubtful++; a.doubtful > 1 {
		a.agreed = false
	}
}

// patient reports whether the last digest that differed leads to no walk while changes come without a pause.
func (a *agreement) patient() bool { return a.differed%walkEvery != 1 }

// walk begins one that ends with so many answers.
func (a *agreement) walk(answers int) { a.walking, a.found = answers, &model.ShardSet{} }

// differ notes shards that an answer of the walk has shown to differ. What differed before as well is a disagreement.
func (a *agreement) differ(shards []model.Shard, whole bool) {
	if a.walking == 0 {
		return
	}
	for _, sh := range shards {
		a.found.Add(sh)
	}
	if !whole {
		return
	}
	if a.walking--; a.walking > 0 {
		return
	}
	a.agreed = a.found.And(a.last).Empty()
	if a.agreed {
		a.doubtful = -walkEvery
	}
	a.last, a.found = a.found, nil
}

// broken: something was dropped that nothing but a walk brings.
func (a *agreement) broken() { *a = newAgreement() }
