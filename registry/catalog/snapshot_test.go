package catalog_test

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
)

// TestTwoPublishersOfOneInstance: the newest shows; when it goes, the other does.
func TestTwoPublishersOfOneInstance(t *testing.T) {
	s := newStore()
	weighted := func(w float64) model.Instance {
		in := instance(80)
		in.Weight = w
		return in
	}
	weight := func() []float64 {
		ws := []float64{}
		for _, h := range s.Snapshot(at(0), orders).Hosts {
			ws = append(ws, h.Weight)
		}
		return ws
	}
	first, second := record("a", 5, weighted(1)), record("b", 6, weighted(2))
	steps := []struct {
		name  string
		write *model.Record
		want  []float64
	}{
		{"the second is newer", second, []float64{2}},
		{"the first is older", first, []float64{2}},
		{"the first stamps again", first.Restamped(7, 1), []float64{1}},
		{"the first goes", first.Tombstone(version(8)), []float64{2}},
		{"the second goes", second.Tombstone(version(9)), []float64{}},
	}
	for _, step := range steps {
		s.Apply(at(0), step.write)
		if d := cmp.Diff(step.want, weight()); d != "" {
			t.Errorf("%s: %s", step.name, d)
		}
	}
}

func TestOverrides(t *testing.T) {
	published := instance(80)
	published.Metadata = model.MetadataOf(map[string]string{"zone": "a", "team": "x"})
	lay := func(change func(*model.Instance)) *model.Record {
		in := instance(80)
		change(&in)
		return &model.Record{
			Key:     model.RecordKey{Publisher: model.Publisher{Kind: model.KindOverride, ID: in.Key().String()}, Service: orders},
			Version: version(9), Instances: []model.Instance{in},
		}
	}
	tests := map[string]struct {
		override func(*model.Instance)
		want     func(*model.Instance)
	}{
		"weight and enabled": {
			func(i *model.Instance) { i.Weight, i.Enabled = 0, false },
			func(i *model.Instance) { i.Weight, i.Enabled = 0, false },
		},
		"metadata is laid over": {
			func(i *model.Instance) { i.Metadata = model.MetadataOf(map[string]string{"zone": "b", "new": "n"}) },
			func(i *model.Instance) {
				i.Metadata = model.MetadataOf(map[string]string{"zone": "b", "team": "x", "new": "n"})
			},
		},
		"health is the publisher's": {
			func(i *model.Instance) { i.Healthy = false }, func(*model.Instance) {},
		},
		"of another instance": {
			func(i *model.Instance) { i.Port, i.Weight = 81, 5 }, func(*model.Instance) {},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStore()
			o := lay(test.override)
			s.Apply(at(0), o)
			if s.Known(orders) || s.Instances() != 0 || len(s.Snapshot(at(0), orders).Hosts) != 0 {
				t.Error("an override alone makes a service")
			}
			r := record("a", 10, published)
			s.Apply(at(0), r)
			want := published
			test.want(&want)
			if d := cmp.Diff([]model.Instance{want}, s.Snapshot(at(0), orders).Hosts); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(map[string]string{"zone": "a", "team": "x"}, r.Instances[0].Metadata.Map()); d != "" {
				t.Errorf("the record itself was changed: %s", d)
			}
			s.Apply(at(0), o.Tombstone(version(11)))
			if d := cmp.Diff([]model.Instance{published}, s.Snapshot(at(0), orders).Hosts); d != "" {
				t.Errorf("after the override: %s", d)
			}
		})
	}
}

func TestSelect(t *testing.T) {
	in := func(port int, cluster string, healthy, enabled bool) model.Instance {
		i := instance(port)
		i.Cluster, i.Healthy, i.Enabled = cluster, healthy, enabled
		return i
	}
	s := newStore()
	s.Apply(at(0), record("a", 1, in(1, "a", true, true), in(2, "b", true, true), in(3, "b", false, true), in(4, "a", true, false)))
	tests := map[string]struct {
		clusters string
		healthy  bool
		want     []int
	}{
		"all":                  {"", false, []int{1, 2, 3}},
		"healthy":              {"", true, []int{1, 2}},
		"a cluster":            {"b", false, []int{2, 3}},
		"clusters with blanks": {" a , b", true, []int{1, 2}},
		"in any order":         {"b,a", false, []int{1, 2, 3}},
		"again and again":      {"b,c,b,b", false, []int{2, 3}},
		"only commas":          {",,", false, []int{1, 2, 3}},
		"unknown":              {"c", false, []int{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			hosts, protected := s.Snapshot(at(0), orders).Select(test.clusters, test.healthy)
			if d := cmp.Diff(test.want, ports(hosts)); d != "" || protected {
				t.Errorf("protected %v: %s", protected, d)
			}
		})
	}
}

