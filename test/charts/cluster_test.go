package charts

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
)

// Each values file in testdata/cluster is rendered; the result must be a RegistryCluster with no field unknown to the
// API, and be as the golden says.
func TestClusterGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/cluster/*.values.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no values files: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".values.yaml")
		t.Run(name, func(t *testing.T) {
			out := render(t, "muster-cluster", "--values", filepath.Join("test/charts", file))
			docs := documents(t, out)
			if len(docs) != 1 {
				t.Fatalf("%d objects, want one RegistryCluster", len(docs))
			}
			var c musterv1alpha1.RegistryCluster
			if err := yaml.UnmarshalStrict(docs[0], &c); err != nil {
				t.Errorf("not a RegistryCluster: %v", err)
			}
			golden(t, "cluster/"+name+".golden.yaml", out)
		})
	}
}

// The file with every value has a value for every field of the spec: a new field must be shown there, and so in the
// chart's README.
func TestClusterShowsEveryField(t *testing.T) {
	data, err := os.ReadFile("testdata/cluster/everything.values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(data, &values); err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join(root, "charts/muster-cluster/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	defaults, err := os.ReadFile(filepath.Join(root, "charts/muster-cluster/values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	spec := reflect.TypeFor[musterv1alpha1.RegistryClusterSpec]()
	for _, field := range missing(spec, values, "") {
		t.Errorf("testdata/cluster/everything.values.yaml does not set %s", field)
	}
	for f := range spec.Fields() {
		if !strings.Contains(string(readme), "`"+jsonName(f)) {
			t.Errorf("charts/muster-cluster/README.md does not tell of %s", jsonName(f))
		}
		if !strings.Contains(string(defaults), "# "+jsonName(f)+":") {
			t.Errorf("charts/muster-cluster/values.yaml does not show %s", jsonName(f))
		}
	}
}

// missing lists the fields of a struct of ours, and of those in it, that values do not set.
func missing(of reflect.Type, values map[string]any, prefix string) []string {
	var names []string
	for f := range of.Fields() {
		name := jsonName(f)
		value, ok := values[name]
		if !ok {
			names = append(names, prefix+name)
			continue
		}
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if below, ok := value.(map[string]any); ok && strings.HasPrefix(inner.PkgPath(), "github.com/muster-registry/") {
			names = append(names, missing(inner, below, prefix+name+".")...)
		}
	}
	return names
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// What the API server would refuse by type, range or name, Helm refuses before it sends anything, and names the value.
func TestClusterRefusals(t *testing.T) {
	cases := map[string]struct{ set, want string }{
		"negative replicas":      {"replicas=-1", "at '/replicas': minimum: got -1, want 1"},
		"no replicas at all":     {"replicas=0", "at '/replicas': minimum: got 0, want 1"},
		"replicas in words":      {"replicas=three", "at '/replicas': got string, want integer"},
		"empty image":            {"image=", "at '/image': minLength: got 0, want 1"},
		"unknown value":          {"replica=3", "at '': additional properties 'replica' not allowed"},
		"unknown timeout":        {"timeouts.drainGrac=30s", "at '/timeouts': additional properties 'drainGrac' not allowed"},
		"timeout without a unit": {"timeouts.drainGrace=\"30\"", "at '/timeouts/drainGrace': "},
		"pull policy":            {"imagePullPolicy=Sometimes", "at '/imagePullPolicy': value must be one of"},
		"membership":             {"membership.source=gossip", "at '/membership/source': value must be one of"},
		"log level":              {"logLevel=loud", "at '/logLevel': value must be one of"},
		"probes per second":      {"probing.perSecond=0", "at '/probing/perSecond': minimum: got 0, want 1"},
		"service type":           {"service.type=ExternalName", "at '/service/type': value must be one of"},
		"node port":              {"service.nodePorts.http=70000", "at '/service/nodePorts/http': maximum: got 70,000, want 64,535"},
		"affinity":               {"podTemplate.affinity.podAntiAfinity=x", "at '/podTemplate/affinity': additional properties 'podAntiAfinity' not allowed"},
		"name":                   {"name=Prod", "at '/name': 'Prod' does not match pattern"},
	}
	for what, c := range cases {
		t.Run(what, func(t *testing.T) { refused(t, "muster-cluster", c.set, c.want) })
	}
}
