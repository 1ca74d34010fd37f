package http

import (
	"context"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/model"
)

// Core is what the adapter needs of a member. *member.Runner has it.
type Core interface {
	RegisterInstance(key model.ServiceKey, in model.Instance, client model.Client)
	DeregisterInstance(key model.ServiceKey, ik model.InstanceKey) error
	OverrideInstance(key model.ServiceKey, in model.Instance) error
	ConfigureService(key model.ServiceKey, s model.Settings) error
	Beat(ctx context.Context, b member.Beat) (member.BeatResult, error)
	Query(key model.ServiceKey) (*catalog.Snapshot, error)
	ServiceNames(namespace, group string) ([]string, error)
	Counts() member.Counts
	Ready() (bool, string)
}