// TestProtected: with few healthy ones all are shown as healthy, to whoever does not ask for healthy ones alone. What is shown beside
// others changes, and so does the revision.
func TestProtected(t *testing.T) {
	in := func(port int, cluster string, healthy, enabled bool) model.Instance {
		i := instance(port)
		i.Cluster, i.Healthy, i.Enabled = cluster, healthy, enabled
		return i
	}
	configured := func(stamp model.Stamp, threshold float32) *model.Record {
		return &model.Record{
			Key:     model.RecordKey{Publisher: model.Publisher{Kind: model.KindSettings}, Service: orders},
			Version: version(stamp), Rare: &model.Rare{Settings: &model.Settings{ProtectThreshold: threshold}},
		}
	}
	s := newStore()
	s.Apply(at(0), record("a", 1, in(1, "a", true, true), in(2, "b", false, true), in(3, "b", false, true), in(4, "a", false, false)))
	before := s.Snapshot(at(0), orders)
	s.Apply(at(0), configured(2, 0.4))
	snap := s.Snapshot(at(0), orders)
	if snap.Revision <= before.Revision || snap.Content() <= before.Content() {
		t.Error("the settings are no change")
	}
	if later := s.Answer(at(time.Second), orders, true); later.Settings == nil {
		t.Error("a later answer has no settings")
	}
	tests := map[string]struct {
		clusters  string
		only      bool
		healthy   int
		protected bool
	}{
		"one of three":               {"", false, 3, true},
		"healthy ones alone":         {"", true, 1, false},
		"the only one of a cluster":  {"a", false, 1, false},
		"none of a cluster":          {"b", false, 2, true},
		"none of a cluster, healthy": {"b", true, 0, false},
		"no cluster":                 {"c", false, 0, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			hosts, protected := snap.Select(test.clusters, test.only)
			healthy := 0
			for _, h := range hosts {
				if h.Healthy {
					healthy++
				}
			}
			if protected != test.protected || healthy != test.healthy {
				t.Errorf("protected %v, %d healthy", protected, healthy)
			}
		})
	}
	for range 2 {
		if _, protected := snap.Encode(catalog.EncodingGRPC, "", false, func([]model.Instance) []byte { return nil }); !protected {
			t.Error("encoded as not protected")
		}
	}
	composed := catalog.Compose(orders, true, s.Service(orders), 7)
	if _, protected := composed.Encode(catalog.EncodingGRPC, "", false, func([]model.Instance) []byte { return nil }); !protected {
		t.Error("what another member holds is not protected")
	}
	if snap.Hosts[1].Healthy {
		t.Error("what is held is changed")
	}
	s.Apply(at(0), configured(3, 0.3))
	if _, protected := s.Snapshot(at(0), orders).Select("", false); protected {
		t.Error("a third is protected by less")
	}
	s.Apply(at(0), configured(3, 0.3).Tombstone(version(4)))
	if got := s.Snapshot(at(0), orders); got.Settings != nil {
		t.Errorf("settings that ended: %+v", got.Settings)
	}
}

