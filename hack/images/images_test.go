package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"io"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

var hello = image{
	file: "hello.tar", tag: "muster.local/hello:dev", title: "hello",
	binaries: []binary{{path: "/hello", dir: "testdata/hello", pkg: "."}},
}

// program reads a file out of an image.
func program(t *testing.T, made v1.Image, path string) *elf.File {
	t.Helper()
	stream := mutate.Extract(made)
	defer stream.Close()
	for r := tar.NewReader(stream); ; {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("%s is not in the image: %v", path, err)
		}
		if h.Name != path {
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		f, err := elf.NewFile(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
}

func TestBuildSavesStaticProgram(t *testing.T) {
	dist := t.TempDir()
	var out strings.Builder
	if err := (builder{version: "v1.2.3", out: &out}).save(t.Context(), []image{hello}, "amd64", dist); err != nil {
		t.Fatal(err)
	}
	made, err := tarball.ImageFromPath(filepath.Join(dist, "hello.tar"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if libraries, err := program(t, made, "hello").ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("the program needs %v (%v), and the image has no libraries", libraries, err)
	}
	config, err := made.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got := config.Config.Labels["org.opencontainers.image.version"]; got != "v1.2.3" {
		t.Errorf("version label %q, want v1.2.3", got)
	}
	digest, err := made.Digest()
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"muster.local/hello:dev linux/amd64", "MB compressed"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("output %q does not say %q", out.String(), part)
		}
	}
	again, err := builder{version: "v1.2.3", out: io.Discard}.build(t.Context(), hello, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	if second, err := again.ConfigName(); err != nil || second != must(made.ConfigName()) {
		t.Errorf("two builds of one tree differ: %v, %v (%v)", digest, second, err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestPush(t *testing.T) {
	host := httptest.NewServer(registry.New())
	defer host.Close()
	cases := map[string][]string{"one": {"arm64"}, "several": {"amd64", "arm64"}}
	for what, archs := range cases {
		t.Run(what, func(t *testing.T) {
			target := strings.TrimPrefix(host.URL, "http://") + "/muster/muster:" + what
			var out strings.Builder
			if err := (builder{version: "v1", out: &out}).push(t.Context(), hello, archs, target, authn.NewMultiKeychain()); err != nil {
				t.Fatal(err)
			}
			ref := must(name.ParseReference(target))
			for _, arch := range archs {
				made, err := remote.Image(ref, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch}))
				if err != nil {
					t.Fatal(err)
				}
				want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[arch]
				if got := program(t, made, "hello").Machine; got != want {
					t.Errorf("linux/%s holds a program for %v", arch, got)
				}
			}
			if got := must(remote.Get(ref)).Digest.String(); !strings.Contains(out.String(), got) {
				t.Errorf("output %q does not name the digest %s that the registry has", out.String(), got)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	cases := map[string]struct {
		args []string
		want string
	}{
		"nothing":            {nil, "usage"},
		"unknown command":    {[]string{"bake"}, `"bake" is no command`},
		"build of something": {[]string{"build", "x"}, "usage"},
		"push to nowhere":    {[]string{"push"}, "push needs the image"},
		"push to a bad name": {[]string{"push", "Not A Name"}, "could not parse reference"},
		"unknown flag":       {[]string{"build", "--fast"}, "not defined"},
	}
	for what, c := range cases {
		t.Run(what, func(t *testing.T) {
			if err := run(t.Context(), c.args, io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("run(%q) = %v, want an error with %q", c.args, err, c.want)
			}
		})
	}
}
