package push_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/push"
)

const window = 50 * time.Millisecond

// world is a hub over a catalog, on a clock that the test moves.
type world struct {
	now   time.Duration
	stamp model.Stamp
	store *catalog.Store
	hub   *push.Hub
	reads int // how often the hub has read a list
}

func newWorld() *world {
	w := &world{}
	w.hub = push.New(push.Options{
		Snapshot: func(k model.ServiceKey) *catalog.Snapshot { w.reads++; return w.store.Snapshot(w.time(), k) },
		Answer:   func(k model.ServiceKey) *catalog.Snapshot { w.reads++; return w.store.Answer(w.time(), k, false) },
		Now:      w.time, Window: window,
	})
	w.store = catalog.New(catalog.Options{
		Revise: func(now model.Time) int64 { return now.Wall }, OnChange: w.hub.Notify, TombstoneLifetime: time.Hour,
	})
	return w
}

// opened is a world whose hub lets pushes through.
func opened() *world {
	w := newWorld()
	w.hub.SetOpen(true)
	return w
}

func (w *world) time() model.Time {
	return model.Time{Mono: w.now, Wall: 1_800_000_000_000 + w.now.Milliseconds()}
}

// pass lets time pass in ticks of 10 ms.
func (w *world) pass(d time.Duration, conns ...*push.Conn) {
	for range d / (10 * time.Millisecond) {
		w.now += 10 * time.Millisecond
		w.hub.Tick()
		for _, c := range conns {
			c.Retry()
		}
	}
}

func service(name string) model.ServiceKey {
	return model.ServiceKey{Namespace: "public", Group: "DEFAULT_GROUP", Name: name}
}

var orders = service("orders")

// publish shows ports as the instances of a service.
func (w *world) publish(k model.ServiceKey, ports ...int) {
	w.stamp++
	r := &model.Record{
		Key:     model.RecordKey{Publisher: model.Publisher{ID: "p"}, Service: k},
		Version: model.Version{Stamp: w.stamp, Origin: 1},
	}
	for _, p := range ports {
		r.Instances = append(r.Instances, model.Instance{IP: "10.0.0.1", Port: int32(p), Weight: 1, Healthy: true, Enabled: true})
	}
	w.store.Apply(w.time(), r)
}

// subscribe does what a member does for a subscription: the answer shows the present list.
func (w *world) subscribe(c *push.Conn, k model.ServiceKey) {
	w.hub.Subscribe(c, k, "")
	c.Told(k, w.store.Answer(w.time(), k, true).Content())
}

// take returns what the connection's writer writes now.
func take(c *push.Conn) []push.Item {
	var items []push.Item
	for {
		it, ok := c.Next()
		if !ok {
			return items
		}
		items = append(items, it)
	}
}

// shown are the ports that each push showed.
func shown(items []push.Item) [][]int {
	var lists [][]int
	for _, it := range items {
		ports := []int{}
		for _, h := range it.Snapshot.Hosts {
			ports = append(ports, int(h.Port))
		}
		lists = append(lists, ports)
	}
	return lists
}

// rung reports whether the connection has asked for its writer since this was asked last.
func rung(c *push.Conn) bool {
	was := false
	c.OnWake(func() { was = true })
	c.OnWake(nil) // what it asks from now on it says to the next one
	return was
}

// bell rings when the connection asks for its writer.
func bell(c *push.Conn) <-chan struct{} {
	b := make(chan struct{}, 1)
	c.OnWake(func() {
		select {
		case b <- struct{}{}:
		default:
		}
	})
	return b
}

func want(t *testing.T, what string, c *push.Conn, lists ...[]int) []push.Item {
	t.Helper()
	items := take(c)
	if d := cmp.Diff(lists, shown(items)); d != "" {
		t.Errorf("%s: %s", what, d)
	}
	return items
}

