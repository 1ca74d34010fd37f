package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"
)

type object = map[string]any

// valuesSchema turns the schema of a RegistryCluster's spec into that of the chart's values: what the API server would
// refuse by type, range or name is refused by Helm, before anything is sent. The CEL rules stay with the API server.
func valuesSchema(crd []byte) ([]byte, error) {
	var c struct {
		Spec struct {
			Versions []struct {
				Storage bool
				Schema  struct {
					OpenAPIV3Schema object `json:"openAPIV3Schema"`
				}
			}
		}
	}
	if err := yaml.Unmarshal(crd, &c); err != nil {
		return nil, err
	}
	for _, v := range c.Spec.Versions {
		if !v.Storage {
			continue
		}
		spec, ok := path(v.Schema.OpenAPIV3Schema, "properties", "spec")
		if !ok {
			return nil, errors.New("the schema has no spec")
		}
		schema, ok := jsonSchema(spec).(object)
		if !ok {
			return nil, errors.New("the schema of the spec is no object")
		}
		return render(schema)
	}
	return nil, errors.New("no stored version")
}

func path(o object, keys ...string) (object, bool) {
	for _, key := range keys {
		next, ok := o[key].(object)
		if !ok {
			return nil, false
		}
		o = next
	}
	return o, true
}

// render adds what the values have besides the spec.
func render(schema object) ([]byte, error) {
	properties, ok := schema["properties"].(object)
	if !ok {
		return nil, errors.New("the spec has no properties")
	}
	texts := object{"type": "object", "additionalProperties": object{"type": "string"}}
	for name, own := range map[string]object{
		"name": {
			"description": "Name of the RegistryCluster, and of the Service that clients are given. Default: the release's name.",
			"type":        "string", "maxLength": 52, "pattern": "^([a-z]([-a-z0-9]*[a-z0-9])?)?$",
		},
		"labels":      with(texts, "description", "Labels of the RegistryCluster."),
		"annotations": with(texts, "description", "Annotations of the RegistryCluster."),
		"global":      {"description": "Set by Helm when the chart is part of another.", "type": "object"},
	} {
		if _, taken := properties[name]; taken {
			return nil, fmt.Errorf("the spec has a field %q, which the chart uses for itself", name)
		}
		properties[name] = own
	}
	schema["$schema"] = "http://json-schema.org/draft-07/schema#"
	schema["title"] = "Values of muster-cluster"
	schema["description"] = "The spec of one RegistryCluster. Made from config/crd/bases by make generate."
	delete(schema, "default")
	out, err := json.MarshalIndent(schema, "", "  ")
	return append(out, '\n'), err
}

func with(o object, key string, value any) object {
	copied := object{key: value}
	for k, v := range o {
		copied[k] = v
	}
	return copied
}

// jsonSchema takes the extensions of Kubernetes out of a schema and closes its objects against misspelt fields.
func jsonSchema(node any) any {
	switch node := node.(type) {
	case []any:
		list := make([]any, len(node))
		for i, element := range node {
			list[i] = jsonSchema(element)
		}
		return list
	case object:
		schema := object{}
		for key, value := range node {
			switch {
			case key == "properties":
				schema[key] = properties(value)
			case key == "format", strings.HasPrefix(key, "x-kubernetes-"):
			case key == "default", key == "required", key == "enum":
				schema[key] = value
			default:
				schema[key] = jsonSchema(value)
			}
		}
		if _, ok := schema["properties"]; ok {
			schema["additionalProperties"] = false
		}
		return schema
	}
	return node
}

func properties(value any) any {
	fields, ok := value.(object)
	if !ok {
		return value
	}
	schema := object{}
	for name, field := range fields {
		schema[name] = jsonSchema(field)
	}
	return schema
}
