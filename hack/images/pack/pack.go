// Package pack makes container images out of static binaries, without a daemon and without a base image: the same
// files give the same bytes. The project's images and those of the local Kubernetes are made with it. It builds no
// binaries and talks to no registry.
package pack

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// User is who the images run as: not root, and known to no host.
const User = 65532

// Spec is what goes into an image.
type Spec struct {
	Arch       string            // GOARCH; the system is always Linux
	Entrypoint []string          // what a plain run starts
	Binaries   map[string]string // path in the image -> file on this machine; one layer each, so that an unchanged one is reused
	Dirs       []string          // empty folders that User may write to, besides /tmp
	Ports      []int             // TCP, for those who look at the image
	Labels     map[string]string
}

// Build makes the image.
func Build(s Spec) (v1.Image, error) {
	base, err := layer(baseEntries(s.Dirs))
	if err != nil {
		return nil, fmt.Errorf("base layer: %w", err)
	}
	layers := []v1.Layer{base}
	for _, target := range slices.Sorted(maps.Keys(s.Binaries)) {
		data, err := os.ReadFile(s.Binaries[target])
		if err != nil {
			return nil, err
		}
		l, err := layer([]entry{{path: target, mode: 0o755, data: data}})
		if err != nil {
			return nil, fmt.Errorf("layer of %s: %w", target, err)
		}
		layers = append(layers, l)
	}
	image, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", s.Arch
	file.Created = v1.Time{Time: epoch}
	file.Config = s.config()
	return mutate.ConfigFile(image, file)
}

func (s Spec) config() v1.Config {
	c := v1.Config{
		Entrypoint: s.Entrypoint, WorkingDir: "/", Env: []string{"PATH=/"},
		User: fmt.Sprintf("%d:%d", User, User), Labels: s.Labels, ExposedPorts: map[string]struct{}{},
	}
	for _, port := range s.Ports {
		c.ExposedPorts[fmt.Sprintf("%d/tcp", port)] = struct{}{}
	}
	return c
}

// Save writes the image as a docker-archive tar, which docker load and ctr import take.
func Save(file, tag string, image v1.Image) error {
	ref, err := name.NewTag(tag)
	if err != nil {
		return err
	}
	return tarball.WriteToFile(file, ref, image)
}

// Size is what a node pulls: the compressed layers and the config.
func Size(image v1.Image) (int64, error) {
	manifest, err := image.Manifest()
	if err != nil {
		return 0, err
	}
	size := manifest.Config.Size
	for _, l := range manifest.Layers {
		size += l.Size
	}
	return size, nil
}

// epoch is every file's time: a build tomorrow must give the same digest.
var epoch = time.Unix(0, 0).UTC()

type entry struct {
	path string // a trailing slash makes it a folder
	mode int64
	owns bool // by User
	data []byte
}

func baseEntries(dirs []string) []entry {
	passwd := fmt.Sprintf("root:x:0:0:root:/:/sbin/nologin\nnonroot:x:%d:%d:nonroot:/:/sbin/nologin\n", User, User)
	group := fmt.Sprintf("root:x:0:\nnonroot:x:%d:\n", User)
	entries := []entry{
		{path: "/etc/", mode: 0o755},
		{path: "/etc/group", mode: 0o644, data: []byte(group)},
		{path: "/etc/passwd", mode: 0o644, data: []byte(passwd)},
		{path: "/tmp/", mode: 0o1777},
	}
	known := map[string]bool{"/etc": true, "/tmp": true, "/": true}
	for _, dir := range dirs {
		for _, parent := range parents(dir) {
			if !known[parent] {
				known[parent] = true
				entries = append(entries, entry{path: parent + "/", mode: 0o755})
			}
		}
		entries = append(entries, entry{path: dir + "/", mode: 0o755, owns: true})
	}
	return entries
}

// parents lists the folders above a path, the outermost first.
func parents(dir string) []string {
	var above []string
	for p := path.Dir(dir); p != "/"; p = path.Dir(p) {
		above = append(above, p)
	}
	slices.Reverse(above)
	return above
}

func layer(entries []entry) (v1.Layer, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		h := &tar.Header{
			Name: strings.TrimPrefix(e.path, "/"), Mode: e.mode, ModTime: epoch, Size: int64(len(e.data)),
			Typeflag: tar.TypeReg, Format: tar.FormatPAX,
		}
		if strings.HasSuffix(e.path, "/") {
			h.Typeflag = tar.TypeDir
		}
		if e.owns {
			h.Uid, h.Gid = User, User
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(buf.Bytes())), nil
	})
}
