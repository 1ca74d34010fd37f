// Package registrycluster reconciles RegistryClusters in phases: gather (observe.go, members.go), decide (check.go,
// rotation.go, plan.go, assess.go: no client in there), apply, report. cmd/operator sets it up. It never talks to a
// registry member: what members have to say stands in their Leases, and what they must know in a ConfigMap and a
// Secret, so that the registry does not notice whether there is an operator.
package registrycluster
