package grpc

import (
	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/push"
)

// Core is the member behind the adapter. A member and its Runner both are one.
type Core interface {
	// Self is asked for the member's state: one that leaves sends clients on before they set up a connection, not later.
	Self() model.Member
	Connect(c member.Connection) *push.Conn
	Disconnect(id string)
	// Abandon notes that the connection is about to be ended by our doing, though its client may live.
	Abandon(id string)
	Touch(id string)
	Ack(id string, request uint64, ok bool)

	Publish(id string, key model.ServiceKey, instances []model.Instance) error
	Withdraw(id string, key model.ServiceKey) error
	Subscribe(id string, key model.ServiceKey, clusters string) (*catalog.Snapshot, error)
	Unsubscribe(id string, key model.ServiceKey) (*catalog.Snapshot, error)
	Query(key model.ServiceKey) (*catalog.Snapshot, error)
	ServiceNames(namespace, group string) ([]string, error)
}

var _ Core = (*member.Member)(nil)
