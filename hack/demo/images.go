package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/muster-registry/muster/hack/images/pack"
)

// images are the two that the pods run.
type images struct {
	arch           string
	server, client string // references
	digest         string // of the server's
}

// image is one of what hack/images writes, and what the demo calls it: under a tag of its own, so that no build for
// anything else takes its place in the nodes.
type image struct{ built, tar, ref string }

var (
	serverImage = image{"dist/muster.tar", "dist/muster-demo.tar", "muster.local/muster:demo"}
	clientImage = image{"dist/muster-client.tar", "dist/muster-client-demo.tar", "muster.local/muster-client:demo"}
)

// provideImages builds them and brings them to the nodes, or says who has to.
func (d *demo) provideImages(ctx context.Context) error {
	err := d.during("building the server's and the client's image", func() error {
		return d.show(ctx, d.say, "go", "run", "./hack/images", "build", "--version", d.version, "--arch", d.images.arch, "--out", filepath.Dir(serverImage.built))
	})
	if err != nil {
		return err
	}
	server, err := serverImage.retag()
	if err != nil {
		return err
	}
	client, err := clientImage.retag()
	if err != nil {
		return err
	}
	digest, err := server.Digest()
	if err != nil {
		return err
	}
	d.images.digest, d.images.server, d.images.client = digest.String(), serverImage.ref, clientImage.ref
	switch {
	case d.push != "":
		return d.pushImages(ctx, server, client)
	case d.kube.lab != nil:
		return d.during("loading them into the nodes", func() error { return d.kube.lab.Load(ctx, serverImage.tar, clientImage.tar) })
	}
	d.say.plain(howImagesArrive())
	return nil
}

func (i image) retag() (v1.Image, error) {
	image, err := tarball.ImageFromPath(i.built, nil)
	if err == nil {
		err = pack.Save(i.tar, i.ref, image)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", i.built, err)
	}
	return image, nil
}

func howImagesArrive() string {
	s, c := serverImage, clientImage
	return fmt.Sprintf(`        The cluster is yours, so its nodes get %s and %s from you:
          kind:      kind load image-archive %s && kind load image-archive %s
          minikube:  minikube image load %s && minikube image load %s
          others:    make demo PUSH=registry.example.com/you   # pushes both there, with Docker's login, and runs them from there`,
		s.ref, c.ref, s.tar, c.tar, s.tar, c.tar)
}

func (d *demo) pushImages(ctx context.Context, server, client v1.Image) error {
	tag := ":demo-" + strings.TrimPrefix(d.images.digest, "sha256:")[:12]
	d.images.server, d.images.client = d.push+"/muster"+tag, d.push+"/muster-client"+tag
	for target, image := range map[string]v1.Image{d.images.server: server, d.images.client: client} {
		ref, err := name.ParseReference(target)
		if err != nil {
			return fmt.Errorf("--push %s: %w", d.push, err)
		}
		err = d.during("pushing "+target, func() error {
			return remote.Write(ref, image, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
		})
		if err != nil {
			return fmt.Errorf("push %s (logged in? `docker login %s` or the like): %w", target, ref.Context().RegistryStr(), err)
		}
		d.say.sayf("pushed %s", target)
	}
	return nil
}
