package model_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/muster-registry/muster/registry/model"
)

var recordKey = model.RecordKey{
	Publisher: model.Publisher{Kind: model.KindConnection, Member: 1, ID: "c1"},
	Service:   model.ServiceKey{Namespace: "public", Group: "DEFAULT_GROUP", Name: "orders"},
}

// anyRecord is nil, or one of few versions of one record: of one version all live ones say the same, as in life, and
// only what is known beside it differs.
func anyRecord(t *rapid.T, name string) *model.Record {
	if rapid.IntRange(0, 9).Draw(t, name+" nil") == 0 {
		return nil
	}
	v := model.Version{
		Said:   model.Stamp(rapid.IntRange(1, 3).Draw(t, name+" said")),
		Stamp:  model.Stamp(rapid.IntRange(1, 3).Draw(t, name+" stamp")),
		Origin: model.Incarnation(rapid.IntRange(1, 2).Draw(t, name+" origin")),
	}
	r := &model.Record{Key: recordKey, Version: v}
	if r.Deleted = rapid.Bool().Draw(t, name+" deleted"); r.Deleted {
		var older []model.Superseded
		var newer *model.Publisher
		if rapid.Bool().Draw(t, name+" succeeded") {
			newer = &model.Publisher{Member: model.Incarnation(rapid.IntRange(1, 2).Draw(t, name+" successor")), ID: "c2"}
		}
		if rapid.Bool().Draw(t, name+" supersedes") {
			older = []model.Superseded{{Publisher: model.Publisher{ID: "c0"}, Version: model.Version{Stamp: 1}}}
		}
		r.Rare = model.NewSuccession(older, newer)
		return r
	}
	r.Instances = []model.Instance{{IP: "10.0.0.1", Port: int32(v.Stamp), Weight: float64(v.Said*10) + float64(v.Origin)}}
	r.Answered = rapid.Bool().Draw(t, name+" answered")
	if r.Unclaimed = model.Cause(rapid.IntRange(0, 2).Draw(t, name+" cause")); r.Unclaimed != model.Vouched {
		r.Since = time.Duration(rapid.IntRange(0, 3).Draw(t, name+" since")) * time.Second
	}
	return r
}

func merged(a, b *model.Record) *model.Record {
	w, _ := model.Merge(a, b)
	return w
}

// shown leaves out what a tombstone tells about its maker: two of one version kill the same, and either may stay.
func shown(r *model.Record) *model.Record {
	if r == nil || !r.Deleted {
		return r
	}
	return &model.Record{Key: r.Key, Version: r.Version, Deleted: true}
}

func TestMergeIsASemilattice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := anyRecord(t, "a"), anyRecord(t, "b"), anyRecord(t, "c")
		same := func(law string, x, y *model.Record) {
			if d := cmp.Diff(shown(x), shown(y)); d != "" {
				t.Fatalf("%s: %s", law, d)
			}
		}
		same("idempotent", merged(a, a), a)
		same("neutral element", merged(a, nil), a)
		same("neutral element", merged(nil, a), a)
		same("commutative", merged(a, b), merged(b, a))
		same("associative", merged(merged(a, b), c), merged(a, merged(b, c)))
	})
}

// TestMergeKeepsWhatIsKnown: a version never falls, a tombstone beats a live record of its version, knowledge only
// grows at one version, and changed says whether the first differs from the result.
func TestMergeKeepsWhatIsKnown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyRecord(t, "a"), anyRecord(t, "b")
		before := copyOf(a)
		w, changed := model.Merge(a, b)
		if d := cmp.Diff(before, a); d != "" {
			t.Fatalf("a record that was handed over was changed: %s", d)
		}
		if differs := !cmp.Equal(a, w); changed != differs {
			t.Fatalf("changed is %v, but the result differs: %v", changed, differs)
		}
		for _, r := range []*model.Record{a, b} {
			if r == nil {
				continue
			}
			if w == nil || w.Version.Compare(r.Version) < 0 {
				t.Fatalf("%v went down to %v", r, w)
			}
			if w.Version != r.Version {
				continue
			}
			if r.Deleted && !w.Deleted {
				t.Fatalf("the tombstone %v lost to %v", r, w)
			}
			if !r.Deleted && !w.Deleted && (w.Unclaimed < r.Unclaimed || r.Answered && !w.Answered || r.Unclaimed != model.Vouched && w.Since < r.Since) {
				t.Fatalf("%v lost what %v knew", w, r)
			}
		}
	})
}

func copyOf(r *model.Record) *model.Record {
	if r == nil {
		return nil
	}
	c := *r
	return &c
}

