package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const crd = `---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  annotations:
    controller-gen.kubebuilder.io/version: v0
  name: registryclusters.registry.muster.dev
spec:
  versions:
  - name: v1
    storage: false
    schema: {}
  - name: v2
    storage: true
    schema:
      openAPIV3Schema:
        properties:
          spec:
            default: {}
            description: 'braces: {{ .Values }}'
            type: object
            required: [format]
            properties:
              format:
                type: string
                format: date-time
                enum: [default]
              default:
                type: object
                additionalProperties: {type: integer, format: int32}
                x-kubernetes-map-type: atomic
              list:
                type: array
                items: {type: object, properties: {port: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}, {type: string}]}}}
`

func TestCRDTemplate(t *testing.T) {
	want := `{{- /* Made from config/crd/bases by make generate. */ -}}
{{- if .Values.crds.install }}
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  annotations:
    helm.sh/resource-policy: keep
    controller-gen.kubebuilder.io/version: v0
  name: registryclusters.registry.muster.dev
`
	got, err := crdTemplate(crd)
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(got, "spec:")
	if diff := cmp.Diff(want, head); diff != "" {
		t.Errorf("head (-want +got):\n%s", diff)
	}
	if !strings.Contains(got, "braces: {{ `{{` }} .Values }}") {
		t.Errorf("Helm would read the braces of a description:\n%s", got)
	}
	without, err := crdTemplate("kind: X\nmetadata:\n  name: x\n")
	if err != nil || !strings.Contains(without, "metadata:\n  annotations:\n    helm.sh/resource-policy: keep\n  name: x\n") {
		t.Errorf("a CRD without annotations gave (%v)\n%s", err, without)
	}
	if _, err := crdTemplate("kind: X\n"); err == nil {
		t.Error("an object without metadata was taken")
	}
}

func TestValuesSchema(t *testing.T) {
	data, err := valuesSchema([]byte(crd))
	if err != nil {
		t.Fatal(err)
	}
	var got object
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	fields, _ := got["properties"].(object)
	for _, own := range []string{"name", "labels", "annotations", "global"} {
		if _, ok := fields[own]; !ok {
			t.Errorf("the chart's own value %q is missing", own)
		}
		delete(fields, own)
	}
	for _, words := range []string{"$schema", "title", "description"} {
		delete(got, words)
	}
	// Fields that are called like a keyword of the schema stay, closed objects take no other, and what only Kubernetes
	// understands is gone.
	want := object{
		"type": "object", "additionalProperties": false, "required": []any{"format"},
		"properties": object{
			"format":  object{"type": "string", "enum": []any{"default"}},
			"default": object{"type": "object", "additionalProperties": object{"type": "integer"}},
			"list": object{"type": "array", "items": object{"type": "object", "additionalProperties": false, "properties": object{
				"port": object{"anyOf": []any{object{"type": "integer"}, object{"type": "string"}}},
			}}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("schema (-want +got):\n%s", diff)
	}
	taken := strings.Replace(crd, "              list:", "              name: {type: string}\n              list:", 1)
	if _, err := valuesSchema([]byte(taken)); err == nil || !strings.Contains(err.Error(), `"name"`) {
		t.Errorf("a field of the spec that the chart's own value would hide: %v", err)
	}
}

func TestRoleRules(t *testing.T) {
	got, err := roleRules("---\nkind: ClusterRole\nmetadata:\n  name: x\nrules:\n- verbs: [get]\n")
	if want := "# Made from config/rbac/role.yaml by make generate.\n- verbs: [get]\n"; err != nil || got != want {
		t.Errorf("roleRules() = %q, %v; want %q", got, err, want)
	}
	for what, role := range map[string]string{
		"no rules":  "kind: ClusterRole\n",
		"two roles": "kind: ClusterRole\nrules:\n- verbs: [get]\n---\nkind: Role\nrules:\n- verbs: [get]\n",
	} {
		if got, err := roleRules(role); err == nil {
			t.Errorf("%s: taken as %q", what, got)
		}
	}
}

func TestRun(t *testing.T) {
	root := t.TempDir()
	if err := run(root); err == nil || !strings.Contains(err.Error(), "holds no CRD") {
		t.Errorf("an empty tree: %v", err)
	}
	for name, text := range map[string]string{
		"config/crd/bases/registry.muster.dev_registryclusters.yaml": crd,
		"config/rbac/role.yaml": "kind: ClusterRole\nrules:\n- verbs: [get]\n",
	} {
		if err := write(root, name, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(root); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"charts/muster/templates/crd-registryclusters.yaml", "charts/muster/files/rules.yaml", "charts/muster-cluster/values.schema.json"} {
		if info, err := os.Stat(filepath.Join(root, file)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
}