// TestSettingsThatNobodySees: where all are healthy a threshold shows nothing, until it protects them always. Answers tell them
// apart all the same.
func TestSettingsThatNobodySees(t *testing.T) {
	s := newStore()
	s.Apply(at(0), record("a", 1, instance(80)))
	for stamp, step := range []struct {
		threshold float32
		pushed    bool
	}{{0, false}, {0.9, false}, {1, true}, {2, false}, {0.5, true}} {
		before := s.Snapshot(at(0), orders)
		s.Apply(at(0), &model.Record{
			Key:     model.RecordKey{Publisher: model.Publisher{Kind: model.KindSettings}, Service: orders},
			Version: version(model.Stamp(stamp + 2)), Rare: &model.Rare{Settings: &model.Settings{ProtectThreshold: step.threshold}},
		})
		got := s.Snapshot(at(0), orders)
		if got.Content() > before.Content() != step.pushed || got.Revision <= before.Revision || got.Settings.ProtectThreshold != step.threshold {
			t.Errorf("threshold %v: pushed %v, revision %d after %d", step.threshold, got.Content() > before.Content(), got.Revision, before.Revision)
		}
		if _, protected := got.Encode(catalog.EncodingGRPC, "", false, func([]model.Instance) []byte { return nil }); protected != (step.threshold >= 1) {
			t.Errorf("threshold %v: protected %v", step.threshold, protected)
		}
	}
}

// TestEncodedFits: what is kept has not the room that it was built in.
func TestEncodedFits(t *testing.T) {
	s := newStore()
	s.Apply(at(0), record("a", 1, instance(80)))
	for range 2 {
		got, _ := s.Snapshot(at(0), orders).Encode(catalog.EncodingGRPC, "", false, func([]model.Instance) []byte { return append(make([]byte, 0, 4096), "bytes"...) })
		if string(got) != "bytes" || cap(got) > 64 {
			t.Errorf("%q keeps %d bytes", got, cap(got))
		}
	}
}

func TestEncodedOnce(t *testing.T) {
	s := newStore()
	s.Apply(at(0), record("a", 1, instance(80)))
	built := 0
	build := func([]model.Instance) []byte { built++; return []byte("bytes") }
	for range 3 {
		if got, _ := s.Snapshot(at(0), orders).Encode(catalog.EncodingGRPC, "", false, build); string(got) != "bytes" {
			t.Errorf("read %q", got)
		}
	}
	if built != 1 {
		t.Errorf("built %d times", built)
	}
	s.Snapshot(at(0), orders).Encode(catalog.EncodingHTTP, "", false, build)
	if built != 2 {
		t.Error("protocols share bytes")
	}
	for range 2 { // a part is nobody else's
		s.Snapshot(at(0), orders).Encode(catalog.EncodingGRPC, "DEFAULT", false, build)
		s.Snapshot(at(0), orders).Encode(catalog.EncodingGRPC, "", true, build)
	}
	if built != 6 {
		t.Errorf("built %d times, want 4 more", built)
	}
	built = 2
	// the same hosts at a later revision
	if later := s.Answer(at(time.Second), orders, true); later.Revision == s.Snapshot(at(0), orders).Revision {
		t.Error("an answer a second later has the same revision")
	} else if later.Encode(catalog.EncodingGRPC, "", false, build); built != 2 {
		t.Error("the same hosts were encoded again for a later revision")
	}
	s.Apply(at(time.Second), record("a", 2, instance(80), instance(81)))
	s.Snapshot(at(time.Second), orders).Encode(catalog.EncodingGRPC, "", false, build)
	if built != 3 {
		t.Error("other hosts have the bytes of those before them")
	}
	for range 2 { // nobody keeps the answer for a service that is not there
		s.Snapshot(at(0), model.ServiceKey{Name: "unknown"}).Encode(catalog.EncodingGRPC, "", false, build)
	}
	if built != 5 {
		t.Errorf("built %d times, want 5", built)
	}
}

