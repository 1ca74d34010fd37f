// Package charts renders the charts with the pinned Helm and compares them with golden files, shows what their schemas
// refuse, and that what follows from the API is what the API says. `go test ./test/charts -update` rewrites the goldens.
package charts

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/yaml"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const root = "../.."

// helm runs the pinned Helm and returns what it says on both channels.
func helm(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"tool", "-modfile=hack/tools/go.mod", "helm"}, args...)...)
	cmd.Dir = root
	// A user's own plug-ins and repositories have no say.
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	var out, failure bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failure
	err = cmd.Run()
	return out.String(), failure.String(), err
}

// render returns the manifests of a chart.
func render(t *testing.T, chart string, args ...string) string {
	t.Helper()
	out, failure, err := helm(t, append([]string{"template", "release", "charts/" + chart, "--namespace", "place"}, args...)...)
	if err != nil {
		t.Fatalf("helm template %s %v: %v\n%s", chart, args, err, failure)
	}
	return out
}

// refused shows that Helm does not take a value, and says why.
func refused(t *testing.T, chart, set, want string) {
	t.Helper()
	out, failure, err := helm(t, "template", "release", "charts/"+chart, "--set", set)
	if err == nil {
		t.Fatalf("%s was taken:\n%s", set, out)
	}
	if !strings.Contains(failure, want) {
		t.Errorf("%s: refused with\n%s\nwhich does not say %q", set, failure, want)
	}
}

// golden compares with testdata/name, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; go test ./test/charts -update writes it", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// documents splits manifests into one YAML text an object.
func documents(t *testing.T, manifests string) [][]byte {
	t.Helper()
	var docs [][]byte
	for r := yaml.NewDocumentDecoder(io.NopCloser(strings.NewReader(manifests))); ; {
		buf := make([]byte, 1<<20)
		n, err := r.Read(buf)
		if errors.Is(err, io.EOF) {
			return docs
		} else if err != nil {
			t.Fatal(err)
		}
		if doc := bytes.TrimSpace(buf[:n]); len(doc) > 0 {
			docs = append(docs, doc)
		}
	}
}