// TestWindow: the first change goes out at once, more within the window are one push with the last of them (L4).
func TestWindow(t *testing.T) {
	w := opened()
	c := w.hub.Open()
	w.subscribe(c, orders)
	want(t, "after the answer", c)

	w.publish(orders, 1)
	if !rung(c) {
		t.Error("the writer is not woken")
	}
	want(t, "the first change", c, []int{1})
	for p := 2; p <= 100; p++ {
		w.publish(orders, 1, p)
	}
	want(t, "within the window", c)
	w.pass(window - 10*time.Millisecond)
	want(t, "before its end", c)
	w.pass(10 * time.Millisecond)
	want(t, "at its end", c, []int{1, 100})
	w.publish(orders, 7)
	want(t, "within the next window", c)
	w.pass(window)
	want(t, "at its end", c, []int{7})
	w.pass(2 * window)
	want(t, "later", c)
	w.publish(orders, 8)
	want(t, "the first change after a pause", c, []int{8})

	// a service does not wait for another one's window
	w.subscribe(c, service("mail"))
	w.publish(service("mail"), 9)
	want(t, "another service", c, []int{9})
}

// TestTickSaysWhenNext: whoever calls Tick may sleep until then, or until a window begins.
func TestTickSaysWhenNext(t *testing.T) {
	w := opened()
	c := w.hub.Open()
	w.subscribe(c, orders)
	if _, idle := w.hub.Tick(); !idle || len(w.hub.Begun()) != 0 {
		t.Error("there is a window, and there was no change")
	}
	w.publish(orders, 1)
	if len(w.hub.Begun()) != 1 {
		t.Error("whoever ticks is not told of the first window")
	}
	<-w.hub.Begun()
	w.publish(orders, 2)
	w.now += 10 * time.Millisecond
	if next, idle := w.hub.Tick(); idle || next != window-10*time.Millisecond {
		t.Errorf("with a window: %v, idle %v, want the rest of it", next, idle)
	}
	w.now += 40 * time.Millisecond
	if next, idle := w.hub.Tick(); idle || next != window {
		t.Errorf("at its end, with a change: %v, idle %v, want another window", next, idle)
	}
	w.now += window
	if _, idle := w.hub.Tick(); !idle {
		t.Error("without another change there is still a window")
	}
}

// TestSlotIsTheNewest: a reader that is slow gets one list a service, the newest, whatever changed meanwhile (L1).
func TestSlotIsTheNewest(t *testing.T) {
	w := opened()
	c := w.hub.Open()
	services := []model.ServiceKey{service("a"), service("b")}
	for _, k := range services {
		w.subscribe(c, k)
	}
	w.reads = 0
	for i := range 500 {
		for _, k := range services {
			w.publish(k, i)
		}
		w.pass(window)
	}
	if w.reads != 0 {
		t.Errorf("%d lists were read for one who takes none", w.reads)
	}
	items := want(t, "at last", c, []int{499}, []int{499})
	if len(items) == 2 && (items[0].Snapshot.Service != services[0] || items[1].Snapshot.Service != services[1]) {
		t.Errorf("not in the order of first change: %v, %v", items[0].Snapshot.Service, items[1].Snapshot.Service)
	}
}

// TestUnchangedIsNotPushed: a notice is no push when the client was told the same.
func TestUnchangedIsNotPushed(t *testing.T) {
	w := opened()
	w.publish(orders, 1)
	c := w.hub.Open()
	w.subscribe(c, orders)
	steps := map[string]func(){
		"a notice for nothing":      func() { w.hub.Notify(orders) },
		"the same, stamped again":   func() { w.publish(orders, 1) },
		"there and back in between": func() { w.publish(orders, 2); w.publish(orders, 1) },
		"the hub opens again":       func() { w.hub.SetOpen(false); w.hub.SetOpen(true) },
		"subscribed again":          func() { w.subscribe(c, orders) },
	}
	for name, step := range steps {
		w.pass(3 * window)
		step()
		w.pass(3 * window)
		if items := take(c); len(items) != 0 {
			t.Errorf("%s: pushed %v", name, shown(items))
		}
	}
	other := w.hub.Open()
	w.subscribe(other, orders)
	w.publish(orders, 1, 2)
	want(t, "a change, to one", c, []int{1, 2})
	want(t, "and to the other", other, []int{1, 2})
	if a, b := w.store.Snapshot(w.time(), orders), w.store.Snapshot(w.time(), orders); a != b {
		t.Error("subscribers do not share one list")
	}
}

