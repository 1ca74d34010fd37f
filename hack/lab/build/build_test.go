package build

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestPlan(t *testing.T) {
	var b strings.Builder
	for _, a := range plan("v1.34.4") {
		fmt.Fprintf(&b, "%s\n  in %s: go build -trimpath -ldflags '%s' %s\n", a.Name, a.Folder, a.LDFlags, a.Package)
		if a.Image != "" {
			fmt.Fprintf(&b, "  packed as %s\n", a.Image)
		}
		if a.Envtest {
			fmt.Fprintf(&b, "  for envtest\n")
		}
	}
	path := filepath.Join("testdata", "plan.txt")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("plan (-want +got; -update rewrites it):\n%s", diff)
	}
}

// TestPinsOfThisCheckout fails when the plan no longer fits the modules in the tree.
func TestPinsOfThisCheckout(t *testing.T) {
	b, err := New(os.Getenv, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range b.artifacts {
		if _, err := b.Path(a.Name); err != nil {
			t.Errorf("%s: %v", a.Name, err)
		}
	}
	if _, err := b.Path("minikube"); err == nil {
		t.Error("Path of what is not built here has no error")
	}
}

func TestPinned(t *testing.T) {
	cases := map[string]struct{ text, want, err string }{
		"in a block":        {text: "module x\n\nrequire (\n\tk8s.io/api v0.34.4 // indirect\n\tk8s.io/kubernetes v1.34.4 // indirect\n)\n", want: "v1.34.4"},
		"on a line":         {text: "module x\nrequire k8s.io/kubernetes v1.35.0\n", want: "v1.35.0"},
		"only in a comment": {text: "module x\n// about k8s.io/kubernetes v1.2.3\n", err: "requires no k8s.io/kubernetes"},
		"a longer name":     {text: "require (\n\tk8s.io/kubernetes/x v1.0.0\n)\n", err: "requires no"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "go.mod")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := pinned(path, kubernetes)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("error %v, want %q", err, c.err)
			}
			if got != c.want {
				t.Errorf("version %s, want %s", got, c.want)
			}
		})
	}
}

// small is a builder of two tiny programs, one of them an image, in a repository and a cache of the test's.
func small(t *testing.T) (*Builder, *bytes.Buffer) {
	t.Helper()
	root := t.TempDir()
	for _, name := range []string{"server", "image"} {
		write(t, filepath.Join(root, name, "go.mod"), "module example.com/"+name+"\n\ngo 1.24\n")
		write(t, filepath.Join(root, name, "main.go"), "package main\n\nvar version string\n\nfunc main() { println(version) }\n")
	}
	var out bytes.Buffer
	return &Builder{root: root, cache: filepath.Join(t.TempDir(), "cache"), out: &out, artifacts: []Artifact{
		{Name: "server", Folder: "server", Package: ".", LDFlags: "-X main.version=v7", Envtest: true},
		{Name: "image", Folder: "image", Package: ".", Image: "example.com/image:1"},
	}}, &out
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func build(t *testing.T, b *Builder, set Set) {
	t.Helper()
	if err := b.Build(t.Context(), set); err != nil {
		t.Fatal(err)
	}
}

// mustPath returns an artifact's path and whether it is there.
func mustPath(t *testing.T, b *Builder, name string) (string, bool) {
	t.Helper()
	path, err := b.Path(name)
	if err != nil {
		t.Fatal(err)
	}
	_, err = os.Stat(path)
	return path, err == nil
}

func TestBuildMakesWhatIsMissing(t *testing.T) {
	b, out := small(t)
	if _, err := b.Assets(); err == nil || !strings.Contains(err.Error(), "build --only envtest") {
		t.Errorf("assets before the build: %v", err)
	}

	build(t, b, Envtest)
	if _, there := mustPath(t, b, "image"); there {
		t.Error("--only envtest built the image")
	}
	dir, err := b.Assets()
	if err != nil {
		t.Fatal(err)
	}
	version, err := exec.Command(filepath.Join(dir, "server")).CombinedOutput()
	if err != nil || strings.TrimSpace(string(version)) != "v7" {
		t.Errorf("the program in the assets says %q, %v, want v7", version, err)
	}

	out.Reset()
	build(t, b, Everything)
	tar, there := mustPath(t, b, "image")
	if !there || filepath.Base(tar) != "image.tar" {
		t.Errorf("%s: there %v, want the image's tar", tar, there)
	}
	if !strings.Contains(out.String(), "[1/1] built image") {
		t.Errorf("progress %q, want only the image", out)
	}
	if parts, _ := filepath.Glob(filepath.Join(b.cache, "*", "*.part")); len(parts) > 0 {
		t.Errorf("left behind: %v", parts)
	}

	out.Reset()
	build(t, b, Everything)
	if out.Len() > 0 {
		t.Errorf("a build with nothing to do says %q", out)
	}
}

func TestAnArtifactsPathChangesWithItsPins(t *testing.T) {
	changes := map[string]func(b *Builder){
		"a pin":        func(b *Builder) { write(t, filepath.Join(b.root, "server", "go.sum"), "example.com/x v1.0.1 h1:\n") },
		"a source":     func(b *Builder) { write(t, filepath.Join(b.root, "server", "extra.go"), "package main\n") },
		"the flags":    func(b *Builder) { b.artifacts[0].LDFlags = "-X main.version=v8" },
		"the package":  func(b *Builder) { b.artifacts[0].Package = "./cmd" },
		"another name": func(b *Builder) { b.artifacts[0].Name = "server2" },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			b, _ := small(t)
			before, err := b.path(b.artifacts[0])
			if err != nil {
				t.Fatal(err)
			}
			other, _ := mustPath(t, b, "image")
			change(b)
			after, err := b.path(b.artifacts[0])
			if err != nil {
				t.Fatal(err)
			}
			if before == after {
				t.Error("the path is the same: nothing would be built again")
			}
			if again, _ := mustPath(t, b, "image"); again != other {
				t.Error("the other artifact would be built again too")
			}
		})
	}
	b, _ := small(t)
	before, _ := mustPath(t, b, "server")
	write(t, filepath.Join(b.root, "server", "README.md"), "words")
	if after, _ := mustPath(t, b, "server"); after != before {
		t.Error("a file that is not compiled changes the path")
	}
}

