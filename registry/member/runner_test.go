package member_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/push"
	"github.com/muster-registry/muster/registry/replication"
)

var shop = model.ServiceKey{Namespace: "public", Group: "DEFAULT_GROUP", Name: "shop"}

func instance(port int) model.Instance {
	return model.Instance{IP: "10.0.0.1", Port: int32(port), Cluster: "DEFAULT", Weight: 1, Healthy: true, Enabled: true}
}

// alone runs a member without peers until the returned function is called.
func alone(t *testing.T) (*member.Runner, func()) {
	t.Helper()
	r := member.NewRunner(options(nil, "a"))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx, nil) }()
	synctest.Wait()
	return r, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	}
}

func TestAloneIsReadyAtOnceAndAnswersWhenItHasHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := alone(t)
		defer stop()
		if ready, why := r.Ready(); !ready {
			t.Errorf("not ready: %s", why)
		}
		r.RegisterInstance(shop, instance(1), model.Client{})
		if _, err := r.Query(shop); !errors.Is(err, model.ErrNotReady) {
			t.Errorf("query in a cold start: %v, want not ready", err)
		}
		pass(7 * time.Second)
		s, err := r.Query(shop)
		if err != nil || len(s.Hosts) != 1 {
			t.Errorf("query when it is over: %v, %v; want one host", s, err)
		}
		if err := r.Alive(); err != nil {
			t.Errorf("alive: %v", err)
		}
	})
}

func TestPushesGoOutAtTheEndOfTheirWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := alone(t)
		defer stop()
		pass(36 * time.Second)
		c := r.Connect(member.Connection{ID: "c", Naming: true})
		if _, err := r.Subscribe("c", shop, ""); err != nil {
			t.Fatal(err)
		}
		var sizes []int
		for i := range 4 {
			r.RegisterInstance(shop, instance(i+1), model.Client{})
			sizes = append(sizes, pulled(c)...)
		}
		pass(80 * time.Millisecond)
		sizes = append(sizes, pulled(c)...)
		if diff := cmp.Diff([]int{1, 4}, sizes); diff != "" {
			t.Errorf("hosts in each push (-want +got):\n%s", diff)
		}
	})
}

func pulled(c *push.Conn) []int {
	var sizes []int
	for item, ok := c.Next(); ok; item, ok = c.Next() {
		sizes = append(sizes, len(item.Snapshot.Hosts))
	}
	return sizes
}

// Nobody waits for the first probe of a record; somebody does for that of one that nobody vouches for.
func TestWhichProbesArePatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(nil, "a")
		m := member.New(member.Options{
			Self: o.Self, Incarnation: func() model.Incarnation { return 1 }, Clock: bubble{}, Policy: o.Policy, Timeouts: o.Timeouts, Probing: true,
		})
		var got []bool
		let := func(d time.Duration) {
			for ; d > 0; d -= 100 * time.Millisecond {
				pass(100 * time.Millisecond)
				m.Tick()
				for _, p := range m.TakeProbes() {
					got = append(got, p.Patient)
				}
			}
		}
		m.Connect(member.Connection{ID: "c", Naming: true})
		if err := m.Publish("c", shop, []model.Instance{instance(1)}); err != nil {
			t.Fatal(err)
		}
		let(11 * time.Second)
		m.Disconnect("c")
		let(time.Second)
		if diff := cmp.Diff([]bool{true, false}, got); diff != "" {
			t.Errorf("patient (-want +got):\n%s", diff)
		}
	})
}

// bubble is the clock of a bubble.
type bubble struct{}

func (bubble) Now() model.Time {
	now := time.Now()
	return model.Time{Mono: now.Sub(time.Unix(0, 0)), Wall: now.UnixMilli()}
}

func TestAStoppedLoopIsNotAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := alone(t)
		stop()
		pass(time.Minute)
		if r.Alive() == nil {
			t.Error("alive a minute after its last tick")
		}
	})
}

// broken is a source that cannot start.
type broken struct{ membership.Source }

var errNoRights = errors.New("leases: no right to list; bind the role")

func (broken) Run(context.Context, func(membership.Listing)) error { return errNoRights }
func (broken) Announce(context.Context, model.Member, bool) error  { return errNoRights }

func TestASourceThatCannotStartEndsTheMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(newWorld(t), "a")
		o.Source = broken{}
		if err := member.NewRunner(o).Run(t.Context(), nil); !errors.Is(err, errNoRights) {
			t.Errorf("run: %v, want %v", err, errNoRights)
		}
	})
}

// silent is a source that has not answered yet.
type silent struct{ membership.Source }

