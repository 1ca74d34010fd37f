package arch

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree writes a module of ours with the given packages, each "path: imports" and a body, and loads it. Modules from
// outside are empty folders that the module points at.
func tree(t *testing.T, files map[string]string) graph {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mod := "module " + module + "\n\ngo 1.26\n"
	for _, outside := range []string{"google.golang.org/grpc", "sigs.k8s.io/controller-runtime", "k8s.io/client-go", "github.com/stretchr/testify"} {
		local := "./outside/" + filepath.Base(outside)
		mod += "\nrequire " + outside + " v0.0.0\nreplace " + outside + " => " + local + "\n"
		write(local+"/go.mod", "module "+outside+"\n")
		write(local+"/x.go", "package x\n")
	}
	write("go.mod", mod)
	for name, text := range files {
		write(name, text)
	}
	return load(t, dir)
}

// importing is the text of a package with a comment that imports what is listed.
func importing(name string, paths ...string) string {
	text := "// Package " + name + " is here to be checked.\npackage " + name + "\n"
	for _, path := range paths {
		if below, ok := strings.CutPrefix(path, "./"); ok {
			path = module + "/" + below
		}
		text += "import _ \"" + path + "\"\n"
	}
	return text
}

// TestImportRules shows for each rule an import that it catches, and for the shape that we want that none does.
func TestImportRules(t *testing.T) {
	cases := map[string]struct {
		files map[string]string // path of a package -> imports, blanks between them
		want  []string          // "from -> ... -> forbidden"
	}{
		"the shape of the server": {files: map[string]string{
			"registry/model":                 "errors time",
			"registry/ring":                  "./registry/model",
			"registry/catalog":               "./registry/model sync",
			"registry/membership":            "./registry/model context",
			"registry/membership/lease":      "./registry/model ./registry/membership ./api/wellknown ./registry/membership/kubeclient",
			"registry/membership/kubeclient": "k8s.io/client-go",
			"registry/replication":           "./registry/model ./registry/catalog ./registry/ring",
			"registry/replication/link":      "./registry/replication ./registry/replication/peerpb google.golang.org/grpc",
			"registry/push":                  "./registry/catalog ./registry/model",
			"registry/session":               "./registry/replication ./registry/ring",
			"registry/member":                "./registry/session ./registry/push ./registry/replication ./registry/catalog",
			"registry/nacos/codec":           "./registry/model encoding/json",
			"registry/nacos/http":            "./registry/member ./registry/nacos/codec net/http",
			"registry/nacos/grpc":            "./registry/member ./registry/nacos/codec google.golang.org/grpc",
			"registry/server":                "./registry/member ./registry/nacos/http ./registry/nacos/grpc ./registry/replication/link ./registry/membership/lease ./api/config/v1alpha1",
			"cmd/registry":                   "./registry/server",
		}},
		"the shape of the operator": {files: map[string]string{
			"api/v1alpha1":                "./api/wellknown ./api/config/v1alpha1",
			"controllers/desired":         "./api/v1alpha1 ./api/wellknown",
			"controllers/apply":           "sigs.k8s.io/controller-runtime",
			"controllers/registrycluster": "./controllers/desired ./controllers/apply ./api/v1alpha1",
			"cmd/operator":                "./controllers/registrycluster",
		}},
		"names with logic": {
			files: map[string]string{"api/wellknown": "strings"},
			want:  []string{"./api/wellknown -> strings"},
		},
		"a contract that knows a program": {
			files: map[string]string{"api/config/v1alpha1": "./registry/model"},
			want:  []string{"./api/config/v1alpha1 -> ./registry/model"},
		},
		"a kind that knows a program": {
			files: map[string]string{"api/v1alpha1": "./controllers/desired"},
			want:  []string{"./api/v1alpha1 -> ./controllers/desired"},
		},
		"a model that is no value": {
			files: map[string]string{"registry/model": "log/slog"},
			want:  []string{"./registry/model -> log/slog"},
		},
		"a sideways import in the first layer": {
			files: map[string]string{"registry/catalog": "./registry/ring"},
			want:  []string{"./registry/catalog -> ./registry/ring"},
		},
		"a source of membership that knows the engine": {
			files: map[string]string{"registry/membership/lease": "./registry/replication"},
			want:  []string{"./registry/membership/lease -> ./registry/replication"},
		},
		"an engine that knows sessions": {
			files: map[string]string{"registry/replication": "./registry/session"},
			want:  []string{"./registry/replication -> ./registry/session"},
		},
		"push that knows the engine": {
			files: map[string]string{"registry/push": "./registry/replication"},
			want:  []string{"./registry/push -> ./registry/replication"},
		},
		"sessions that push": {
			files: map[string]string{"registry/session": "./registry/push"},
			want:  []string{"./registry/session -> ./registry/push"},
		},
		"a core with a network, by way of the model": {
			files: map[string]string{"registry/model": "google.golang.org/grpc", "registry/ring": "./registry/model"},
			want:  []string{"./registry/ring -> ./registry/model -> google.golang.org/grpc"},
		},
		"a core that throws dice": {
			files: map[string]string{"registry/session": "math/rand/v2"},
			want:  []string{"./registry/session -> math/rand/v2"},
		},
		"a member that serves": {
			files: map[string]string{"registry/member": "net/http ./registry/nacos/codec"},
			want:  []string{"./registry/member -> ./registry/nacos/codec", "./registry/member -> net/http"},
		},
		"wire types with knowledge": {
			files: map[string]string{"registry/replication/peerpb": "./registry/model"},
			want:  []string{"./registry/replication/peerpb -> ./registry/model"},
		},
		"streams that know the member": {
			files: map[string]string{"registry/replication/link": "./registry/member"},
			want:  []string{"./registry/replication/link -> ./registry/member"},
		},
		"an adapter that decides": {
			files: map[string]string{"registry/nacos/http": "./registry/replication"},
			want:  []string{"./registry/nacos/http -> ./registry/replication"},
		},
		"adapters that know each other": {
			files: map[string]string{"registry/nacos/http": "./registry/nacos/grpc", "registry/nacos/grpc": "./registry/nacos/udp", "registry/nacos/udp": "./registry/console", "registry/console": "./registry/syncer/nacos", "registry/syncer/nacos": "./registry/nacos/codec"},
			want: []string{
				"./registry/console -> ./registry/syncer/nacos", "./registry/nacos/grpc -> ./registry/nacos/udp", "./registry/nacos/http -> ./registry/nacos/grpc",
				"./registry/nacos/udp -> ./registry/console", "./registry/syncer/nacos -> ./registry/nacos/codec",
			},
		},
		"an operator that links the server": {
			files: map[string]string{"cmd/operator": "./hack", "hack": "./registry/member"},
			want:  []string{"./cmd/operator -> ./hack -> ./registry/member"},
		},
		"a server that links the operator": {
			files: map[string]string{"cmd/registry": "./controllers/apply"},
			want:  []string{"./cmd/registry -> ./controllers/apply"},
		},
		"desired objects that ask": {
			files: map[string]string{"controllers/desired": "sigs.k8s.io/controller-runtime ./controllers/apply"},
			want:  []string{"./controllers/desired -> ./controllers/apply", "./controllers/desired -> sigs.k8s.io/controller-runtime"},
		},
		"a server with the operator's framework": {
			files: map[string]string{"registry/server": "sigs.k8s.io/controller-runtime"},
			want:  []string{"./registry/server -> sigs.k8s.io/controller-runtime"},
		},
		"a server package with a Kubernetes client": {
			files: map[string]string{"registry/server": "k8s.io/client-go"},
			want:  []string{"./registry/server -> k8s.io/client-go"},
		},
		"programs with their tests": {
			files: map[string]string{"registry/server": "./registry/membership/membershiptest", "cmd/registry": "testing"},
			want:  []string{"./cmd/registry -> testing", "./registry/server -> ./registry/membership/membershiptest"},
		},
		"a package that knows a program": {
			files: map[string]string{"registry/server": "./hack/lab"},
			want:  []string{"./registry/server -> ./hack/lab"},
		},
		"a second assertion library": {
			files: map[string]string{"test/e2e": "github.com/stretchr/testify"},
			want:  []string{"./test/e2e -> github.com/stretchr/testify"},
		},
	}
	caught := map[string]bool{}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{}
			for path, imports := range c.files {
				files[path+"/x.go"] = importing("x", strings.Fields(imports)...)
			}
			found := tree(t, files).violations(rules)
			var ways []string
			for _, v := range found {
				way, why, _ := strings.Cut(v, ": ")
				caught[why] = true
				ways = append(ways, way)
			}
			slices.Sort(ways)
			if diff := cmp.Diff(c.want, slices.Compact(ways)); diff != "" {
				t.Errorf("violations (-want +got):\n%s", diff)
			}
		})
	}
	for _, r := range rules {
		if !caught[r.why] {
			t.Errorf("no case shows that this rule catches anything: %s", r.why)
		}
	}
}

