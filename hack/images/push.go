package main

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// push sends an image, as an index when it is for several architectures.
func (b builder) push(ctx context.Context, i image, archs []string, target string, keys authn.Keychain) error {
	ref, err := name.ParseReference(target)
	if err != nil {
		return err
	}
	images := make([]v1.Image, 0, len(archs))
	for _, arch := range archs {
		made, err := b.build(ctx, i, arch)
		if err != nil {
			return fmt.Errorf("linux/%s: %w", arch, err)
		}
		if _, err := checkSize(made); err != nil {
			return fmt.Errorf("linux/%s: %w", arch, err)
		}
		images = append(images, made)
	}
	options := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(keys)}
	digest, err := send(ref, archs, images, options)
	if err != nil {
		return fmt.Errorf("push to %s: %w", ref, err)
	}
	fmt.Fprintf(b.out, "%s@%s\n", ref.Context(), digest)
	return nil
}

func send(ref name.Reference, archs []string, images []v1.Image, options []remote.Option) (v1.Hash, error) {
	if len(images) == 1 {
		if err := remote.Write(ref, images[0], options...); err != nil {
			return v1.Hash{}, err
		}
		return images[0].Digest()
	}
	index := mutate.IndexMediaType(empty.Index, types.DockerManifestList)
	for i, made := range images {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        made,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: archs[i]}},
		})
	}
	if err := remote.WriteIndex(ref, index, options...); err != nil {
		return v1.Hash{}, err
	}
	return index.Digest()
}
