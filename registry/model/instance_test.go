package model_test

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/muster-registry/muster/registry/model"
)

func TestPreservedMetadata(t *testing.T) {
	const otherwise = 7 * time.Second
	tests := map[string]struct {
		value string
		want  time.Duration
	}{
		"absent":             {"", otherwise},
		"milliseconds":       {"1500", 1500 * time.Millisecond},
		"zero":               {"0", 0},
		"leading zeros":      {"0003000", 3 * time.Second},
		"a sign":             {"+5000", otherwise},
		"negative":           {"-5000", otherwise},
		"a unit":             {"5s", otherwise},
		"a fraction":         {"5.5", otherwise},
		"blanks":             {" 5000", otherwise},
		"foreign digits":     {"٥٠٠٠", otherwise},
		"twelve digits":      {"999999999999", 999999999999 * time.Millisecond},
		"more than 31 years": {"1000000000000", otherwise},
		"beyond 64 bits":     {"99999999999999999999", otherwise},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			in := model.Instance{Metadata: model.MetadataOf(map[string]string{
				model.MetaBeatInterval: test.value, model.MetaBeatTimeout: test.value, model.MetaDeleteAfter: test.value,
			})}
			interval := test.want
			if test.want == otherwise {
				interval = model.DefaultBeatInterval
			}
			if got := in.BeatInterval(); got != interval {
				t.Errorf("BeatInterval is %v, want %v", got, interval)
			}
			if got := in.BeatTimeout(otherwise); got != test.want {
				t.Errorf("BeatTimeout is %v, want %v", got, test.want)
			}
			if got := in.DeleteAfter(otherwise); got != test.want {
				t.Errorf("DeleteAfter is %v, want %v", got, test.want)
			}
		})
	}
}

// TestPreservedMetadataNeverNegative: whatever a client writes, a timeout is not negative (B2).
func TestPreservedMetadataNeverNegative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := model.Instance{Metadata: model.MetadataOf(map[string]string{model.MetaDeleteAfter: rapid.String().Draw(t, "value")})}
		if d := in.DeleteAfter(time.Second); d < 0 {
			t.Fatalf("DeleteAfter is %v", d)
		}
	})
}

func TestInstanceEqual(t *testing.T) {
	base := func() model.Instance {
		return model.Instance{
			IP: "10.0.0.1", Port: 80, Cluster: "DEFAULT", ID: "i", Weight: 1, Healthy: true, Enabled: true,
			Metadata: model.MetadataOf(map[string]string{"k": "v"}),
		}
	}
	tests := map[string]func(*model.Instance){
		"ip":       func(i *model.Instance) { i.IP = "10.0.0.2" },
		"port":     func(i *model.Instance) { i.Port = 81 },
		"cluster":  func(i *model.Instance) { i.Cluster = "b" },
		"id":       func(i *model.Instance) { i.ID = "" },
		"weight":   func(i *model.Instance) { i.Weight = 2 },
		"NaN":      func(i *model.Instance) { i.Weight = math.NaN() },
		"healthy":  func(i *model.Instance) { i.Healthy = false },
		"enabled":  func(i *model.Instance) { i.Enabled = false },
		"metadata": func(i *model.Instance) { i.Metadata = model.MetadataOf(map[string]string{"k": "w"}) },
		"more":     func(i *model.Instance) { i.Metadata = model.MetadataOf(map[string]string{"k": "v", "l": ""}) },
		"none":     func(i *model.Instance) { i.Metadata = model.Metadata{} },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			in := base()
			change(&in)
			if in.Equal(base()) || base().Equal(in) {
				t.Error("a client could tell them apart, but they are equal")
			}
			if same := in; !in.Equal(same) {
				t.Error("it does not equal itself")
			}
		})
	}
	if in := base(); !in.Equal(base()) {
		t.Error("two of the same differ")
	}
}

func TestKeys(t *testing.T) {
	if got := (model.InstanceKey{IP: "10.0.0.1", Port: 80, Cluster: "b"}).String(); got != "10.0.0.1:80:b" {
		t.Errorf("the instance key reads %q", got)
	}
	a := model.ServiceKey{Namespace: "n", Group: "ab", Name: "c"}
	b := model.ServiceKey{Namespace: "n", Group: "a", Name: "bc"}
	if a.Hash() == b.Hash() {
		t.Error("the border between group and name is not part of the hash")
	}
	if got := a.String(); got != "n/ab@@c" {
		t.Errorf("the service key reads %q", got)
	}
	// The values are part of the protocol between members of different versions.
	if got := recordKey.Service.Hash(); got != goldenServiceHash {
		t.Errorf("the hash of a service key has changed: %#x", got)
	}
	if got := recordKey.Publisher.Hash(); got != goldenPublisherHash {
		t.Errorf("the hash of a publisher has changed: %#x", got)
	}
}

