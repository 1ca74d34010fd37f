// Package v1alpha1 holds the kinds of registry.muster.dev/v1alpha1: types, CEL rules, condition types and reasons.
// The operator reads and writes them, people and kubectl-muster write them; there is no behaviour in here.
//
// +kubebuilder:object:generate=true
// +groupName=registry.muster.dev
package v1alpha1