func TestConventionChecks(t *testing.T) {
	g := tree(t, map[string]string{
		"registry/catalog/a.go": `package catalog

import "time"

var stripes = map[string]int{}

var limit, now = 3, time.Now

func init() { stripes["a"] = 1 }

func tick() {
	limit := limit
	limit++
	go tick()
}
`,
		"registry/catalog/b.go": "package catalog\n\nfunc raise() { limit++ }\n",
		// The runner holds the clock, the rest of the member does not; a local variable is no package variable.
		"registry/member/member.go": "// Package member is one.\npackage member\n\nvar count int\n\nfunc step() { count := 0; count++; go step() }\n",
		"registry/member/runner.go": "package member\n\nimport \"time\"\n\nfunc run() { go run(); <-time.After(time.Second) }\n",
		"registry/util/helpers.go":  "// Package util is everything.\npackage util\n\nimport \"net/http\"\n\nfunc F() { http.HandleFunc(\"/\", nil) }\n",
		"registry/push/metrics.go": `// Package push measures.
package push

import "github.com/prometheus/client_golang/prometheus"

var (
	good  = prometheus.CounterOpts{Name: "muster_push_sent_total"}
	bad   = prometheus.CounterOpts{Name: "muster_push_sent"}
	worse = prometheus.GaugeOpts{Name: "muster_push_slots_total"}
	unit  = prometheus.HistogramOpts{Name: "muster_push_delay"}
	short = prometheus.GaugeOpts{Name: "muster_Slots"}
)
`,
		"registry/pb/x.pb.go": "// Code generated by hand. DO NOT EDIT.\n\npackage pb\n\nfunc init() {}\n",
	})
	want := map[string][]string{
		"every package says what it is for": {"./registry/catalog: no package comment"},
		"names say what a thing is":         {`./registry/util/helpers.go: the name says nothing`, `./registry/util: "util" says nothing`},
		"no init(): the composition root calls": {
			"./registry/catalog/a.go:9: init()",
		},
		"no default registry: many members, one process": {"./registry/util/helpers.go:6: http.HandleFunc"},
		"package variables are never assigned": {
			"./registry/catalog/a.go:9: assignment to package variable stripes",
			"./registry/catalog/b.go:3: assignment to package variable limit",
		},
		"metrics are muster_<package>_<noun>_<unit>": {
			"./registry/push/metrics.go:10: muster_push_delay: a histogram ends in its unit",
			"./registry/push/metrics.go:11: muster_Slots",
			"./registry/push/metrics.go:8: muster_push_sent: a counter ends in _total, and nothing else does",
			"./registry/push/metrics.go:9: muster_push_slots_total: a counter ends in _total, and nothing else does",
		},
		"the core has no clock and no goroutine": {
			"./registry/catalog/a.go:14: go statement",
			"./registry/catalog/a.go:7: time.Now",
			"./registry/member/member.go:6: go statement",
		},
	}
	if diff := cmp.Diff(want, broken(t, g)); diff != "" {
		t.Errorf("violations (-want +got):\n%s", diff)
	}
}
