package catalog_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
)

const tombstoneLifetime = 10 * time.Minute

var orders = model.ServiceKey{Namespace: "public", Group: "DEFAULT_GROUP", Name: "orders"}

// at is the time since the start, on a wall that agrees.
func at(d time.Duration) model.Time {
	return model.Time{Mono: d, Wall: 1_800_000_000_000 + d.Milliseconds()}
}

func newStore() *catalog.Store {
	return catalog.New(catalog.Options{
		Revise: func(now model.Time) int64 { return now.Wall }, TombstoneLifetime: tombstoneLifetime,
	})
}

func connection(id string) model.Publisher {
	return model.Publisher{Kind: model.KindConnection, Member: 1, ID: id}
}

func version(stamp model.Stamp) model.Version { return model.Version{Stamp: stamp, Origin: 1} }

func instance(port int) model.Instance {
	return model.Instance{IP: "10.0.0.1", Port: int32(port), Cluster: "DEFAULT", Weight: 1, Healthy: true, Enabled: true}
}

// record is what one connection says of orders.
func record(id string, stamp model.Stamp, instances ...model.Instance) *model.Record {
	return &model.Record{
		Key: model.RecordKey{Publisher: connection(id), Service: orders}, Version: version(stamp), Instances: instances,
	}
}

func ports(hosts []model.Instance) []int {
	ps := []int{}
	for _, h := range hosts {
		ps = append(ps, int(h.Port))
	}
	return ps
}

// TestSupersession: the older record goes in the step that brings the newer, so that nobody sees two or none (P7); what
// its origin stamps later lives.
func TestSupersession(t *testing.T) {
	s := newStore()
	older := record("old", 5, instance(80))
	s.Apply(at(0), older)
	newer := record("new", 7, instance(80), instance(81))
	newer.Rare = model.NewSuccession([]model.Superseded{{Publisher: older.Key.Publisher, Version: older.Version}}, nil)
	changes := s.Apply(at(0), newer)

	if len(changes) != 2 || changes[0].Key != newer.Key || changes[0].Old != nil || changes[0].New != newer {
		t.Fatalf("the newer record changed %v", changes)
	}
	gone := s.Record(older.Key)
	if d := cmp.Diff(catalog.Change{Key: older.Key, Old: older, New: gone}, changes[1]); d != "" {
		t.Error(d)
	}
	if !gone.Deleted || gone.Version != older.Version || *gone.Successor() != newer.Key.Publisher {
		t.Errorf("the older record is %+v", gone)
	}
	if got := ports(s.Snapshot(at(0), orders).Hosts); !cmp.Equal(got, []int{80, 81}) || s.Instances() != 2 {
		t.Errorf("ports %v and %d instances are shown", got, s.Instances())
	}
	if again := s.Apply(at(time.Second), older); len(again) != 0 {
		t.Errorf("the superseded version came back: %v", again)
	}
	alive := older.Restamped(6, 1)
	if changes := s.Apply(at(time.Second), alive); len(changes) != 1 || s.Record(older.Key) != alive {
		t.Errorf("a later stamp does not live: %v", changes)
	}
	// the fact is told again with each copy of the newer record: it still names the version that was superseded only
	s.Apply(at(time.Second), newer.WithAnswered())
	if s.Record(older.Key) != alive {
		t.Error("the supersession killed a later stamp")
	}
}

// TestSupersessionAheadOfTheOlder: the tombstone waits for an older record that comes late, also when the newer one has
// been deregistered since (P9).
func TestSupersessionAheadOfTheOlder(t *testing.T) {
	s := newStore()
	older := record("old", 5, instance(80))
	newer := record("new", 7, instance(80))
	newer.Rare = model.NewSuccession([]model.Superseded{{Publisher: older.Key.Publisher, Version: older.Version}}, nil)
	s.Apply(at(0), newer.Tombstone(version(9)))
	s.Apply(at(0), older)
	if snap := s.Snapshot(at(0), orders); len(snap.Hosts) != 0 || s.Instances() != 0 || s.Sum() != 0 {
		t.Errorf("a ghost is shown: %v", snap.Hosts)
	}
}

