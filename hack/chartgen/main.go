// Command chartgen writes the parts of the charts that follow from the API, so that they cannot fall behind it: the CRDs
// as templates of charts/muster, the operator's rights, and the schema of the values of charts/muster-cluster, which are
// the spec of a RegistryCluster. It is run by `make generate`, from the top of the repository.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, "chartgen:", err)
		os.Exit(1)
	}
}

// run writes every generated file below root.
func run(root string) error {
	bases, err := filepath.Glob(filepath.Join(root, "config/crd/bases/*.yaml"))
	if err != nil {
		return err
	}
	if len(bases) == 0 {
		return errors.New("config/crd/bases holds no CRD")
	}
	for _, base := range bases {
		crd, err := os.ReadFile(base)
		if err != nil {
			return err
		}
		if err := chartFiles(root, filepath.Base(base), crd); err != nil {
			return fmt.Errorf("%s: %w", base, err)
		}
	}
	role, err := os.ReadFile(filepath.Join(root, "config/rbac/role.yaml"))
	if err != nil {
		return err
	}
	rules, err := roleRules(string(role))
	if err != nil {
		return fmt.Errorf("config/rbac/role.yaml: %w", err)
	}
	return write(root, "charts/muster/files/rules.yaml", []byte(rules))
}

// roleRules are the rules of the operator's ClusterRole, which the chart gives a name of its own and may bind in single
// namespaces.
func roleRules(role string) (string, error) {
	_, rules, ok := strings.Cut(role, "\nrules:\n")
	if !ok || strings.Contains(rules, "\n---") {
		return "", errors.New("not one role with rules")
	}
	return "# Made from config/rbac/role.yaml by make generate.\n" + rules, nil
}

func chartFiles(root, name string, crd []byte) error {
	template, err := crdTemplate(string(crd))
	if err != nil {
		return err
	}
	_, plural, _ := strings.Cut(strings.TrimSuffix(name, ".yaml"), "_")
	if err := write(root, "charts/muster/templates/crd-"+plural+".yaml", []byte(template)); err != nil {
		return err
	}
	if plural != "registryclusters" {
		return nil
	}
	schema, err := valuesSchema(crd)
	if err != nil {
		return err
	}
	return write(root, "charts/muster-cluster/values.schema.json", schema)
}

// write leaves a file alone that is right already, so that make sees no change.
func write(root, path string, data []byte) error {
	file := filepath.Join(root, filepath.FromSlash(path))
	if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}