// TestEmptyListIsPushed: the last one's departure is a change like any other.
func TestEmptyListIsPushed(t *testing.T) {
	w := opened()
	w.publish(orders, 1)
	c := w.hub.Open()
	w.subscribe(c, orders)
	w.publish(orders)
	want(t, "the last one leaves", c, []int{})
}

// TestFirstListIsStampedNow: who was told nothing here yet may hold a list of another member, later than when ours last changed, and
// would drop an older one (trap 5).
func TestFirstListIsStampedNow(t *testing.T) {
	w := opened()
	w.publish(orders, 1)
	here := w.hub.Open()
	w.subscribe(here, orders)
	w.hub.SetOpen(false)
	w.pass(time.Minute)
	elsewhere := w.time().Wall // its list is of now
	w.pass(time.Second)
	c := w.hub.Open()
	w.hub.Subscribe(c, orders, "") // and is not answered
	w.hub.SetOpen(true)
	it, ok := c.Next()
	if !ok || it.Snapshot.Revision <= elsewhere {
		t.Errorf("pushed %v, %+v; want a list of after %d", ok, it.Snapshot, elsewhere)
	}
	if it, ok := here.Next(); ok {
		t.Errorf("who was told it is pushed %+v again", it.Snapshot)
	}
}

func TestAcknowledgements(t *testing.T) {
	tests := map[string]struct {
		answer func(w *world, c *push.Conn, id uint64)
		again  time.Duration // when the same list comes again; 0 = never
	}{
		"taken":              {func(_ *world, c *push.Conn, id uint64) { c.Ack(id, true) }, 0},
		"no answer":          {func(*world, *push.Conn, uint64) {}, 5 * time.Second},
		"refused":            {func(_ *world, c *push.Conn, id uint64) { c.Ack(id, false) }, time.Second},
		"refused, then so":   {func(_ *world, c *push.Conn, id uint64) { c.Ack(id, false); c.Ack(id, true) }, 0},
		"another id":         {func(_ *world, c *push.Conn, id uint64) { c.Ack(id+100, true) }, 5 * time.Second},
		"taken twice":        {func(_ *world, c *push.Conn, id uint64) { c.Ack(id, true); c.Ack(id, true) }, 0},
		"subscribed again":   {func(w *world, c *push.Conn, _ uint64) { w.now += time.Millisecond; w.subscribe(c, orders) }, 0},
		"not subscribed now": {func(w *world, c *push.Conn, _ uint64) { w.hub.Unsubscribe(c, orders) }, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := opened()
			c := w.hub.Open()
			w.subscribe(c, orders)
			w.publish(orders, 1)
			first := want(t, "the push", c, []int{1})[0]
			test.answer(w, c, first.ID)
			if test.again == 0 {
				w.pass(20*time.Second, c)
				want(t, "later", c)
				return
			}
			w.pass(test.again-10*time.Millisecond, c)
			want(t, "too early", c)
			rung(c)
			w.pass(10*time.Millisecond, c)
			if !rung(c) {
				t.Error("the writer is not woken")
			}
			again := want(t, "in time", c, []int{1})
			if len(again) == 1 && (again[0].ID <= first.ID || again[0].Snapshot.Revision < first.Snapshot.Revision) {
				t.Errorf("sent again with id %d after %d", again[0].ID, first.ID)
			}
		})
	}
}