func TestUpdateWithoutChange(t *testing.T) {
	told := 0
	s := catalog.New(catalog.Options{
		Revise: func(now model.Time) int64 { return now.Wall }, TombstoneLifetime: tombstoneLifetime,
		OnChange: func(k model.ServiceKey) {
			if told++; k != orders {
				t.Errorf("told of %v", k)
			}
		},
	})
	r := record("a", 5, instance(80))
	tests := []struct {
		name    string
		write   *model.Record
		changes int
		told    int
	}{
		{"nothing, to a service that is not there", nil, 0, 0},
		{"a record", r, 1, 1},
		{"the same again", r, 0, 0},
		{"nothing", nil, 0, 0},
		{"an older one", record("a", 4, instance(81)), 0, 0},
		{"knowledge, which no client sees", r.WithAnswered(), 1, 0},
		{"nobody vouches, which no client sees", r.WithUnclaimed(model.CauseOurs, 0), 1, 0},
		{"a new stamp", r.Restamped(6, 1), 1, 1},
		{"a removal", r.Tombstone(version(7)), 1, 1},
		{"a removal of what is not there", record("b", 5).Tombstone(version(5)), 1, 0},
	}
	for _, test := range tests {
		told = 0
		key := r.Key
		if test.write != nil {
			key = test.write.Key
		}
		changes := s.Update(at(0), key, func(cur *model.Record) *model.Record {
			if cur != nil && cur.Key != key {
				t.Errorf("%s: shown the record of %v", test.name, cur.Key)
			}
			return test.write
		})
		if len(changes) != test.changes || told != test.told {
			t.Errorf("%s: %d changes, told %d times; want %d and %d", test.name, len(changes), told, test.changes, test.told)
		}
	}
}

// anyHistory is a set of records of few publishers and services, such as members send around.
func anyHistory(t *rapid.T) []*model.Record {
	var history []*model.Record
	publishers := []model.Publisher{
		connection("a"), connection("b"), {Kind: model.KindBeat, ID: "10.0.0.1:80"}, {Kind: model.KindOverride, ID: "10.0.0.1:80:DEFAULT"},
	}
	for i := range rapid.IntRange(1, 12).Draw(t, "records") {
		p := rapid.SampledFrom(publishers).Draw(t, "publisher")
		k := model.ServiceKey{Namespace: "public", Group: "g", Name: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "service")}
		r := &model.Record{Key: model.RecordKey{Publisher: p, Service: k}, Version: version(model.Stamp(i + 1))}
		switch rapid.IntRange(0, 4).Draw(t, "what") {
		case 0:
			r = r.Tombstone(r.Version)
		case 1:
			older := model.Superseded{Publisher: publishers[0], Version: version(model.Stamp(rapid.IntRange(1, i+1).Draw(t, "superseded")))}
			if p != publishers[0] {
				r.Rare = model.NewSuccession([]model.Superseded{older}, nil)
			}
			fallthrough
		default:
			for range rapid.IntRange(0, 2).Draw(t, "instances") {
				r.Instances = append(r.Instances, instance(rapid.IntRange(80, 82).Draw(t, "port")))
			}
		}
		history = append(history, r)
		if !r.Deleted && rapid.Bool().Draw(t, "unclaimed too") {
			history = append(history, r.WithUnclaimed(model.CauseOurs, time.Duration(i)))
		}
	}
	return history
}