func TestKeysAreInOrder(t *testing.T) {
	key := func(service string, p model.Publisher) model.RecordKey {
		return model.RecordKey{Publisher: p, Service: model.ServiceKey{Name: service}}
	}
	sorted := []model.RecordKey{
		key("orders", model.Publisher{Kind: model.KindConnection, Member: 1, ID: "b"}),
		key("orders", model.Publisher{Kind: model.KindConnection, Member: 2, ID: "a"}),
		key("orders", model.Publisher{Kind: model.KindConnection, Member: 2, ID: "b"}),
		key("orders", model.Publisher{Kind: model.KindBeat, ID: "a"}),
		key("prices", model.Publisher{Kind: model.KindConnection, Member: 1, ID: "a"}),
	}
	got := slices.Clone(sorted)
	slices.Reverse(got)
	slices.SortFunc(got, model.RecordKey.Compare)
	if d := cmp.Diff(sorted, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	same := recordKey
	if c := recordKey.Compare(same); c != 0 {
		t.Errorf("a key and itself: %d", c)
	}
}

func TestVersionsAreInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) model.Version {
			return model.Version{
				Said: model.Stamp(rapid.IntRange(0, 2).Draw(t, name)), Stamp: model.Stamp(rapid.IntRange(0, 2).Draw(t, name)), Origin: model.Incarnation(rapid.IntRange(0, 2).Draw(t, name)),
			}
		}
		a, b, c := draw("a"), draw("b"), draw("c")
		if a.Compare(b) != -b.Compare(a) || (a.Compare(b) == 0) != (a == b) {
			t.Fatalf("%v and %v: %d and %d", a, b, a.Compare(b), b.Compare(a))
		}
		if a.Compare(b) <= 0 && b.Compare(c) <= 0 && a.Compare(c) > 0 {
			t.Fatalf("%v <= %v <= %v, but not the first and the last", a, b, c)
		}
	})
}

func TestDerivedRecords(t *testing.T) {
	older := model.NewSuccession([]model.Superseded{{Publisher: model.Publisher{ID: "c0"}, Version: model.Version{Stamp: 3, Origin: 1}}}, nil)
	client := &model.Client{IP: "10.0.0.1", Agent: "Nacos-Go-Client:v2"}
	live := &model.Record{
		Key: recordKey, Version: model.Version{Said: 4, Stamp: 5, Origin: 1}, Instances: []model.Instance{{IP: "10.0.0.1", Port: 80}},
		Client: client, Rare: older, Unclaimed: model.CausePublisher, Since: time.Second, Answered: true,
	}
	next := model.Version{Said: 9, Stamp: 9, Origin: 2}
	tests := map[string]struct{ got, want *model.Record }{
		"a tombstone has no instances and still supersedes (P9)": {
			live.Tombstone(next),
			&model.Record{Key: recordKey, Version: next, Deleted: true, Client: client, Rare: older},
		},
		"a new stamp vouches again for what was said, and keeps what its ports answered": {
			live.Restamped(9, 2),
			&model.Record{
				Key: recordKey, Version: model.Version{Said: 4, Stamp: 9, Origin: 2}, Instances: live.Instances, Client: client, Rare: older, Answered: true,
			},
		},
		"unclaimed, at its version": {
			live.WithUnclaimed(model.CauseOurs, time.Minute),
			&model.Record{
				Key: recordKey, Version: live.Version, Instances: live.Instances, Client: client, Rare: older,
				Unclaimed: model.CauseOurs, Since: time.Minute, Answered: true,
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(test.want, test.got); d != "" {
				t.Error(d)
			}
		})
	}
	if live.Version.Stamp != 5 || live.Unclaimed != model.CausePublisher {
		t.Error("the record itself was changed")
	}
}

// TestDigest: what a repair has to carry changes the digest; what members forget or learn at different times does not.
func TestDigest(t *testing.T) {
	base := func() *model.Record {
		return &model.Record{Key: recordKey, Version: model.Version{Stamp: 5, Origin: 1}, Instances: []model.Instance{{IP: "10.0.0.1", Port: 80}}}
	}
	tests := map[string]struct {
		change func(*model.Record)
		same   bool
	}{
		"nothing":               {func(*model.Record) {}, true},
		"its ports answered":    {func(r *model.Record) { r.Answered = true }, true},
		"another stamp":         {func(r *model.Record) { r.Version.Stamp++ }, false},
		"something else said":   {func(r *model.Record) { r.Version.Said++ }, false},
		"another origin":        {func(r *model.Record) { r.Version.Origin++ }, false},
		"another publisher":     {func(r *model.Record) { r.Key.Publisher.ID += "0" }, false},
		"another kind":          {func(r *model.Record) { r.Key.Publisher.Kind = model.KindBeat }, false},
		"another member":        {func(r *model.Record) { r.Key.Publisher.Member++ }, false},
		"another service":       {func(r *model.Record) { r.Key.Service.Name += "0" }, false},
		"unclaimed":             {func(r *model.Record) { r.Unclaimed = model.CauseOurs }, false},
		"group and name differ": {func(r *model.Record) { r.Key.Service.Group, r.Key.Service.Name = "DEFAULT_GROUPo", "rders" }, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := base()
			test.change(r)
			if same := r.Digest() == base().Digest(); same != test.same {
				t.Errorf("the digest is the same: %v, want %v", same, test.same)
			}
		})
	}
	since := base().WithUnclaimed(model.CauseOurs, time.Second).Digest()
	if since != base().WithUnclaimed(model.CauseOurs, time.Minute).Digest() {
		t.Error("the time since when it is unclaimed changes the digest")
	}
	var none *model.Record
	if base().Tombstone(model.Version{Stamp: 9}).Digest() != 0 || none.Digest() != 0 {
		t.Error("a tombstone or nothing has a digest")
	}
}

// TestSizes: a record and an instance fill size classes of the allocator. A byte more costs 16, a million times.
func TestSizes(t *testing.T) {
	for of, size := range map[reflect.Type]uintptr{reflect.TypeFor[model.Record](): 160, reflect.TypeFor[model.Instance](): 80} {
		if of.Size() > size {
			t.Errorf("%v takes %d bytes, want %d", of, of.Size(), size)
		}
	}
}
