package cluster

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/muster-registry/muster/hack/lab/layout"
	"github.com/muster-registry/muster/hack/lab/node"
)

// Load imports images, tars as docker save writes them, into every node that runs, and keeps them for nodes that join later. A
// newer image of the same name takes the older one's place.
func (l *Lab) Load(ctx context.Context, tars ...string) error {
	if len(l.Nodes()) == 0 {
		return ErrDown
	}
	return l.locked(ctx, func() error {
		for _, path := range tars {
			tags, err := imageTags(path)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			kept := l.cfg.Path("images", fileName(tags[0])+".tar")
			if err := install(path, kept); err != nil {
				return err
			}
			for _, i := range l.Nodes() {
				if !l.Running(i) {
					continue
				}
				socket := l.cfg.Run(i, node.ContainerdSocket)
				if _, err := run(ctx, "", "ctr", "-a", socket, "-n", "k8s.io", "images", "import", kept); err != nil {
					return fmt.Errorf("%s: import into %s: %w", path, layout.NodeName(i), err)
				}
			}
			l.say("loaded %s", strings.Join(tags, ", "))
		}
		return nil
	})
}

// imageTags reads the names in a tar of images.
func imageTags(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("no manifest.json in it: it is no image as docker save writes it")
		}
		if err != nil {
			return nil, err
		}
		if h.Name != "manifest.json" {
			continue
		}
		var images []struct{ RepoTags []string }
		if err := json.NewDecoder(r).Decode(&images); err != nil {
			return nil, fmt.Errorf("manifest.json: %w", err)
		}
		var tags []string
		for _, image := range images {
			tags = append(tags, image.RepoTags...)
		}
		if len(tags) == 0 {
			return nil, errors.New("the image has no name: pods could not refer to it")
		}
		return tags, nil
	}
}

// fileName is an image's name as a file's.
func fileName(tag string) string {
	return filepath.Base(strings.NewReplacer("/", "_", ":", "_", "@", "_").Replace(tag))
}
