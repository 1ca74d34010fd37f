package replication_test

import (
	"slices"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
)

// apart is two that agreed, and of whom the second one has to join again after what happened meanwhile. It has sent nothing.
func apart(t *testing.T, before, happened func(p *pipe)) *pipe {
	t.Helper()
	p := joined(2)
	before(p)
	p.settle()
	p.nodes[1].engine.SetStatus(replication.Status{})
	p.cutOff(happened)
	sent := p.count(p.settle)
	if sent[replication.KindGroups]+sent[replication.KindOffer]+sent[replication.KindCompare] > 0 {
		t.Fatalf("exchanged before anybody asked for it: %v", sent)
	}
	return p
}

// exchange carries the first steps of an exchange that the second has begun.
func (p *pipe) exchange(steps int) {
	for i := range steps {
		p.carry((i+1)%2, i%2)
	}
}

// TestCompare: what differs goes both ways before the exchange ends, and no time passes.
func TestCompare(t *testing.T) {
	k, kept := key(1, "a"), key(2, "kept")
	for name, test := range map[string]struct {
		before, apart func(p *pipe)
		// entries and keys are how many travel at most.
		entries, keys int
	}{
		"nothing":      {apart: func(*pipe) {}},
		"here is more": {apart: func(p *pipe) { p.register(1, k, 80) }, entries: 1},
		"there is more": {
			apart: func(p *pipe) { p.register(0, k, 80) }, entries: 1, keys: 1,
		},
		"both have more": {apart: func(p *pipe) { p.register(0, k, 80); p.register(1, key(3, "b"), 80) }, entries: 2, keys: 1},
		"another version": {
			apart: func(p *pipe) { p.register(0, k, 80); p.now += time.Second; p.register(1, k, 81) }, entries: 1, keys: 1,
		},
		"removed here": {
			before: func(p *pipe) { p.register(0, k, 80) },
			apart:  func(p *pipe) { p.remove(1, k) }, entries: 1, keys: 1,
		},
		"removed there": {
			before: func(p *pipe) { p.register(0, k, 80) },
			apart:  func(p *pipe) { p.remove(0, k) }, entries: 1, keys: 1,
		},
		"come and gone here":  {apart: func(p *pipe) { p.register(1, k, 80); p.remove(1, k) }, entries: 1},
		"come and gone there": {apart: func(p *pipe) { p.register(0, k, 80); p.remove(0, k) }, entries: 1, keys: 1},
		"nobody vouches there": {
			before: func(p *pipe) { p.register(0, k, 80) },
			apart:  func(p *pipe) { p.unclaim(0, k, model.CausePublisher) }, entries: 2, keys: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := apart(t, func(p *pipe) {
				p.register(0, kept, 80)
				if test.before != nil {
					test.before(p)
				}
			}, test.apart)
			entries, keys := 0, 0
			p.watch = func(_, _ *node, m replication.Message) {
				entries += len(m.Entries)
				keys += len(m.Versions)
			}
			p.nodes[1].engine.Compare(1)
			sent := p.count(p.settle)
			if got := merges(p.nodes[1]); got != 1 || entries > test.entries || keys > test.keys {
				t.Errorf("ended %d times, %d records and %d keys travelled: %v", got, entries, keys, sent)
			}
			p.agree(t)
			if a, b := p.nodes[0].store.Collect(nil), p.nodes[1].store.Collect(nil); len(a) != len(b) {
				t.Errorf("%d records and tombstones there, %d here", len(a), len(b))
			}
			if sent[replication.KindOffer]+sent[replication.KindGroups] > 0 || !p.nodes[0].engine.Agreed(2) || !p.nodes[1].engine.Agreed(1) {
				t.Errorf("they do not agree, or not by this: %v", sent)
			}
		})
	}
}

// TestCompareInChunks: where all differs, messages stay small.
func TestCompareInChunks(t *testing.T) {
	most := 0
	p := apart(t, func(*pipe) {}, func(p *pipe) {
		for i := range 3000 {
			p.register(i%2, key(i, "a"), 80)
		}
	})
	p.watch = func(_, _ *node, m replication.Message) {
		most = max(most, len(m.Entries), len(m.Want), len(m.Versions))
	}
	p.nodes[1].engine.Compare(1)
	p.settle()
	p.agree(t)
	if merges(p.nodes[1]) != 1 || most > 510 {
		t.Errorf("ended %d times; a message had %d records or keys", merges(p.nodes[1]), most)
	}
}

// TestChangedWhileCompared: at each step of an exchange either side writes; nothing of it is lost, and it ends.
func TestChangedWhileCompared(t *testing.T) {
	for step := range 6 {
		p := apart(t, func(p *pipe) { p.register(0, key(1, "a"), 80) }, func(p *pipe) { p.register(0, key(2, "b"), 80) })
		p.nodes[1].engine.Compare(1)
		p.exchange(step)
		p.register(0, key(2, "b"), 81)
		p.register(1, key(1, "a"), 81)
		p.remove(1, key(3, "c"))
		p.register(0, key(4, "d"), 80)
		p.settle()
		if got := merges(p.nodes[1]); got != 1 {
			t.Errorf("changed at step %d: ended %d times", step, got)
		}
		p.agree(t)
	}
}