func TestABuildThatFailsSaysWhyAndLeavesNothing(t *testing.T) {
	b, _ := small(t)
	write(t, filepath.Join(b.root, "server", "broken.go"), "package main\n\nvar x int = \"text\"\n")
	err := b.Build(t.Context(), Envtest)
	if err == nil || !strings.Contains(err.Error(), "build server") || !strings.Contains(err.Error(), "broken.go:3") {
		t.Errorf("error %v, want the compiler's", err)
	}
	if _, there := mustPath(t, b, "server"); there {
		t.Error("the cache holds what was not built")
	}
}

func TestABuildThatIsInterruptedEnds(t *testing.T) {
	b, _ := small(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Build(ctx, Everything); err == nil {
		t.Error("no error")
	}
	build(t, b, Everything)
	if _, there := mustPath(t, b, "server"); !there {
		t.Error("the next build does not make it")
	}
}

func TestProgress(t *testing.T) {
	start := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	p := &progress{out: io.Discard, what: "kubelet", index: 4, total: 10, start: start, began: start.Add(3 * time.Minute)}
	errors := p.follow(strings.NewReader(`go: downloading k8s.io/api v0.34.4
go: downloading k8s.io/apimachinery v0.34.4
k8s.io/api/core/v1
internal/runtime/maps
k8s.io/kubernetes/cmd/kubelet
# k8s.io/kubernetes/cmd/kubelet
cmd/kubelet.go:7:3: undefined: x
`))
	if diff := cmp.Diff([]string{"# k8s.io/kubernetes/cmd/kubelet", "cmd/kubelet.go:7:3: undefined: x"}, errors); diff != "" {
		t.Errorf("what is neither a download nor a package (-want +got):\n%s", diff)
	}
	want := "[4/10] building kubelet: 42s, 2 modules fetched, 3 packages compiled (6 left after it, 3m42s in all)"
	if diff := cmp.Diff(want, p.line(start.Add(3*time.Minute+42*time.Second))); diff != "" {
		t.Error(diff)
	}
}

func TestParseSet(t *testing.T) {
	for text, ok := range map[string]bool{"": true, "envtest": true, "kubelet": false, "Envtest": false} {
		if _, err := ParseSet(text); (err == nil) != ok {
			t.Errorf("ParseSet(%q): %v", text, err)
		}
	}
}

func TestCacheFollowsTheEnvironment(t *testing.T) {
	dir := t.TempDir()
	b, err := New(func(name string) string { return map[string]string{EnvCache: dir}[name] }, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	path, _ := mustPath(t, b, "etcd")
	if rel, err := filepath.Rel(filepath.Join(dir, "muster", "lab"), path); err != nil || strings.HasPrefix(rel, "..") {
		t.Errorf("%s is not below %s", path, dir)
	}
	if runtime.GOOS != "linux" && goos(Artifact{Image: "x"}) != "linux" {
		t.Error("images are for Linux")
	}
}
