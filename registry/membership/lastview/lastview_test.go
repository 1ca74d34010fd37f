package lastview_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/membership/lastview"
	"github.com/muster-registry/muster/registry/model"
)

func TestRoundTrip(t *testing.T) {
	s := lastview.Store{Dir: t.TempDir(), ClusterUID: "uid"}
	whole := membership.Entry{Alive: true, Member: model.Member{
		Incarnation: 1 << 63, Name: "a", UID: "uid-a", Address: "10.0.0.1:9849", ClientPort: 8848, Zone: "z", Version: "v1", State: model.StateComplete,
	}}
	address := membership.Entry{Alive: true, Member: model.Member{Address: "10.0.0.2:9849"}}
	dead := membership.Entry{Member: model.Member{Incarnation: 3, Address: "10.0.0.3:9849"}}
	for _, entries := range [][]membership.Entry{{dead}, {whole, address, dead}} {
		if err := s.Save(entries); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Load()
	if d := cmp.Diff([]membership.Entry{whole, address}, got); d != "" || err != nil {
		t.Errorf("(-saved +loaded), %v:\n%s", err, d)
	}
	if got, err := (lastview.Store{Dir: s.Dir, ClusterUID: "other"}).Load(); got != nil || err != nil {
		t.Errorf("another cluster loads %v (%v)", got, err)
	}
}

func TestNothingKept(t *testing.T) {
	for name, s := range map[string]lastview.Store{"no directory": {}, "no file": {Dir: t.TempDir()}} {
		if got, err := s.Load(); got != nil || err != nil {
			t.Errorf("%s: %v (%v)", name, got, err)
		}
	}
	if err := (lastview.Store{}).Save(nil); err != nil {
		t.Error(err)
	}
	if err := (lastview.Store{Dir: "/nonexistent"}).Save(nil); err == nil {
		t.Error("saved to a directory that is not there")
	}
}

func TestDamagedFile(t *testing.T) {
	for name, text := range map[string]string{
		"cut off":         `{"clusterUID":"uid"`,
		"bad incarnation": `{"clusterUID":"uid","members":[{"incarnation":"x","state":"complete"}]}`,
		"bad state":       `{"clusterUID":"uid","members":[{"address":"a:1","state":"happy"}]}`,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "view.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := (lastview.Store{Dir: dir, ClusterUID: "uid"}).Load(); err == nil {
			t.Errorf("%s: loaded %v, want an error", name, got)
		}
	}
}
