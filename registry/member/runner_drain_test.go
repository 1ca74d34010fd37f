package member_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/push"
)

// drained starts a drain and returns what it ends with.
func drained(t *testing.T, r *member.Runner) <-chan error {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- r.Drain(t.Context()) }()
	synctest.Wait()
	return ended
}

func over(ended <-chan error) bool {
	synctest.Wait()
	return len(ended) > 0
}

func kinds(c *push.Conn) []push.ItemKind {
	var ks []push.ItemKind
	for item, ok := c.Next(); ok; item, ok = c.Next() {
		ks = append(ks, item.Kind)
	}
	return ks
}

func TestDrainMovesClients(t *testing.T) {
	for name, c := range map[string]struct {
		moves bool // the client goes when it is asked to
		ends  bool // its connection ends when it is closed
		want  []push.ItemKind
		after time.Duration // by when the drain is over
	}{
		"one that moves":           {moves: true, want: []push.ItemKind{push.ItemReset}, after: time.Second},
		"one that stays":           {ends: true, want: []push.ItemKind{push.ItemReset, push.ItemClose}, after: 7 * time.Second},
		"one that is never closed": {want: []push.ItemKind{push.ItemReset, push.ItemClose}, after: 62 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, stop := alone(t)
				defer stop()
				out := r.Connect(member.Connection{ID: "c", Naming: true})
				ended := drained(t, r)
				got := kinds(out)
				late := r.Connect(member.Connection{ID: "d", Naming: true})
				if diff := cmp.Diff([]push.ItemKind{push.ItemReset}, kinds(late)); diff != "" {
					t.Errorf("what a client that comes now is told (-want +got):\n%s", diff)
				}
				r.Disconnect("d")
				if ready, _ := r.Ready(); ready {
					t.Error("ready while leaving")
				}
				if c.moves {
					r.Disconnect("c")
				}
				for began := time.Now(); time.Since(began) < c.after; pass(time.Second) {
					if ks := kinds(out); len(ks) > 0 {
						got = append(got, ks...)
						if c.ends {
							r.Disconnect("c")
						}
					}
				}
				if !over(ended) || <-ended != nil {
					t.Errorf("not over after %s", c.after)
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("what the client was told (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestDrainHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.start("a"), w.start("b")
		defer a.kill()
		defer b.kill()
		pass(10 * time.Second)
		ofA := portOf(t, a.Runner)
		a.RegisterInstance(shop, instance(ofA), model.Client{})
		pass(time.Second)
		before := a.Self().Incarnation
		ended := drained(t, a.Runner)
		pass(200 * time.Millisecond)
		if m, ok := b.View().Find(before); !ok || m.State != model.StateLeaving {
			t.Errorf("the other member sees %+v, %v; want it leaving", m, ok)
		}
		if over(ended) {
			t.Error("left before anybody could look elsewhere")
		}
		pass(3 * time.Second)
		if !over(ended) || <-ended != nil {
			t.Fatal("the drain is not over, though all is handed over")
		}
		said := a.w.announced("a")
		if i := slices.Index(said, "left"); i < 0 || i != len(said)-1 || said[i-1][:len("leaving")] != "leaving" {
			t.Errorf("what was announced: %v; want leaving, then left, then nothing", said)
		}
		// its publishers beat at the other one now
		for range 24 {
			if _, err := b.Beat(t.Context(), member.Beat{Service: shop, IP: "10.0.0.1", Port: ofA}); err != nil {
				t.Fatal(err)
			}
			pass(5 * time.Second)
		}
		if a.Self().Incarnation != before || b.View().Has(before) || len(b.View().Members) != 1 {
			t.Errorf("two minutes later: incarnation %s, the other one's view %v", a.Self().Incarnation, b.View().Members)
		}
		if n := b.Counts(); n.Instances != 1 || n.Unclaimed != 0 {
			t.Errorf("the other member holds %+v; want one instance that it vouches for", n)
		}
	})
}

func TestDrainIsOneForAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := alone(t)
		r.Connect(member.Connection{ID: "c", Naming: true})
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() { first <- r.Drain(ctx) }()
		second := drained(t, r)
		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("the one who went: %v", err)
		}
		r.Disconnect("c")
		pass(time.Second)
		if !over(second) || <-second != nil {
			t.Error("the other one still waits")
		}
		if third := drained(t, r); !over(third) || <-third != nil {
			t.Error("one who asks later waits")
		}
		stop()
		if last := drained(t, r); !over(last) || <-last != nil {
			t.Error("one who asks when it has stopped is not told that it had left")
		}
	})
}

func TestDrainOfAStoppedMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := alone(t)
		r.Connect(member.Connection{ID: "c", Naming: true})
		ended := drained(t, r)
		stop()
		if err := <-ended; err == nil {
			t.Error("a drain that was cut short says that it is over")
		}
	})
}
