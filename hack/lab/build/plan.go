// Package build makes the lab's programs and images from pinned Go modules, once, into a cache outside the tree. The nested
// modules kubernetes, etcd and coredns hold the pins, so that they never touch the project's own go.mod.
package build

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/muster-registry/muster/hack/lab/layout"
)

// Artifact is one thing to build: a program, or an image with one program in it.
type Artifact struct {
	Name    string
	Folder  string // of the module or package, below the repository's root
	Package string // what to build, as seen from Folder
	LDFlags string
	Image   string // the tag, for images
	Envtest bool   // needed by tests that start only an API server
}

// Set chooses artifacts by what they are for.
type Set string

// The sets that can be built alone.
const (
	Everything Set = ""
	Envtest    Set = "envtest"
)

// ParseSet reads a set from a flag.
func ParseSet(text string) (Set, error) {
	switch s := Set(text); s {
	case Everything, Envtest:
		return s, nil
	}
	return "", fmt.Errorf("--only %q: the only part that can be built alone is %q", text, Envtest)
}

const (
	folder     = "hack/lab/build"
	stripped   = "-s -w"
	kubernetes = "k8s.io/kubernetes"
)

// plan lists the artifacts in the order in which they are built: those of envtest first.
func plan(kubernetesVersion string) []Artifact {
	etcd := filepath.Join(folder, "etcd")
	list := []Artifact{{Name: "etcd", Folder: etcd, Package: "go.etcd.io/etcd/server/v3", LDFlags: stripped, Envtest: true}}
	for _, name := range []string{"kube-apiserver", "kubectl", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"} {
		list = append(list, Artifact{
			Name: name, Folder: filepath.Join(folder, "kubernetes"), Package: kubernetes + "/cmd/" + name,
			LDFlags: versionFlags(kubernetesVersion), Envtest: name == "kube-apiserver" || name == "kubectl",
		})
	}
	image := func(name, dir, tag string) Artifact {
		return Artifact{Name: name, Folder: dir, Package: ".", LDFlags: stripped, Image: tag}
	}
	return append(list,
		image("coredns", filepath.Join(folder, "coredns"), layout.DNSImage),
		image("pause", "hack/lab/images/pause", layout.PauseImage),
		image("probe", "hack/lab/images/probe", layout.ProbeImage))
}

// versionFlags tells Kubernetes its version, which its own build scripts do. The date is fixed: the same pins give the same bytes.
func versionFlags(version string) string {
	major, rest, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	flags := stripped
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		flags += fmt.Sprintf(" -X %[1]s.gitVersion=%[2]s -X %[1]s.gitMajor=%[3]s -X %[1]s.gitMinor=%[4]s -X %[1]s.gitTreeState=clean"+
			" -X %[1]s.gitCommit=0000000000000000000000000000000000000000 -X %[1]s.buildDate=2026-01-01T00:00:00Z", pkg, version, major, minor)
	}
	return flags
}

// pinned returns the version that a go.mod requires of a module.
func pinned(goMod, module string) (string, error) {
	b, err := os.ReadFile(goMod)
	if err != nil {
		return "", err
	}
	m := regexp.MustCompile(`(?m)^(?:require)?\s*` + regexp.QuoteMeta(module) + ` (v\S+)`).FindSubmatch(b)
	if m == nil {
		return "", fmt.Errorf("%s requires no %s", goMod, module)
	}
	return string(m[1]), nil
}

// key names everything that decides what an artifact's bytes are: the pins and sources in its folder, the flags, and the toolchain.
func key(root string, a Artifact, toolchain string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, a.Package, a.LDFlags, a.Image, toolchain)
	entries, err := os.ReadDir(filepath.Join(root, a.Folder))
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if e.IsDir() || !slices.Contains([]string{".go", ".mod", ".sum"}, filepath.Ext(e.Name())) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(root, a.Folder, e.Name()))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n%s", e.Name(), len(b), b)
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}
