package http

import (
	"context"
	"time"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
)

// Core is what the adapter needs of a member. *member.Runner has it.
type Core interface {
	RegisterInstance(key model.ServiceKey, in model.Instance, client model.Client) error
	DeregisterInstance(key model.ServiceKey, ik model.InstanceKey) error
	OverrideInstance(key model.ServiceKey, in model.Instance) error
	Beat(ctx context.Context, b Beat) (BeatResult, error)
	Query(key model.ServiceKey) (*catalog.Snapshot, error)
	ServiceNames(namespace, group string) ([]string, error)
	Counts() Counts
	Ready() (bool, string)
}

// Beat is a sign of life of ip:port in a service. Full is nil in a light beat, which registers nothing.
type Beat struct {
	Service model.ServiceKey
	IP      string
	Port    int
	Full    *model.Instance
	Client  model.Client
}

// BeatResult says whether the instance is known now, and how long until the next beat.
type BeatResult struct {
	Known    bool
	Interval time.Duration
}

// Counts is what the member holds.
type Counts struct {
	Services, Instances, Subscriptions, Connections, BeatClients int
}
