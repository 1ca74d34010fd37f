package cluster

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-registry/muster/hack/images/pack"
)

func TestImageTags(t *testing.T) {
	dir := t.TempDir()
	image, err := pack.Build(pack.Spec{Arch: "amd64", Entrypoint: []string{"/x"}})
	if err != nil {
		t.Fatal(err)
	}
	packed := filepath.Join(dir, "packed.tar")
	if err := pack.Save(packed, "muster.local/registry:v1", image); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		path string
		want []string
		err  string
	}{
		"what make images makes": {path: packed, want: []string{"muster.local/registry:v1"}},
		"several":                {path: writeTar(t, dir, "two.tar", `[{"RepoTags":["a:1","b:1"]},{"RepoTags":["c:1"]}]`), want: []string{"a:1", "b:1", "c:1"}},
		"without a name":         {path: writeTar(t, dir, "none.tar", `[{"RepoTags":null}]`), err: "no name"},
		"another tar":            {path: writeTar(t, dir, "other.tar", ""), err: "no manifest.json"},
		"a broken manifest":      {path: writeTar(t, dir, "broken.tar", "{"), err: "manifest.json"},
		"not there":              {path: filepath.Join(dir, "nothing"), err: "no such file"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := imageTags(c.path)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("error %v, want %q", err, c.err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// writeTar writes a tar with that manifest.json, or with something else.
func writeTar(t *testing.T, dir, name, manifest string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := tar.NewWriter(f)
	file := "manifest.json"
	if manifest == "" {
		file = "readme.txt"
	}
	if err := w.WriteHeader(&tar.Header{Name: file, Size: int64(len(manifest)), Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(manifest)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// Images that are kept must not share a file, and none may leave the folder.
func TestFileName(t *testing.T) {
	for tag, want := range map[string]string{
		"muster.local/registry:v1": "muster.local_registry_v1", "a:1": "a_1", "../../etc/passwd:x": ".._.._etc_passwd_x",
	} {
		if got := fileName(tag); got != want {
			t.Errorf("fileName(%q) = %q, want %q", tag, got, want)
		}
	}
}