// TestAnyOrderOfTheSame: members that were told the same in any order, any number of times, agree on sums, counts and lists.
func TestAnyOrderOfTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		history := anyHistory(t)
		a, b := newStore(), newStore()
		for _, r := range history {
			a.Apply(at(0), r)
		}
		for _, r := range rapid.Permutation(history).Draw(t, "order") {
			b.Apply(at(0), r)
			if rapid.Bool().Draw(t, "twice") {
				b.Apply(at(0), r)
			}
			b.Snapshot(at(0), r.Key.Service)
		}
		for _, s := range []*catalog.Store{a, b} {
			checkSums(t, s)
		}
		if a.Sum() != b.Sum() || a.Instances() != b.Instances() || a.Services() > len(history) {
			t.Fatalf("sums %x and %x, %d and %d instances", a.Sum(), b.Sum(), a.Instances(), b.Instances())
		}
		for _, name := range []string{"x", "y"} {
			k := model.ServiceKey{Namespace: "public", Group: "g", Name: name}
			if d := cmp.Diff(a.Snapshot(at(0), k).Hosts, b.Snapshot(at(0), k).Hosts); d != "" {
				t.Fatal(d)
			}
		}
	})
}

// checkSums: sums and counts that are kept in step are those of the records, and every record is in a shard that counts as filled.
func checkSums(t *rapid.T, s *catalog.Store) {
	sums := map[model.Shard]uint64{}
	var root uint64
	instances := 0
	for _, r := range s.Collect(nil) {
		sums[r.Key.Service.Shard()] += r.Digest()
		root += r.Digest()
		if !r.Deleted && r.Key.Publisher.Kind != model.KindOverride {
			instances += len(r.Instances)
		}
	}
	if root != s.Sum() || instances != s.Instances() {
		t.Fatalf("the sum is %x and there are %d instances, want %x and %d", s.Sum(), s.Instances(), root, instances)
	}
	filled := s.Filled()
	for shard, sum := range sums {
		if got := s.Sums(shard, 1)[0]; got != sum {
			t.Fatalf("the sum of shard %d is %x, want %x", shard, got, sum)
		}
		if got := s.SumOf(model.ShardsOf(shard)); got != sum || !filled.Has(shard) {
			t.Fatalf("the sum over the set of shard %d is %x, want %x; counts as filled: %v", shard, got, sum, filled.Has(shard))
		}
	}
}

// TestSweep: a tombstone lives ten minutes, a service a minute after its last instance; neither takes the other along.
func TestSweep(t *testing.T) {
	type holds struct{ Records, Services int }
	a, other := record("a", 5, instance(80)), record("b", 6, instance(81))
	steps := []struct {
		name  string
		at    time.Duration
		write *model.Record
		want  holds
	}{
		{"registered", 0, a, holds{1, 1}},
		{"removed", time.Minute, a.Tombstone(version(6)), holds{1, 1}},
		{"the service lingers", 2*time.Minute - 1, nil, holds{1, 1}},
		{"and is not listed any more", 2 * time.Minute, nil, holds{1, 0}},
		{"somebody else comes", 3 * time.Minute, other, holds{2, 1}},
		{"the tombstone is kept", 11*time.Minute - 1, nil, holds{2, 1}},
		{"and forgotten", 11 * time.Minute, nil, holds{1, 1}},
		{"the other goes", 12 * time.Minute, other.Tombstone(version(7)), holds{1, 1}},
		{"and comes back within the minute", 12*time.Minute + 30*time.Second, record("b", 8, instance(81)), holds{1, 1}},
		{"so that it stays", 14 * time.Minute, nil, holds{1, 1}},
		{"also when its first tombstone would end", 23 * time.Minute, nil, holds{1, 1}},
		{"and goes", 24 * time.Minute, other.Tombstone(version(9)), holds{1, 1}},
		{"not listed", 25 * time.Minute, nil, holds{1, 0}},
		{"nothing is left", 34 * time.Minute, nil, holds{0, 0}},
	}
	s := newStore()
	for _, step := range steps {
		if step.write != nil {
			s.Apply(at(step.at), step.write)
		}
		s.Sweep(at(step.at))
		if got := (holds{len(s.Collect(nil)), s.Services()}); got != step.want {
			t.Errorf("%s: %+v, want %+v", step.name, got, step.want)
		}
		listed := step.want.Services == 1
		if got := s.Snapshot(at(step.at), orders).Known; got != listed || s.Known(orders) != listed || len(s.Names("public", "DEFAULT_GROUP")) != step.want.Services {
			t.Errorf("%s: a snapshot says known: %v, the store %v, names are %v", step.name, got, s.Known(orders), s.Names("public", "DEFAULT_GROUP"))
		}
		if got := !s.Filled().Empty(); got != (step.want.Records > 0) {
			t.Errorf("%s: its shard counts as filled: %v", step.name, got)
		}
	}
}