func (silent) Run(ctx context.Context, _ func(membership.Listing)) error {
	<-ctx.Done()
	return ctx.Err()
}
func (silent) Announce(context.Context, model.Member, bool) error { return nil }

func TestReadinessSaysWhatItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(newWorld(t), "a")
		o.Source = silent{}
		r := member.NewRunner(o)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx, nil) }()
		pass(time.Minute)
		ready, why := r.Ready()
		if want := "the source of membership has not answered yet"; ready || why != want {
			t.Errorf("ready %v: %q, want %q", ready, why, want)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

func TestThreeFindEachOtherAndHoldTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		nodes := []*node{w.start("a"), w.start("b"), w.start("c")}
		pass(2 * time.Second)
		nodes[0].RegisterInstance(shop, instance(1), model.Client{})
		pass(15 * time.Second)
		for _, n := range nodes {
			st := n.Status()
			if !st.Ready || st.Dirty || len(st.Members) != 3 || st.Counts.Instances != 1 || st.Sum != nodes[0].Sum() {
				t.Errorf("%s: %+v; want ready, clean, three members and one instance", n.address, st)
			}
		}
		for _, n := range nodes {
			n.kill()
		}
		if diff := cmp.Diff([]string{"complete", "clean"}, lastWords(w.announced("a"))); diff != "" {
			t.Errorf("what a announced last (-want +got):\n%s", diff)
		}
	})
}

func lastWords(said []string) []string {
	if len(said) == 0 {
		return nil
	}
	var state, dirty string
	if _, err := fmt.Sscan(said[len(said)-1], &state, &dirty); err != nil {
		return said
	}
	return []string{state, dirty}
}

// A beat that comes to a member that does not know its publisher is answered by the responsible one.
func TestABeatIsAnsweredByTheResponsibleMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.start("a"), w.start("b")
		defer a.kill()
		pass(10 * time.Second)
		ofB := portOf(t, b.Runner)
		in := instance(ofB)
		light := member.Beat{Service: shop, IP: in.IP, Port: ofB}
		result, err := a.Beat(t.Context(), light)
		if err != nil || result.Known {
			t.Errorf("light beat of nobody: %+v, %v; want unknown", result, err)
		}
		full := light
		full.Full = &in
		if result, err = a.Beat(t.Context(), full); err != nil || !result.Known {
			t.Errorf("full beat: %+v, %v; want known, because it registers", result, err)
		}
		pass(time.Second)
		if result, err = b.Beat(t.Context(), light); err != nil || !result.Known {
			t.Errorf("light beat at the other member: %+v, %v; want known", result, err)
		}
		b.kill()
	})
}

// Only the responsible member orders a registration anew. When it does not answer, nobody does (P14).
func TestABeatIsKnownWhenTheResponsibleMemberIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.start("a")
		// b is in the table, and its stream is open, but it never says a word.
		mute := model.Member{Incarnation: 1, Name: "b", UID: "b", State: model.StateComplete}
		w.set("b", membership.Entry{Member: mute, Alive: true}, "b complete clean")
		pass(time.Second)
		if _, ok := a.PeerUp(mute); !ok {
			t.Fatal("refused")
		}
		defer a.kill()
		pass(time.Second)
		responsible := 0
		for port := 1; port <= 20; port++ {
			began := time.Now()
			result, err := a.Beat(t.Context(), member.Beat{Service: shop, IP: "10.0.0.1", Port: port})
			if err != nil {
				t.Fatal(err)
			}
			if waited := time.Since(began); result.Known != (waited > 0) {
				t.Errorf("port %d: known %v after %s; want known exactly when the other one was waited for", port, result.Known, waited)
			} else if result.Known {
				responsible++
			}
		}
		if responsible == 0 {
			t.Error("the other member is responsible for none of 20 publishers")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for port := 1; port <= 20; port++ {
			if _, err := a.Beat(ctx, member.Beat{Service: shop, IP: "10.0.0.2", Port: port}); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("beat of a client that is gone: %v", err)
			}
		}
	})
}

// portOf finds a publisher that the member is responsible for: it answers at once.
func portOf(t *testing.T, r *member.Runner) int {
	t.Helper()
	for port := 1; port < 100; port++ {
		if _, answer := r.Member.Beat(member.Beat{Service: shop, IP: "10.0.0.1", Port: port}); answer == nil {
			return port
		}
	}
	t.Fatal("responsible for nobody")
	return 0
}

