package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/muster-registry/muster/api/wellknown"
	"github.com/muster-registry/muster/hack/images/pack"
)

// limit is what a node may have to pull for one image.
const limit = 40_000_000

// image is one of the project's.
type image struct {
	file, tag string
	title     string
	binaries  []binary // the first is what a plain run starts
	dirs      []string
	ports     []int
}

// binary is a program of the tree: package pkg of the module in dir.
type binary struct{ path, dir, pkg string }

var (
	server = image{
		file: "muster.tar", tag: "muster.local/muster:dev", title: "Muster registry and operator",
		binaries: []binary{
			{path: wellknown.RegistryBinary, dir: ".", pkg: "./cmd/registry"},
			{path: wellknown.OperatorBinary, dir: ".", pkg: "./cmd/operator"},
		},
		dirs:  []string{wellknown.StateDir},
		ports: []int{wellknown.PortHTTP, wellknown.PortAdmin, wellknown.PortGRPC, wellknown.PortPeer},
	}
	client = image{
		file: "muster-client.tar", tag: "muster.local/muster-client:dev", title: "Nacos client for Muster's demo and tests",
		binaries: []binary{{path: "/client", dir: "test/clients/go", pkg: "."}},
	}
)

// builder makes images from the tree that it is started in.
type builder struct {
	version string
	out     io.Writer
}

func (b builder) build(ctx context.Context, i image, arch string) (v1.Image, error) {
	tmp, err := os.MkdirTemp("", "muster-images-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	spec := pack.Spec{
		Arch: arch, Entrypoint: []string{i.binaries[0].path}, Binaries: map[string]string{}, Dirs: i.dirs, Ports: i.ports,
		Labels: map[string]string{
			"org.opencontainers.image.title":    i.title,
			"org.opencontainers.image.version":  b.version,
			"org.opencontainers.image.licenses": "Apache-2.0",
			"org.opencontainers.image.source":   "https://github.com/muster-registry/muster",
		},
	}
	for _, program := range i.binaries {
		file := filepath.Join(tmp, path.Base(program.path))
		if err := b.compile(ctx, program, arch, file); err != nil {
			return nil, err
		}
		spec.Binaries[program.path] = file
	}
	return pack.Build(spec)
}

// compile builds a program that needs nothing from the image and is the same from any folder and machine.
func (b builder) compile(ctx context.Context, p binary, arch, file string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags=-s -w -buildid= -X main.version="+b.version, "-o", file, p.pkg)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS=")
	cmd.Stdout, cmd.Stderr = b.out, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build %s in %s: %w", p.pkg, p.dir, err)
	}
	return nil
}

func checkSize(i v1.Image) (int64, error) {
	size, err := pack.Size(i)
	if err == nil && size > limit {
		err = fmt.Errorf("%.1f MB compressed, more than the %d MB that a node should have to pull", float64(size)/1e6, limit/1_000_000)
	}
	return size, err
}