func TestViews(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOfNDistinct(rapid.Uint64Range(1, 50), 1, 8, rapid.ID[uint64]).Draw(t, "ids")
		members := make([]model.Member, 0, len(ids))
		for _, id := range ids {
			members = append(members, model.Member{Incarnation: model.Incarnation(id), Name: fmt.Sprint(id)})
		}
		v := model.NewView(members[0].Incarnation, members, false)
		for id := model.Incarnation(1); id <= 50; id++ {
			m, ok := v.Find(id)
			want := false
			for _, i := range ids {
				want = want || model.Incarnation(i) == id
			}
			if ok != want || v.Has(id) != want || ok && m.Incarnation != id {
				t.Fatalf("Find(%v) gives %v, %v", id, m, ok)
			}
		}
		reversed := make([]model.Member, 0, len(members))
		for i := range members {
			reversed = append(reversed, members[len(members)-1-i])
		}
		if !v.Equal(model.NewView(v.Self, reversed, false)) || v.Equal(model.NewView(v.Self, members, true)) ||
			v.Equal(model.NewView(v.Self, members[1:], false)) {
			t.Fatal("Equal does not say whether two views say the same")
		}
	})
}

func TestMemberTexts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		i := model.Incarnation(rapid.Uint64Min(1).Draw(t, "incarnation"))
		if got, err := model.ParseIncarnation(i.String()); err != nil || got != i {
			t.Fatalf("%v is read as %v, %v", i, got, err)
		}
	})
	for _, s := range []string{"", "0", "0000000000000000", "1", "000000000000000g", "00000000000000001", "-000000000000001"} {
		if got, err := model.ParseIncarnation(s); err == nil {
			t.Errorf("incarnation %q is read as %v", s, got)
		}
	}
	for _, s := range []model.MemberState{model.StateStarting, model.StateComplete, model.StateLeaving} {
		if got, err := model.ParseMemberState(s.String()); err != nil || got != s {
			t.Errorf("state %v is read as %v, %v", s, got, err)
		}
	}
	if got, err := model.ParseMemberState("ready"); err == nil {
		t.Errorf("state ready is read as %v", got)
	}
}

func TestErrors(t *testing.T) {
	err := fmt.Errorf("register: %w", model.Errorf(model.CodeInvalid, "port %d is out of range", 0))
	if !errors.Is(err, model.ErrInvalid) || errors.Is(err, model.ErrNotFound) || model.CodeOf(err) != model.CodeInvalid {
		t.Errorf("%v is not found by its code", err)
	}
	if model.CodeOf(errors.New("else")) != 0 {
		t.Error("an error of somebody else has a code")
	}
	// only a bare code is a class of errors
	if errors.Is(err, model.Errorf(model.CodeInvalid, "another message")) {
		t.Error("two messages of one code are taken for the same error")
	}
}

const (
	goldenServiceHash   = 0x309e00f7c573399f
	goldenPublisherHash = 0xaed1ed341dd8c206
)

// TestKept: whatever the id is, what is shown is what was published; the usual one takes no room.
func TestKept(t *testing.T) {
	k := model.ServiceKey{Namespace: "n", Group: "g", Name: "s"}
	in := model.Instance{IP: "10.0.0.1", Port: 80, Cluster: "c"}
	for id, size := range map[string]int{
		"": 0, "x": 1, "10.0.0.1#80#c#g@@s": 1, "10.0.0.1#80#c#g@@s2": 19, "10.0.0.1#80#c#g@@": 17, "10.0.0.1#81#c#g@@s": 18, "10.0.0.1#80#null#g@@s": 21,
	} {
		in.ID = id
		kept := in.Kept(k)
		if len(kept.ID) != size {
			t.Errorf("%q is kept as %q", id, kept.ID)
		}
		if d := cmp.Diff(in, kept.Shown(k)); d != "" {
			t.Errorf("%q (-published +shown):\n%s", id, d)
		}
	}
}