// A member that was gone from the others' view, and lives, takes a new incarnation and opens its streams anew.
func TestAMemberThatWasGoneComesBackAsAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.start("a"), w.start("b")
		defer a.kill()
		defer b.kill()
		pass(10 * time.Second)
		b.RegisterInstance(shop, instance(1), model.Client{})
		before := b.Self().Incarnation
		w.gone("b")
		w.cut(a, b)
		pass(5 * time.Second)
		if a.View().Has(before) {
			t.Fatal("still in the view")
		}
		w.mend(a, b)
		pass(10 * time.Second)
		after := b.Self().Incarnation
		if after == before || b.reconnected() == 0 || !a.View().Has(after) || a.View().Has(before) {
			t.Errorf("incarnation %s after %s, %d reconnects, view of the other %v", after, before, b.reconnected(), a.View().Members)
		}
		if a.Sum() != b.Sum() || a.Counts().Instances != 1 {
			t.Errorf("%d instances at one, %d at the other", a.Counts().Instances, b.Counts().Instances)
		}
	})
}

// cut ends the stream between two nodes, and lets nobody connect to either.
func (w *world) cut(nodes ...*node) {
	w.mu.Lock()
	for _, n := range nodes {
		delete(w.nodes, n.address)
	}
	w.mu.Unlock()
	nodes[0].drop()
}

func (w *world) mend(nodes ...*node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range nodes {
		w.nodes[n.address] = n
		delete(w.away, n.Self().UID)
	}
}

func TestAdmit(t *testing.T) {
	r := member.NewRunner(options(nil, "a"))
	hello := func(change func(*replication.Hello)) replication.Hello {
		h := replication.Hello{Protocol: 2, ClusterUID: "cluster", Member: model.Member{Incarnation: 5, Name: "b", UID: "b"}}
		change(&h)
		return h
	}
	for name, c := range map[string]struct {
		hello replication.Hello
		want  string
	}{
		"a member":            {hello: hello(func(*replication.Hello) {})},
		"one version ahead":   {hello: hello(func(h *replication.Hello) { h.Protocol = 3 })},
		"one version behind":  {hello: hello(func(h *replication.Hello) { h.Protocol = 1 })},
		"two versions ahead":  {hello: hello(func(h *replication.Hello) { h.Protocol = 4 }), want: "b speaks version 4 of the peer protocol, this member 2: they may differ by one"},
		"of another cluster":  {hello: hello(func(h *replication.Hello) { h.ClusterUID = "other" }), want: `b is a member of another cluster, "other"`},
		"nobody":              {hello: hello(func(h *replication.Hello) { h.Member.Incarnation = 0 }), want: "b does not say its incarnation"},
		"itself":              {hello: hello(func(h *replication.Hello) { h.Member.Incarnation = r.Self().Incarnation }), want: "b is this member itself"},
		"itself, by its UID":  {hello: hello(func(h *replication.Hello) { h.Member.UID = "a" }), want: "b is this member itself"},
		"without an UID":      {hello: hello(func(h *replication.Hello) { h.Member.UID = "" })},
		"with a clock ahead":  {hello: hello(func(h *replication.Hello) { h.Stamp = r.Hello().Stamp + 1<<40 })},
		"what it says itself": {hello: r.Hello(), want: "a is this member itself"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := r.Admit(c.hello); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("admit: %q, want %q", got, c.want)
			}
			if c.want == "" && r.Hello().Stamp < c.hello.Stamp {
				t.Error("the clock of one that is admitted is not taken in")
			}
		})
	}
}

func TestIncarnationsDiffer(t *testing.T) {
	var seen []model.Incarnation
	for range 100 {
		i := member.NewRunner(options(nil, "a")).Self().Incarnation
		if i == 0 || slices.Contains(seen, i) {
			t.Fatalf("incarnation %s after %v", i, seen)
		}
		seen = append(seen, i)
	}
}

// reluctant takes no announcement for a while.
type reluctant struct {
	source
	until time.Time
	tried int
}

func (s *reluctant) Announce(ctx context.Context, self model.Member, dirty bool) error {
	if s.tried++; time.Now().Before(s.until) {
		return errAway
	}
	return s.source.Announce(ctx, self, dirty)
}

func TestAnAnnouncementIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := &reluctant{source: source{world: w, uid: "a"}, until: time.Now().Add(4500 * time.Millisecond)}
		o := options(w, "a")
		o.Source = s
		r := member.NewRunner(o)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx, nil) }()
		pass(time.Minute)
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if said := w.announced("a"); !slices.Equal(said, []string{"complete clean"}) || s.tried > 10 {
			t.Errorf("announced %v after %d attempts; want it said once, and tried once a second until then", said, s.tried)
		}
	})
}
