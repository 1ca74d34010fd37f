// Package sim runs many members in one process, on one seeded queue of events: a virtual network, a virtual Kubernetes
// API with Leases, clocks, publishers and subscribers that behave like the real clients. The same seed gives the same
// bytes, so that a failure is replayed exactly. The invariants of the fault scenarios are checked after every step.
package sim
