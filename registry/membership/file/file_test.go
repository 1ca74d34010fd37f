package file_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/membership/file"
	"github.com/muster-registry/muster/registry/membership/membershiptest"
	"github.com/muster-registry/muster/registry/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a file that all members read.
type world struct {
	t    *testing.T
	path string
	text string
}

func (w *world) Policy() membership.Policy { return membership.PolicyFile() }

func (w *world) Add(self model.Member) membership.Source {
	w.write(w.text + self.Address + " # " + self.Name + "\n")
	return file.New(file.Options{Path: w.path})
}

func (w *world) Remove(self model.Member) {
	w.write(strings.ReplaceAll(w.text, self.Address, "# gone: "+self.Address))
}

// write replaces the file as a mounted ConfigMap is replaced.
func (w *world) write(text string) {
	w.text = text
	tmp := w.path + ".new"
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(tmp, w.path); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) Cut() {
	if err := os.Remove(w.path); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) Heal() { w.write(w.text) }

func (w *world) Foreign() {
	w.write(w.text + "nonsense\n:9849\nhost:0\nhost:65536\nhost:http\nhttp://host:80\n\x00\n[::1:9849\n")
}

func TestConformance(t *testing.T) {
	membershiptest.Suite{New: func(t *testing.T) membershiptest.World {
		return &world{t: t, path: filepath.Join(t.TempDir(), "members")}
	}}.Run(t)
}

func TestUnreadableAtTheStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "members")
	err := file.New(file.Options{Path: path}).Run(t.Context(), func(membership.Listing) { t.Error("listed") })
	if err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error = %v, want one line that names %s", err, path)
	}
}

func TestLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "members")
	text := "# members\n127.0.0.1:9849\n\n  127.0.0.2:9849 # b\nbad line\n127.0.0.1:9849\n[::1]:9849\r\nhost:99999\nnode-c.example:9849"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s := file.New(file.Options{Path: path, Log: slog.New(slog.NewTextHandler(&log, nil)), Reread: time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond) // some fifty readings
	defer cancel()
	var got []string
	err := s.Run(ctx, func(l membership.Listing) {
		if !l.Reachable {
			t.Error("not reachable")
		}
		for _, e := range l.Entries {
			if e.Incarnation != 0 || !e.Alive || e.UID != "" {
				t.Errorf("entry = %+v, want an address that is alive and nothing more", e)
			}
			got = append(got, e.Address)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"127.0.0.1:9849", "127.0.0.2:9849", "[::1]:9849", "node-c.example:9849"}, got); d != "" {
		t.Errorf("listed, once (-want +got):\n%s", d)
	}
	for _, line := range []string{"line=5", "line=8"} {
		if n := strings.Count(log.String(), line); n != 1 {
			t.Errorf("%s was reported %d times, want once:\n%s", line, n, log.String())
		}
	}
}
