// Package charts renders the charts with the pinned Helm and compares them with golden files, shows what their schemas
// refuse, and that what follows from the API is what the API says. `go test ./test/charts -update` rewrites the goldens.
package charts

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/muster-registry/muster/hack/helm"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const root = "../.."

var pinned = helm.Runner{Root: root}

// render returns the manifests of a chart.
func render(t *testing.T, chart string, args ...string) string {
	t.Helper()
	out, err := pinned.Run(t.Context(), append([]string{"template", "release", "charts/" + chart, "--namespace", "place"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// refused shows that Helm does not take a value, and says why.
func refused(t *testing.T, chart, set, want string) {
	t.Helper()
	out, err := pinned.Run(t.Context(), "template", "release", "charts/"+chart, "--set", set)
	if err == nil {
		t.Fatalf("%s was taken:\n%s", set, out)
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("%s: refused with\n%v\nwhich does not say %q", set, err, want)
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
