// Command images makes the project's container images without Docker and pushes them where they are wanted:
//
//	go run ./hack/images build [--arch amd64] [--version v] [--out dist]
//	go run ./hack/images push [--arch amd64,arm64] [--version v] HOST/NAME:TAG
//
// Each program is built static and reproducible; the server's image holds the registry and the operator, the client's
// the one of test/clients/go that the demo and the end-to-end tests run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/muster-registry/muster/hack/images/pack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1) //nolint:gocritic // exitAfterDefer: stop only gives the signal back
	}
}

const usage = "usage: images build|push [--arch A] [--version V] [--out DIR] [IMAGE]"

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	flags := flag.NewFlagSet("images "+args[0], flag.ContinueOnError)
	arch := flags.String("arch", "amd64", "GOARCH; push takes several, with commas")
	version := flags.String("version", "dev", "version that the programs report")
	dist := flags.String("out", "dist", "folder for the tar files")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	b := builder{version: *version, out: out}
	switch args[0] {
	case "build":
		if flags.NArg() != 0 {
			return errors.New(usage)
		}
		return b.save(ctx, []image{server, client}, *arch, *dist)
	case "push":
		if flags.NArg() != 1 {
			return errors.New("push needs the image to push to, for example registry.example.com/muster:v1")
		}
		return b.push(ctx, server, strings.Split(*arch, ","), flags.Arg(0), authn.DefaultKeychain)
	}
	return fmt.Errorf("%q is no command; %s", args[0], usage)
}

// save writes every image as a tar file that the lab, containerd and Docker load.
func (b builder) save(ctx context.Context, images []image, arch, dist string) error {
	if err := os.MkdirAll(dist, 0o755); err != nil {
		return err
	}
	for _, i := range images {
		made, err := b.build(ctx, i, arch)
		if err != nil {
			return fmt.Errorf("%s: %w", i.tag, err)
		}
		file := filepath.Join(dist, i.file)
		if err := pack.Save(file, i.tag, made); err != nil {
			return fmt.Errorf("%s: %w", i.tag, err)
		}
		digest, err := made.Digest()
		if err != nil {
			return err
		}
		size, err := checkSize(made)
		if err != nil {
			return fmt.Errorf("%s: %w", i.tag, err)
		}
		fmt.Fprintf(b.out, "%s: %s linux/%s, %.1f MB compressed, %s\n", file, i.tag, arch, float64(size)/1e6, digest)
	}
	return nil
}
