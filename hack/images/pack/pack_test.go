package pack

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func binary(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "binary")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func build(t *testing.T, s Spec) v1.Image {
	t.Helper()
	image, err := Build(s)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

type file struct {
	Mode, UID int64
	Text      string
}

func contents(t *testing.T, image v1.Image) map[string]file {
	t.Helper()
	stream := mutate.Extract(image)
	defer stream.Close()
	found := map[string]file{}
	for r := tar.NewReader(stream); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return found
		} else if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(epoch) {
			t.Errorf("%s has the time %v, which makes the image another one each day", h.Name, h.ModTime)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		found[h.Name] = file{Mode: h.Mode, UID: int64(h.Uid), Text: string(text)}
	}
}

func TestBuild(t *testing.T) {
	image := build(t, Spec{
		Arch: "arm64", Entrypoint: []string{"/registry"}, Ports: []int{8848}, Dirs: []string{"/var/lib/muster"},
		Binaries: map[string]string{"/registry": binary(t, "r"), "/operator": binary(t, "o")},
		Labels:   map[string]string{"a": "b"},
	})
	want := map[string]file{
		"etc":            {Mode: 0o755},
		"etc/passwd":     {Mode: 0o644, Text: "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"},
		"etc/group":      {Mode: 0o644, Text: "root:x:0:\nnonroot:x:65532:\n"},
		"tmp":            {Mode: 0o1777},
		"var":            {Mode: 0o755},
		"var/lib":        {Mode: 0o755},
		"var/lib/muster": {Mode: 0o755, UID: User},
		"registry":       {Mode: 0o755, Text: "r"},
		"operator":       {Mode: 0o755, Text: "o"},
	}
	if diff := cmp.Diff(want, contents(t, image)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	wantConfig := v1.Config{
		Entrypoint: []string{"/registry"}, WorkingDir: "/", Env: []string{"PATH=/"}, User: "65532:65532",
		Labels: map[string]string{"a": "b"}, ExposedPorts: map[string]struct{}{"8848/tcp": {}},
	}
	if diff := cmp.Diff(wantConfig, config.Config); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if config.OS != "linux" || config.Architecture != "arm64" {
		t.Errorf("the image is for %s/%s, want linux/arm64", config.OS, config.Architecture)
	}
}

func TestBuildIsReproducible(t *testing.T) {
	spec := Spec{Arch: "amd64", Binaries: map[string]string{"/b": binary(t, "b"), "/a": binary(t, "a")}, Dirs: []string{"/data"}}
	first, err := build(t, spec).Digest()
	if err != nil {
		t.Fatal(err)
	}
	spec.Binaries["/a"] = binary(t, "a") // another file, the same content
	if again, err := build(t, spec).Digest(); err != nil || again != first {
		t.Errorf("the same content gave %v, then %v (%v)", first, again, err)
	}
	spec.Binaries["/a"] = binary(t, "A")
	if other, err := build(t, spec).Digest(); err != nil || other == first {
		t.Errorf("other content gave the same digest %v (%v)", other, err)
	}
}

func TestBuildNamesMissingFile(t *testing.T) {
	_, err := Build(Spec{Arch: "amd64", Binaries: map[string]string{"/a": "/does/not/exist"}})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Build() = %v, want an error that says what does not exist", err)
	}
}

func TestSave(t *testing.T) {
	image := build(t, Spec{Arch: "amd64", Binaries: map[string]string{"/a": binary(t, "a")}})
	out := filepath.Join(t.TempDir(), "image.tar")
	if err := Save(out, "muster.local/muster:dev", image); err != nil {
		t.Fatal(err)
	}
	loaded, err := tarball.ImageFromPath(out, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(contents(t, image), contents(t, loaded)); diff != "" {
		t.Errorf("saved and loaded differ (-saved +loaded):\n%s", diff)
	}
	size, err := Size(image)
	if err != nil || size < 100 || size > 5000 {
		t.Errorf("Size() = %d, %v; some hundred bytes are in it", size, err)
	}
	if err := Save(out, "Not A Tag", image); err == nil {
		t.Error("a bad tag was taken")
	}
}
