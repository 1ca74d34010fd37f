package build

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/muster-registry/muster/hack/images/pack"
	"github.com/muster-registry/muster/hack/lab/lock"
)

// EnvCache is the folder above all caches of the project, for those who want it elsewhere than in ~/.cache.
const EnvCache = "MUSTER_CACHE"

// Builder builds into a cache and finds what is there.
type Builder struct {
	root      string
	cache     string
	artifacts []Artifact
	out       io.Writer
	live      bool // out is a terminal: one line is rewritten
}

// New finds the repository that the working directory is in, and the cache. Progress goes to out.
func New(getenv func(string) string, out *os.File) (*Builder, error) {
	root, err := repository()
	if err != nil {
		return nil, err
	}
	cache := getenv(EnvCache)
	if cache == "" {
		if cache, err = os.UserCacheDir(); err != nil {
			return nil, fmt.Errorf("no folder for the cache, set %s: %w", EnvCache, err)
		}
	}
	version, err := pinned(filepath.Join(root, folder, "kubernetes", "go.mod"), kubernetes)
	if err != nil {
		return nil, err
	}
	info, err := out.Stat()
	live := err == nil && info.Mode()&os.ModeCharDevice != 0
	return &Builder{root: root, cache: filepath.Join(cache, "muster", "lab"), artifacts: plan(version), out: out, live: live}, nil
}

// repository walks up from the working directory to the project's go.mod.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for start := dir; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, folder, "kubernetes", "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s is not in a checkout of the project: no %s above it", start, folder)
		}
	}
}

// Path is where an artifact is, built or not.
func (b *Builder) Path(name string) (string, error) {
	for _, a := range b.artifacts {
		if a.Name == name {
			return b.path(a)
		}
	}
	return "", fmt.Errorf("nothing called %q is built here", name)
}

func (b *Builder) path(a Artifact) (string, error) {
	k, err := key(b.root, a, runtime.Version()+" "+goos(a)+"/"+runtime.GOARCH)
	if err != nil {
		return "", err
	}
	file := a.Name
	if a.Image != "" {
		file += ".tar"
	}
	return filepath.Join(b.cache, a.Name+"-"+k, file), nil
}

// goos is the system that an artifact runs on: images are for Linux, also when made elsewhere.
func goos(a Artifact) string {
	if a.Image != "" {
		return "linux"
	}
	return runtime.GOOS
}

// Build makes what is missing of a set. Running it again costs milliseconds; two runs at once wait for each other.
func (b *Builder) Build(ctx context.Context, set Set) error {
	missing, err := b.missing(set)
	if err != nil || len(missing) == 0 {
		return err
	}
	if err := os.MkdirAll(b.cache, 0o755); err != nil {
		return err
	}
	release, err := lock.Acquire(ctx, filepath.Join(b.cache, "lock"), func() { fmt.Fprintln(b.out, "another build runs: waiting for it") })
	if err != nil {
		return err
	}
	defer release()
	if missing, err = b.missing(set); err != nil {
		return err
	}
	start := time.Now()
	for i, a := range missing {
		p := &progress{out: b.out, live: b.live, what: a.Name, index: i + 1, total: len(missing), start: start, began: time.Now()}
		if err := b.one(ctx, a, p); err != nil {
			return fmt.Errorf("build %s: %w", a.Name, err)
		}
	}
	return nil
}

func (b *Builder) missing(set Set) ([]Artifact, error) {
	var list []Artifact
	for _, a := range b.artifacts {
		if set == Envtest && !a.Envtest {
			continue
		}
		path, err := b.path(a)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			list = append(list, a)
		} else if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// one builds beside the artifact's place and renames at the end: what is in the cache is whole.
func (b *Builder) one(ctx context.Context, a Artifact, p *progress) error {
	path, err := b.path(a)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	program := filepath.Join(filepath.Dir(path), a.Name+".part")
	if err := b.compile(ctx, a, program, p); err != nil {
		return err
	}
	result := program
	if a.Image != "" {
		result = path + ".part"
		image, err := pack.Build(pack.Spec{Arch: runtime.GOARCH, Entrypoint: []string{"/" + a.Name}, Binaries: map[string]string{"/" + a.Name: program}})
		if err != nil {
			return err
		}
		if err := pack.Save(result, a.Image, image); err != nil {
			return err
		}
		if err := os.Remove(program); err != nil {
			return err
		}
	}
	p.done()
	return os.Rename(result, path)
}

// compile runs go build. The flags are the same for everybody, since others would fill the Go cache a second time. Git is not
// asked: it refuses to answer root about somebody else's checkout.
func (b *Builder) compile(ctx context.Context, a Artifact, out string, p *progress) error {
	argv := []string{"go", "build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", a.LDFlags, "-o", out, a.Package}
	if nice, err := exec.LookPath("nice"); err == nil {
		argv = append([]string{nice, "-n", "10"}, argv...)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = filepath.Join(b.root, a.Folder)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOOS="+goos(a), "GOARCH="+runtime.GOARCH)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	tail := p.follow(stderr)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%w\n%s", err, strings.Join(tail, "\n"))
	}
	return nil
}

// Assets is a folder with what envtest wants to find in one place: etcd, kube-apiserver and kubectl. It fails when they are not
// built yet.
func (b *Builder) Assets() (string, error) {
	targets := map[string]string{}
	var names []string
	for _, a := range b.artifacts {
		if !a.Envtest {
			continue
		}
		path, err := b.path(a)
		if err != nil {
			return "", err
		}
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("%s is not built yet: run `go run ./hack/lab build --only %s`", a.Name, Envtest)
		}
		targets[a.Name] = path
		names = append(names, filepath.Base(filepath.Dir(path)))
	}
	dir := filepath.Join(b.cache, strings.Join(names, "_"))
	return dir, linkAll(dir, targets)
}

// linkAll makes a folder of symbolic links. The folder's name holds the targets' keys, so a link that is there is right.
func linkAll(dir string, targets map[string]string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, target := range targets {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// lines sends each line of r, until it ends.
func lines(r io.Reader, to chan<- string) {
	defer close(to)
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		to <- s.Text()
	}
}