// TestOlderPushNeedsNoAcknowledgement: what was replaced by a newer list is not sent again.
func TestOlderPushNeedsNoAcknowledgement(t *testing.T) {
	w := opened()
	c := w.hub.Open()
	w.subscribe(c, orders)
	w.publish(orders, 1)
	first := want(t, "the first", c, []int{1})[0]
	w.pass(window)
	w.publish(orders, 2)
	second := want(t, "the second", c, []int{2})[0]
	c.Ack(first.ID, false)
	c.Ack(second.ID, true)
	w.pass(20*time.Second, c)
	want(t, "later", c)
}

// TestOpen: nothing incomplete is ever pushed; on opening, everybody is told what was not seen (R4, R5).
func TestOpen(t *testing.T) {
	t.Run("before the first opening", func(t *testing.T) {
		w := newWorld()
		c := w.hub.Open()
		w.hub.Subscribe(c, orders, "a") // reads are not open: the answer showed nothing
		w.publish(orders, 1)
		w.pass(time.Second, c)
		want(t, "closed", c)
		w.publish(orders, 1, 2)
		w.hub.SetOpen(true)
		if !rung(c) {
			t.Error("the writer is not woken")
		}
		if items := want(t, "opened", c, []int{1, 2}); len(items) == 1 && items[0].Clusters != "a" {
			t.Errorf("pushed for clusters %q", items[0].Clusters)
		}
	})
	t.Run("what was marked before the closing", func(t *testing.T) {
		w := opened()
		w.publish(orders, 1, 2)
		c := w.hub.Open()
		w.subscribe(c, orders)
		w.publish(orders, 1)
		w.hub.SetOpen(false)
		w.publish(orders)
		want(t, "closed", c)
		w.publish(orders, 1, 3)
		w.hub.SetOpen(true)
		want(t, "opened", c, []int{1, 3})
	})
	t.Run("what was not acknowledged", func(t *testing.T) {
		w := opened()
		c := w.hub.Open()
		w.subscribe(c, orders)
		w.publish(orders, 1, 2)
		want(t, "the push", c, []int{1, 2})
		w.hub.SetOpen(false)
		w.publish(orders, 1)
		w.pass(10*time.Second, c)
		want(t, "closed", c)
		w.publish(orders, 1, 2)
		w.hub.SetOpen(true)
		want(t, "opened", c, []int{1, 2})
	})
	t.Run("closed while the list is read", func(t *testing.T) {
		w := opened()
		var hub *push.Hub
		closes := true
		read := func(k model.ServiceKey) *catalog.Snapshot {
			if closes {
				hub.SetOpen(false)
			}
			return w.store.Snapshot(w.time(), k)
		}
		hub = push.New(push.Options{Snapshot: read, Answer: read, Now: w.time, Window: window})
		hub.SetOpen(true)
		c := hub.Open()
		hub.Subscribe(c, orders, "")
		w.publish(orders, 1)
		hub.Notify(orders)
		want(t, "closed", c)
		closes = false
		hub.SetOpen(true)
		want(t, "opened", c, []int{1})
	})
	t.Run("control items go through", func(t *testing.T) {
		w := newWorld()
		c := w.hub.Open()
		c.Do(push.ItemDetect)
		if it, ok := c.Next(); !ok || it.Kind != push.ItemDetect {
			t.Errorf("took %+v, %v", it, ok)
		}
	})
}

func TestControl(t *testing.T) {
	w := opened()
	c := w.hub.Open()
	w.subscribe(c, orders)
	w.publish(orders, 1)
	rung(c)
	for _, k := range []push.ItemKind{push.ItemReset, push.ItemDetect, push.ItemReset, push.ItemDetect} {
		c.Do(k)
	}
	if !rung(c) {
		t.Error("the writer is not woken")
	}
	kinds := []push.ItemKind{}
	ids := map[uint64]bool{}
	for _, it := range take(c) {
		kinds = append(kinds, it.Kind)
		ids[it.ID] = true
	}
	if d := cmp.Diff([]push.ItemKind{push.ItemReset, push.ItemDetect, push.ItemNotify}, kinds); d != "" {
		t.Error(d)
	}
	if len(ids) != 3 || ids[0] {
		t.Errorf("the ids are not different ones: %v", ids)
	}
	w.pass(window)
	w.publish(orders, 2)
	c.Do(push.ItemDetect)
	if c.Closing() {
		t.Error("closing, and nobody asked for that")
	}
	c.Do(push.ItemClose)
	if !c.Closing() {
		t.Error("not closing, though it waits to be told")
	}
	items := take(c)
	if len(items) != 1 || items[0].Kind != push.ItemClose {
		t.Errorf("closing gives %+v, want nothing else", items)
	}
	c.Do(push.ItemDetect)
	if items := take(c); len(items) != 0 || !c.Closing() {
		t.Errorf("after the end comes %+v; closing: %v", items, c.Closing())
	}
}