// TestSumsOfAll: what is summed by shard is what is summed over all.
func TestSumsOfAll(t *testing.T) {
	s := newStore()
	for i := range 100 {
		r := record("a", 1, instance(80))
		r.Key.Service.Name = fmt.Sprint(i)
		s.Apply(at(0), r)
	}
	sums := s.Sums(0, model.ShardCount)
	var root uint64
	held := 0
	for shard, sum := range sums {
		root += sum
		if sum != 0 {
			held++
		}
		if got := s.Sums(model.Shard(shard), 1)[0]; got != sum {
			t.Fatalf("the sum of shard %d alone is %x, among all %x", shard, got, sum)
		}
	}
	if root != s.Sum() || held < 90 {
		t.Errorf("the sums of %d shards add up to %x, want %x", held, root, s.Sum())
	}
}

func TestNamesAndCollect(t *testing.T) {
	s := newStore()
	keys := []model.ServiceKey{
		{Namespace: "public", Group: "g", Name: "b"},
		{Namespace: "public", Group: "g", Name: "a"},
		{Namespace: "public", Group: "h", Name: "c"},
		{Namespace: "other", Group: "g", Name: "d"},
	}
	for i, k := range keys {
		r := record("a", model.Stamp(i+1), instance(80))
		r.Key.Service = k
		s.Apply(at(0), r)
	}
	if d := cmp.Diff([]string{"a", "b"}, s.Names("public", "g")); d != "" {
		t.Error(d)
	}
	if got := s.Names("public", "none"); got == nil || len(got) != 0 {
		t.Errorf("names of a group that is not there: %#v, want an empty list", got)
	}
	names := func(rs []*model.Record) []string {
		var ns []string
		for _, r := range rs {
			ns = append(ns, r.Key.Service.Name)
		}
		return ns
	}
	if d := cmp.Diff([]string{"d", "a", "b", "c"}, names(s.Collect(nil))); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"d", "b"}, names(s.InShards([]model.Shard{keys[0].Shard(), keys[3].Shard()}))); d != "" {
		t.Error(d)
	}
	if got := s.InShards(nil); len(got) != 0 {
		t.Errorf("no shards hold %v", got)
	}
	if got := s.Service(keys[1]); len(got) != 1 || got[0].Key.Service != keys[1] {
		t.Errorf("the service's records are %v", got)
	}
}

// TestConcurrently: writers, readers and sweeps on few services at once leave sums and counts in step.
func TestConcurrently(t *testing.T) {
	var s *catalog.Store
	s = catalog.New(catalog.Options{
		Revise: func(now model.Time) int64 { return now.Wall }, TombstoneLifetime: time.Second,
		// as the hub does: the newest is read in the callback, with no lock held
		OnChange: func(k model.ServiceKey) { s.Snapshot(at(0), k) },
	})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 300 {
				r := record(fmt.Sprint(w), model.Stamp(i+1), instance(80+w))
				r.Key.Service.Name = fmt.Sprint(i % 3)
				if i%5 == 4 {
					r = r.Tombstone(r.Version)
				}
				s.Apply(at(time.Duration(i)*time.Millisecond), r)
				s.Answer(at(0), r.Key.Service, true)
				if i%50 == 0 {
					s.Sweep(at(time.Duration(i) * time.Millisecond))
				}
			}
		})
	}
	wg.Wait()
	var sum uint64
	instances := 0
	for _, r := range s.Collect(nil) {
		sum += r.Digest()
		if !r.Deleted {
			instances += len(r.Instances)
		}
	}
	if sum != s.Sum() || instances != s.Instances() || s.Services() != 3 {
		t.Errorf("sum %x, %d instances, %d services; the records say %x, %d, 3", s.Sum(), s.Instances(), s.Services(), sum, instances)
	}
}
