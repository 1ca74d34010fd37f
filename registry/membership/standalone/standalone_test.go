package standalone_test

import (
	"testing"

	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/membership/membershiptest"
	"github.com/muster-registry/muster/registry/membership/standalone"
	"github.com/muster-registry/muster/registry/model"
)

// world is nothing at all.
type world struct{}

func (world) Alone()                             {}
func (world) Policy() membership.Policy          { return membership.PolicyStandalone() }
func (world) Add(model.Member) membership.Source { return standalone.Source{} }
func (world) Remove(model.Member)                {}
func (world) Cut()                               {}
func (world) Heal()                              {}
func (world) Foreign()                           {}

func TestConformance(t *testing.T) {
	membershiptest.Suite{New: func(*testing.T) membershiptest.World { return world{} }, Bubble: true}.Run(t)
}