func TestUnsubscribe(t *testing.T) {
	w := opened()
	c, other := w.hub.Open(), w.hub.Open()
	for _, conn := range []*push.Conn{c, other} {
		w.subscribe(conn, orders)
		w.subscribe(conn, orders)
	}
	w.subscribe(c, service("mail"))
	if got := w.hub.Subscriptions(); got != 3 {
		t.Errorf("%d subscriptions, want 3", got)
	}
	w.publish(orders, 1)
	w.hub.Unsubscribe(c, orders)
	w.hub.Unsubscribe(c, orders)
	w.hub.Unsubscribe(c, service("unknown"))
	want(t, "unsubscribed", c)
	want(t, "the other", other, []int{1})
	w.subscribe(c, orders)
	w.pass(window)
	w.publish(orders, 2)
	want(t, "subscribed again", c, []int{2})

	w.hub.Close(c)
	w.hub.Close(c)
	if got := w.hub.Subscriptions(); got != 1 {
		t.Errorf("%d subscriptions after closing, want 1", got)
	}
	w.pass(window)
	w.publish(orders, 3)
	want(t, "closed", c)
	// a request that was under way when the connection ended
	w.subscribe(c, orders)
	if got := w.hub.Subscriptions(); got != 1 {
		t.Errorf("%d subscriptions: one belongs to a connection that is no more", got)
	}
	w.hub.Close(other)
	if got := w.hub.Subscriptions(); got != 0 {
		t.Errorf("%d subscriptions at the end", got)
	}
}

// TestNothingIsLeftBehind: whoever subscribes and unsubscribes all day without reading holds no more than at the start.
func TestNothingIsLeftBehind(t *testing.T) {
	w := opened()
	c := w.hub.Open()
	for i := range 1000 {
		w.subscribe(c, orders)
		w.publish(orders, i)
		w.pass(window)
		w.hub.Unsubscribe(c, orders)
	}
	w.subscribe(c, orders)
	w.reads = 0
	w.publish(orders, 7)
	want(t, "at last", c, []int{7})
	if w.reads != 1 {
		t.Errorf("%d marks were left: the list was read so often for one push", w.reads)
	}
}

