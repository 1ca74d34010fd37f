package server

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	configv1alpha1 "github.com/muster-registry/muster/api/config/v1alpha1"
	"github.com/muster-registry/muster/registry/session"
	"github.com/muster-registry/muster/test/sim"
)

// TestTheSimulationHasOurTimeouts: it plays what a member does by itself. The brake is for the scripts that want one.
func TestTheSimulationHasOurTimeouts(t *testing.T) {
	ours := Options{Config: configv1alpha1.Default()}.timeouts()
	ours.Session.Brake = session.Brake{}
	if d := cmp.Diff(ours, sim.Timeouts()); d != "" {
		t.Errorf("a member (-) and a simulated one (+) differ:\n%s", d)
	}
}
