package grpc

import (
	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/push"
)

// Connection is a client's connection, as the member is told of it.
type Connection struct {
	// ID is unique in this process: "<epochMillis>_<remoteIp>_<remotePort>".
	ID     string
	Client model.Client
	// Naming says that its labels have module=naming: it may publish and subscribe.
	Naming bool
}

// Core is the member behind the adapter.
type Core interface {
	Connect(c Connection) (*push.Conn, error)
	Disconnect(id string)
	Touch(id string)
	Ack(id string, request uint64, ok bool)

	Publish(id string, key model.ServiceKey, instances []model.Instance) error
	Withdraw(id string, key model.ServiceKey) error
	Subscribe(id string, key model.ServiceKey, clusters string) (*catalog.Snapshot, error)
	Unsubscribe(id string, key model.ServiceKey) (*catalog.Snapshot, error)
	Query(key model.ServiceKey) (*catalog.Snapshot, error)
	ServiceNames(namespace, group string) ([]string, error)
}