// TestCompareLost: an exchange whose stream ends on the way does not end itself; on the new stream another one does.
func TestCompareLost(t *testing.T) {
	for step := range 4 {
		p := apart(t, func(*pipe) {}, func(p *pipe) { p.register(0, key(1, "a"), 80); p.register(1, key(2, "b"), 80) })
		p.nodes[1].engine.Compare(1)
		p.exchange(step)
		p.connect(0, 1)
		p.settle()
		if got := merges(p.nodes[1]); got != 0 {
			t.Errorf("lost at step %d: ended %d times", step, got)
		}
		p.nodes[1].engine.Compare(1)
		p.settle()
		if got := merges(p.nodes[1]); got != 1 {
			t.Errorf("lost at step %d: the next one ended %d times", step, got)
		}
		p.agree(t)
	}
}

// TestStalledExchange: an answer that a stream has kept for a while does not end the exchange: what changed meanwhile comes behind it.
func TestStalledExchange(t *testing.T) {
	for stall, late := range map[time.Duration]bool{2 * time.Second: false, 3 * time.Second: true} {
		p := apart(t, func(*pipe) {}, func(p *pipe) { p.register(0, key(1, "a"), 80) })
		b := p.nodes[1]
		b.engine.Offer(1)
		p.carry(1, 0)
		p.stall(0, 1, stall, func() { p.register(0, key(2, "b"), 80) })
		before := merges(b)
		told := slices.ContainsFunc(b.inputs, func(in replication.Input) bool { return in.Late })
		if told != late || (before == 1) == late {
			t.Errorf("after %v: told late %v, ended %d times", stall, told, before)
		}
		b.engine.Offer(1)
		p.settle()
		if got := merges(b); got != before+1 {
			t.Errorf("after %v: the next one ended %d times", stall, got-before)
		}
		p.agree(t)
	}
}

// TestNewestExchange: only the newest one ends, whichever form they have.
func TestNewestExchange(t *testing.T) {
	for step := range 5 {
		p := apart(t, func(*pipe) {}, func(p *pipe) { p.register(0, key(1, "a"), 80) })
		a, b := p.nodes[0], p.nodes[1]
		b.engine.Compare(a.id)
		p.exchange(step)
		if step < 4 && merges(b) != 0 {
			t.Fatalf("ended after %d steps", step)
		}
		before := merges(b)
		b.engine.Offer(a.id)
		p.carry(0, 1) // the answer to the older one
		if got := merges(b); got != before {
			t.Errorf("step %d: the answer to an older exchange ended the newer", step)
		}
		p.settle()
		if got := merges(b); got != before+1 {
			t.Errorf("step %d: the newer ended %d times", step, got-before)
		}
		p.agree(t)
	}
}

// TestNoAnswer: what is no comparison, or the end of none, is not answered (B3).
func TestNoAnswer(t *testing.T) {
	for name, m := range map[string]replication.Message{
		"sums of the shards only": {Kind: replication.KindCompare, Exchange: 1, Sums: make([]uint64, model.ShardCount)},
		"a sum too many":          {Kind: replication.KindCompare, Exchange: 1, Sums: make([]uint64, replication.CompareSums+1)},
		"no sums":                 {Kind: replication.KindCompare, Exchange: 1},
		"an end that we wait for": {Kind: replication.KindCompared},
		"nothing was compared":    {Kind: replication.KindSettled},
		"another was compared":    {Kind: replication.KindSettled, Exchange: 7},
	} {
		t.Run(name, func(t *testing.T) {
			p := joined(2)
			b := p.nodes[1]
			p.register(1, key(1, "a"), 80)
			p.settle()
			b.engine.Receive(p.time(b), 1, m)
			if ms := b.engine.Pull(p.time(b), 1); len(ms) != 0 {
				t.Errorf("answered by %+v", ms)
			}
		})
	}
}

// TestNothingToCompareYet: who has to take everything from one does not take it from all by way of digests meanwhile; and
// who becomes complete without compares as ever.
func TestNothingToCompareYet(t *testing.T) {
	p := newPipe(2)
	for i := range 100 {
		p.register(0, key(i, "a"), 80)
	}
	p.nodes[1].engine.SetStatus(replication.Status{})
	p.connect(0, 1)
	entries := 0
	p.watch = func(_, _ *node, m replication.Message) { entries += len(m.Entries) + len(m.Versions) }
	if sent := p.count(func() { p.pass(2 * round) }); entries != 0 || sent[replication.KindGroups] != 0 {
		t.Errorf("%d records and versions travelled before an exchange: %v", entries, sent)
	}
	p.nodes[1].engine.SetStatus(replication.Status{Complete: true})
	p.pass(round)
	p.agree(t)
}