// TestSubscribersSeeTheEnd: whatever happens on the way, everybody who subscribes has the present list in the end, and
// no revision falls or comes twice.
func TestSubscribersSeeTheEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		services := []model.ServiceKey{service("a"), service("b")}
		type client struct {
			conn *push.Conn
			list map[model.ServiceKey]*catalog.Snapshot
		}
		clients := []client{}
		for range rapid.IntRange(1, 3).Draw(t, "clients") {
			clients = append(clients, client{w.hub.Open(), map[model.ServiceKey]*catalog.Snapshot{}})
		}
		open := false
		read := func(c client, acks bool) {
			for _, it := range take(c.conn) {
				k := it.Snapshot.Service
				if !open {
					t.Fatalf("pushed %v while the hub was closed", k)
				}
				last, subscribed := c.list[k]
				if !subscribed {
					t.Fatalf("pushed %v to one who does not subscribe to it", k)
				}
				if last != nil && it.Snapshot.Revision < last.Revision {
					t.Fatalf("revision %d of %v after %d", it.Snapshot.Revision, k, last.Revision)
				}
				c.list[k] = it.Snapshot
				if acks {
					c.conn.Ack(it.ID, rapid.Bool().Draw(t, "ok"))
				}
			}
		}
		for i := range rapid.IntRange(1, 60).Draw(t, "steps") {
			c := rapid.SampledFrom(clients).Draw(t, "client")
			k := rapid.SampledFrom(services).Draw(t, "service")
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0, 1:
				w.publish(k, i%4)
			case 2:
				w.hub.Subscribe(c.conn, k, "")
				if open {
					c.list[k] = w.store.Answer(w.time(), k, true)
					c.conn.Told(k, c.list[k].Content())
				} else if _, again := c.list[k]; !again {
					c.list[k] = nil // an answer without a list, which who holds one drops
				}
			case 3:
				w.hub.Unsubscribe(c.conn, k)
				delete(c.list, k)
			case 4:
				open = !open
				w.hub.SetOpen(open)
			case 5:
				read(c, true)
			default:
				w.now += time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond
				w.hub.Tick()
				c.conn.Retry()
			}
		}
		open = true
		w.hub.SetOpen(true)
		w.now += time.Second
		w.hub.Tick()
		for _, c := range clients {
			read(c, false)
			for k, last := range c.list {
				// who was never told of a service that is not there holds nothing
				now := w.store.Snapshot(w.time(), k)
				if last == nil && len(now.Hosts) > 0 || last != nil && !cmp.Equal(last.Hosts, now.Hosts) {
					t.Fatalf("a subscriber of %v ends with another list", k)
				}
			}
		}
	})
}

// TestConcurrently: writers of connections, subscriptions and changes at once; in the end everybody has the last list.
func TestConcurrently(t *testing.T) {
	var (
		store *catalog.Store
		hub   *push.Hub
	)
	now := func() model.Time { return model.Time{Wall: 1} }
	hub = push.New(push.Options{
		Snapshot: func(k model.ServiceKey) *catalog.Snapshot { return store.Snapshot(now(), k) },
		Answer:   func(k model.ServiceKey) *catalog.Snapshot { return store.Answer(now(), k, false) },
		Now:      now,
	})
	store = catalog.New(catalog.Options{Revise: func(now model.Time) int64 { return now.Wall }, OnChange: hub.Notify})
	hub.SetOpen(true)
	const conns, changes = 8, 300
	last := make([]*catalog.Snapshot, conns)
	var changing, reading sync.WaitGroup
	done := make(chan struct{})
	open := make([]*push.Conn, conns)
	for i := range conns {
		open[i] = hub.Open()
		hub.Subscribe(open[i], orders, "")
		rings := bell(open[i])
		reading.Go(func() {
			for {
				for _, it := range take(open[i]) {
					last[i] = it.Snapshot
					open[i].Ack(it.ID, true)
				}
				select {
				case <-rings:
				case <-done:
					return
				}
			}
		})
	}
	for w := range 4 {
		changing.Go(func() {
			other := hub.Open()
			for i := range changes {
				r := &model.Record{
					Key:       model.RecordKey{Publisher: model.Publisher{ID: fmt.Sprint(w)}, Service: orders},
					Version:   model.Version{Stamp: model.Stamp(i + 1), Origin: 1},
					Instances: []model.Instance{{IP: "10.0.0.1", Port: int32(w*changes + i)}},
				}
				store.Apply(now(), r)
				hub.Subscribe(other, orders, "")
				hub.Tick()
				hub.Unsubscribe(other, orders)
			}
			hub.Close(other)
		})
	}
	changing.Wait()
	close(done)
	reading.Wait()
	if got := hub.Subscriptions(); got != conns {
		t.Errorf("%d subscriptions are left, want %d", got, conns)
	}
	for i, c := range open {
		for _, it := range take(c) {
			last[i] = it.Snapshot
		}
		if d := cmp.Diff(store.Snapshot(now(), orders).Hosts, last[i].Hosts); d != "" {
			t.Errorf("connection %d ends with another list: %s", i, d)
		}
	}
}