// TestRevisions: a list that differs is newer than all that any client was told before, one that does not keeps its
// revision and content, and an answer is not older than the clock.
func TestRevisions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newStore()
		var now time.Duration
		var last *catalog.Snapshot
		var told int64
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			now += time.Duration(rapid.SampledFrom([]int{0, 0, 1, 500}).Draw(t, "ms")) * time.Millisecond
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0:
				s.Apply(at(now), record("a", model.Stamp(i+1), instance(rapid.IntRange(80, 81).Draw(t, "port"))))
			case 1:
				s.Apply(at(now), record("a", 0).Tombstone(version(model.Stamp(i+1))))
			case 2:
				s.Sweep(at(now))
			case 3:
				a := s.Answer(at(now), orders, rapid.Bool().Draw(t, "keep"))
				if a.Revision < told || a.Revision < at(now).Wall {
					t.Fatalf("an answer of %d is older than %d, or than the clock", a.Revision, told)
				}
				told = a.Revision
			}
			snap := s.Snapshot(at(now), orders)
			if last != nil && last.Content() > 0 && cmp.Equal(last.Hosts, snap.Hosts) {
				if snap.Content() != last.Content() || snap.Revision != last.Revision {
					t.Fatalf("an unchanged list went from %d/%d to %d/%d", last.Revision, last.Content(), snap.Revision, snap.Content())
				}
			} else if last != nil && last.Content() > 0 && (snap.Revision <= told || snap.Content() <= last.Content()) {
				t.Fatalf("a new list of %d/%d is not newer than %d, which clients were told", snap.Revision, snap.Content(), told)
			}
			last, told = snap, max(told, snap.Revision)
		}
	})
}

// TestAnswerAfterAnotherMember: a client that comes with a later revision of the same list takes our answer and what
// follows it (trap 5 of nacos-protocol).
func TestAnswerAfterAnotherMember(t *testing.T) {
	here, there := newStore(), newStore()
	r := record("a", 1, instance(80))
	here.Apply(at(0), r)
	there.Apply(at(time.Minute), r)
	early := here.Snapshot(at(0), orders)
	given := there.Snapshot(at(time.Minute), orders).Revision
	if early.Revision >= given {
		t.Fatalf("the other member's revision %d is not later than %d", given, early.Revision)
	}
	now := at(time.Minute + time.Second)
	answer := here.Answer(now, orders, true)
	if answer.Revision <= given {
		t.Errorf("the answer of %d is dropped by a client that holds %d", answer.Revision, given)
	}
	if answer.Content() != early.Content() {
		t.Error("an answer with a later stamp counts as another list: it would be pushed to all")
	}
	here.Apply(now, record("b", 2, instance(81)))
	if next := here.Snapshot(now, orders); next.Revision <= answer.Revision || next.Content() <= answer.Content() {
		t.Errorf("what changes in the same millisecond has revision %d, the answer had %d", next.Revision, answer.Revision)
	}
}

func TestAnswerForNothing(t *testing.T) {
	s := newStore()
	if a := s.Answer(at(0), orders, false); a.Known || a.Content() != 0 || len(a.Hosts) != 0 || a.Revision != at(0).Wall {
		t.Errorf("a query of nothing is answered with %+v", a)
	}
	a := s.Answer(at(0), orders, true)
	if a.Known || len(a.Hosts) != 0 || s.Services() != 0 || len(s.Names("public", "DEFAULT_GROUP")) != 0 {
		t.Errorf("a subscription to nothing makes a service: %+v", a)
	}
	s.Apply(at(0), record("a", 1, instance(80)))
	if snap := s.Snapshot(at(0), orders); snap.Revision <= a.Revision || !snap.Known {
		t.Errorf("the first list has revision %d after an answer of %d", snap.Revision, a.Revision)
	}
}

// TestNaNIsNoChange: a weight that does not equal itself must not be pushed for ever (B2).
func TestNaNIsNoChange(t *testing.T) {
	s := newStore()
	in := instance(80)
	in.Weight = math.NaN()
	s.Apply(at(0), record("a", 1, in))
	before := s.Snapshot(at(0), orders)
	s.Apply(at(time.Second), record("a", 2, in))
	if after := s.Snapshot(at(time.Second), orders); after.Content() != before.Content() {
		t.Error("the same list counts as another one")
	}
}

// TestIDsAreShown: records hold the usual id in short, answers show it.
func TestIDsAreShown(t *testing.T) {
	s := newStore()
	for i, id := range []string{"10.0.0.1#80#DEFAULT#" + orders.Grouped(), "", "own"} {
		in := instance(80)
		in.IP, in.Cluster, in.ID = "10.0.0.1", "DEFAULT", id
		s.Apply(at(0), record("a", model.Stamp(i+1), in.Kept(orders)))
		if hosts := s.Snapshot(at(0), orders).Hosts; len(hosts) != 1 || hosts[0].ID != id {
			t.Errorf("shown: %+v, want the id %q", hosts, id)
		}
	}
}
