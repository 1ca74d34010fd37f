package main

import (
	"errors"
	"strings"
)

const (
	metadataLine   = "\nmetadata:\n"
	annotationLine = "  annotations:\n"
	keepLine       = "    helm.sh/resource-policy: keep\n"
)

// crdTemplate makes a template of a CRD. As a template it is upgraded with the chart, which Helm never does for its own
// crds/ folder; the annotation lets it survive the chart, since with a CRD go all its objects.
func crdTemplate(crd string) (string, error) {
	crd = strings.TrimPrefix(crd, "---\n")
	head, rest, ok := strings.Cut("\n"+crd, metadataLine)
	if !ok {
		return "", errors.New("no metadata")
	}
	if below, ok := strings.CutPrefix(rest, annotationLine); ok {
		rest = below
	}
	text := escape(strings.TrimPrefix(head, "\n")) + metadataLine + annotationLine + keepLine + escape(rest)
	return "{{- /* Made from config/crd/bases by make generate. */ -}}\n{{- if .Values.crds.install }}\n" + text + "{{- end }}\n", nil
}

// escape keeps Helm from reading braces in descriptions and rules.
func escape(text string) string {
	return strings.ReplaceAll(text, "{{", "{{ `{{` }}")
}
