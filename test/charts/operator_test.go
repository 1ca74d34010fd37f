package charts

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// Each values file in testdata/operator is rendered; every object must be of the API, without an unknown field.
func TestOperatorGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/operator/*.values.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no values files: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".values.yaml")
		t.Run(name, func(t *testing.T) {
			out := render(t, "muster", "--values", filepath.Join("test/charts", file))
			for _, doc := range documents(t, out) {
				strict(t, doc)
			}
			golden(t, "operator/"+name+".golden.yaml", out)
		})
	}
}

// strict decodes an object into its Go type.
func strict(t *testing.T, doc []byte) {
	t.Helper()
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal(doc, &kind); err != nil {
		t.Fatal(err)
	}
	types := map[string]any{
		"Deployment": &appsv1.Deployment{}, "Service": &corev1.Service{}, "ServiceAccount": &corev1.ServiceAccount{},
		"ClusterRole": &rbacv1.ClusterRole{}, "ClusterRoleBinding": &rbacv1.ClusterRoleBinding{},
		"Role": &rbacv1.Role{}, "RoleBinding": &rbacv1.RoleBinding{},
	}
	object, ok := types[kind.Kind]
	if !ok {
		t.Errorf("a %s: say here what it is", kind.Kind)
		return
	}
	if err := yaml.UnmarshalStrict(doc, object); err != nil {
		t.Errorf("%s: %v\n%s", kind.Kind, err, doc)
	}
}

// The file with every value has one for each default: a new value must be shown there and in the README.
func TestOperatorShowsEveryValue(t *testing.T) {
	read := func(path string) map[string]any {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var values map[string]any
		if err := yaml.Unmarshal(data, &values); err != nil {
			t.Fatal(err)
		}
		return values
	}
	readme, err := os.ReadFile(filepath.Join(root, "charts/muster/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	everything := read("testdata/operator/everything.values.yaml")
	for name := range read(filepath.Join(root, "charts/muster/values.yaml")) {
		if _, ok := everything[name]; !ok {
			t.Errorf("testdata/operator/everything.values.yaml does not set %s", name)
		}
		if !strings.Contains(string(readme), "`"+name) {
			t.Errorf("charts/muster/README.md does not tell of %s", name)
		}
	}
}

// The CRDs of the chart are those of config/crd/bases, and survive the release; with crds.install=false there are none.
func TestOperatorCRDs(t *testing.T) {
	const keep = "helm.sh/resource-policy"
	bases, err := filepath.Glob(filepath.Join(root, "config/crd/bases/*.yaml"))
	if err != nil || len(bases) == 0 {
		t.Fatalf("no CRDs: %v", err)
	}
	want := map[string]any{}
	for _, base := range bases {
		data, err := os.ReadFile(base)
		if err != nil {
			t.Fatal(err)
		}
		name, crd := named(t, data)
		want[name] = crd
	}
	got := map[string]any{}
	for _, doc := range documents(t, render(t, "muster")) {
		if !strings.Contains(string(doc), "\nkind: CustomResourceDefinition\n") {
			continue
		}
		name, crd := named(t, doc)
		annotations, _ := crd["metadata"].(map[string]any)["annotations"].(map[string]any)
		if annotations[keep] != "keep" {
			t.Errorf("%s would go with the chart, and every registry with it", name)
		}
		delete(annotations, keep)
		got[name] = crd
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("CRDs (-config +chart):\n%s", diff)
	}
	if out := render(t, "muster", "--set", "crds.install=false"); strings.Contains(out, "CustomResourceDefinition") {
		t.Error("crds.install=false still renders CRDs")
	}
}

func named(t *testing.T, doc []byte) (string, map[string]any) {
	t.Helper()
	var object map[string]any
	if err := yaml.Unmarshal(doc, &object); err != nil {
		t.Fatal(err)
	}
	name, _ := object["metadata"].(map[string]any)["name"].(string)
	return name, object
}

// The operator has the rights that its code asks for, and no others: cluster-wide by default, in single namespaces when
// there is a list.
func TestOperatorRights(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, "config/rbac/role.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var want, got rbacv1.ClusterRole
	if err := yaml.UnmarshalStrict(data, &want); err != nil {
		t.Fatal(err)
	}
	bindings := func(args ...string) []string {
		var found []string
		for _, doc := range documents(t, render(t, "muster", args...)) {
			var binding rbacv1.RoleBinding
			if err := yaml.Unmarshal(doc, &binding); err != nil {
				t.Fatal(err)
			}
			switch {
			case binding.Kind == "ClusterRole" && binding.Name == "place:release-operator":
				if err := yaml.UnmarshalStrict(doc, &got); err != nil {
					t.Fatal(err)
				}
			case strings.HasSuffix(binding.Kind, "Binding"):
				found = append(found, binding.Kind+" "+binding.Namespace+": "+binding.RoleRef.Name)
			}
		}
		slices.Sort(found)
		return found
	}
	everywhere := []string{"ClusterRoleBinding : place:release-operator", "RoleBinding place: release-operator-leader"}
	if diff := cmp.Diff(everywhere, bindings()); diff != "" {
		t.Errorf("bindings (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want.Rules, got.Rules); diff != "" {
		t.Errorf("rules (-config +chart):\n%s", diff)
	}
	some := []string{"RoleBinding a: place:release-operator", "RoleBinding b: place:release-operator", "RoleBinding place: release-operator-leader"}
	if diff := cmp.Diff(some, bindings("--set", "namespaces={a,b}")); diff != "" {
		t.Errorf("bindings with namespaces (-want +got):\n%s", diff)
	}
}

// Kustomize (config/default) and the chart install the same operator: only names, the image and where the default image
// comes from may differ.
func TestOperatorAsKustomize(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "tool", "-modfile=hack/tools/go.mod", "kustomize", "build", "config/default")
	cmd.Dir = root
	built, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	pod := func(manifests string) corev1.PodSpec {
		for _, doc := range documents(t, manifests) {
			var d appsv1.Deployment
			if err := yaml.Unmarshal(doc, &d); err != nil || d.Kind != "Deployment" {
				continue
			}
			spec := d.Spec.Template.Spec
			spec.ServiceAccountName = ""
			for i := range spec.Containers {
				c := &spec.Containers[i]
				c.Image, c.ImagePullPolicy, c.Args = "", "", nil
				c.Env = slices.DeleteFunc(c.Env, func(e corev1.EnvVar) bool { return e.ValueFrom != nil })
			}
			return spec
		}
		t.Fatal("no Deployment")
		return corev1.PodSpec{}
	}
	if diff := cmp.Diff(pod(string(built)), pod(render(t, "muster"))); diff != "" {
		t.Errorf("pods (-kustomize +chart):\n%s", diff)
	}
}

func TestOperatorRefusals(t *testing.T) {
	cases := map[string]struct{ set, want string }{
		"no operator":     {"replicas=0", "at '/replicas': minimum: got 0, want 1"},
		"no image":        {"image.repository=", "at '/image/repository': minLength: got 0, want 1"},
		"a tag as digest": {"image.digest=v1", "at '/image/digest': 'v1' does not match pattern"},
		"pull policy":     {"image.pullPolicy=Sometimes", "at '/image/pullPolicy': value must be one of"},
		"log level":       {"logLevel=loud", "at '/logLevel': value must be one of"},
		"unknown value":   {"image.repo=x", "at '/image': additional properties 'repo' not allowed"},
		"unknown group":   {"operator.replicas=2", "at '': additional properties 'operator' not allowed"},
		"namespace":       {"namespaces={Prod}", "at '/namespaces/0': 'Prod' does not match pattern"},
		"annotations":     {"podAnnotations.a=1", "at '/podAnnotations/a': got number, want string"},
	}
	for what, c := range cases {
		t.Run(what, func(t *testing.T) { refused(t, "muster", c.set, c.want) })
	}
}

func TestLint(t *testing.T) {
	for _, chart := range []string{"muster", "muster-cluster"} {
		if out, err := pinned.Run(t.Context(), "lint", "--strict", "charts/"+chart); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
}
