package apply

import (
	"encoding/json"
	"testing"

	"sigs.k8s.io/yaml"
)

// The fields are what a real API server kept after this apply of a Service, shortened.
const serviceFields = `{
	"f:metadata": {"f:labels": {"f:a": {}}},
	"f:spec": {
		"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}}},
		"f:selector": {}, "f:finalizers": {"v:\"x\"": {}}
	}
}`

const service = `
metadata: {labels: {a: "1"}}
spec:
  ports: [{name: http, port: 80, protocol: TCP}]
  selector: {app: x}
  finalizers: [x]
`

// The server has filled in defaults, and somebody else added a label and a port.
const serviceLive = `
metadata: {labels: {a: "1", b: "2"}, uid: u}
spec:
  ports: [{name: grpc, port: 90, protocol: TCP}, {name: http, port: 80, protocol: TCP, targetPort: 80}]
  selector: {app: x}
  finalizers: [y, x]
  type: ClusterIP
`

func TestUpToDate(t *testing.T) {
	for name, tc := range map[string]struct {
		fields, desired, live string
		want                  bool
	}{
		"nothing changed":            {serviceFields, service, serviceLive, true},
		"a value changed by others":  {serviceFields, service, `{metadata: {labels: {a: "9"}}, spec: {ports: [{name: http, port: 80, protocol: TCP}], selector: {app: x}, finalizers: [x]}}`, false},
		"an element deleted":         {serviceFields, service, `{metadata: {labels: {a: "1"}}, spec: {ports: [], selector: {app: x}, finalizers: [x]}}`, false},
		"ownership lost":             {`{"f:metadata": {"f:labels": {"f:a": {}}}}`, service, serviceLive, false},
		"a field wanted anew":        {serviceFields, service + "  type: ClusterIP\n", serviceLive, false},
		"a label wanted no more":     {serviceFields, `{spec: {ports: [{name: http, port: 80, protocol: TCP}], selector: {app: x}, finalizers: [x]}}`, serviceLive, false},
		"a port wanted no more":      {serviceFields, `{metadata: {labels: {a: "1"}}, spec: {ports: [], selector: {app: x}, finalizers: [x]}}`, serviceLive, false},
		"another port wanted":        {serviceFields, `{metadata: {labels: {a: "1"}}, spec: {ports: [{name: http, port: 81, protocol: TCP}], selector: {app: x}, finalizers: [x]}}`, serviceLive, false},
		"a port changed its name":    {serviceFields, `{metadata: {labels: {a: "1"}}, spec: {ports: [{name: web, port: 80, protocol: TCP}], selector: {app: x}, finalizers: [x]}}`, serviceLive, false},
		"another member of a set":    {serviceFields, `{metadata: {labels: {a: "1"}}, spec: {ports: [{name: http, port: 80, protocol: TCP}], selector: {app: x}, finalizers: [z]}}`, serviceLive, false},
		"an atomic map changed":      {serviceFields, `{metadata: {labels: {a: "1"}}, spec: {ports: [{name: http, port: 80, protocol: TCP}], selector: {app: z}, finalizers: [x]}}`, serviceLive, false},
		"an atomic list is as it is": {`{"f:rules": {}}`, `{rules: [{verbs: [get, list]}]}`, `{rules: [{verbs: [get, list]}]}`, true},
		"an atomic list grew":        {`{"f:rules": {}}`, `{rules: [{verbs: [get]}]}`, `{rules: [{verbs: [get]}, {verbs: ["*"]}]}`, false},
		"the order of an atomic one": {`{"f:args": {}}`, `{args: [a, b]}`, `{args: [b, a]}`, false},
		"an empty object is there":   {`{"f:emptyDir": {}}`, `{emptyDir: {}}`, `{emptyDir: {}}`, true},
		"an empty object is gone":    {`{"f:emptyDir": {}}`, `{emptyDir: {}}`, `{hostPath: {path: /}}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			var fields owned
			if err := json.Unmarshal([]byte(tc.fields), &fields); err != nil {
				t.Fatal(err)
			}
			if got := upToDate(fields, parse(t, tc.desired), parse(t, tc.live)); got != tc.want {
				t.Errorf("upToDate = %v, want %v", got, tc.want)
			}
		})
	}
}

func parse(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := yaml.UnmarshalStrict([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// One decoder makes int64 of a number, another float64.
func TestSameNumbers(t *testing.T) {
	for name, tc := range map[string]struct {
		a, b any
		want bool
	}{
		"int and float":       {int64(80), float64(80), true},
		"different":           {int64(80), float64(81), false},
		"large":               {int64(1700000000), float64(1700000000), true},
		"number and text":     {int64(80), "80", false},
		"equal text":          {"a", "a", true},
		"nothing and nothing": {nil, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := same(tc.a, tc.b); got != tc.want {
				t.Errorf("same(%v, %v) = %v", tc.a, tc.b, got)
			}
		})
	}
}
