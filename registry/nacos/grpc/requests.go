package grpc

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/nacos/codec"
)

// serviceRequest is the part that all naming requests have in common.
type serviceRequest struct {
	Namespace   codec.Text
	GroupName   codec.Text
	ServiceName codec.Text
}

// Field implements codec.Fields.
func (r *serviceRequest) Field(name, value []byte) error {
	switch string(name) {
	case "namespace":
		return r.Namespace.UnmarshalJSON(value)
	case "groupName":
		return r.GroupName.UnmarshalJSON(value)
	case "serviceName":
		return r.ServiceName.UnmarshalJSON(value)
	}
	return nil
}

type instanceRequest struct {
	serviceRequest
	Type     codec.Text
	Instance *codec.Instance
}

// Field implements codec.Fields.
func (r *instanceRequest) Field(name, value []byte) (err error) {
	switch string(name) {
	case "type":
		return r.Type.UnmarshalJSON(value)
	case "instance":
		r.Instance, err = codec.DecodeInstance(value)
		return err
	}
	return r.serviceRequest.Field(name, value)
}

type batchInstanceRequest struct {
	serviceRequest
	Type      codec.Text
	Instances []*codec.Instance
}

// Field implements codec.Fields.
func (r *batchInstanceRequest) Field(name, value []byte) (err error) {
	switch string(name) {
	case "type":
		return r.Type.UnmarshalJSON(value)
	case "instances":
		r.Instances, err = codec.DecodeInstances(value)
		return err
	}
	return r.serviceRequest.Field(name, value)
}

type serviceQueryRequest struct {
	serviceRequest
	Cluster     codec.Text
	HealthyOnly codec.Bool
}

// Field implements codec.Fields.
func (r *serviceQueryRequest) Field(name, value []byte) error {
	switch string(name) {
	case "cluster":
		return r.Cluster.UnmarshalJSON(value)
	case "healthyOnly":
		return r.HealthyOnly.UnmarshalJSON(value)
	}
	return r.serviceRequest.Field(name, value)
}

type subscribeServiceRequest struct {
	serviceRequest
	Clusters  codec.Text
	Subscribe codec.Bool
}

// Field implements codec.Fields.
func (r *subscribeServiceRequest) Field(name, value []byte) error {
	switch string(name) {
	case "clusters":
		return r.Clusters.UnmarshalJSON(value)
	case "subscribe":
		return r.Subscribe.UnmarshalJSON(value)
	}
	return r.serviceRequest.Field(name, value)
}

type serviceListRequest struct {
	serviceRequest
	PageNo   codec.Int
	PageSize codec.Int
}

// Field implements codec.Fields.
func (r *serviceListRequest) Field(name, value []byte) error {
	switch string(name) {
	case "pageNo":
		return r.PageNo.UnmarshalJSON(value)
	case "pageSize":
		return r.PageSize.UnmarshalJSON(value)
	}
	return r.serviceRequest.Field(name, value)
}

// emptyRequest is one whose content nobody needs.
type emptyRequest struct{}

// Field implements codec.Fields.
func (emptyRequest) Field(_, _ []byte) error { return nil }

type connectionSetupRequest struct {
	ClientVersion codec.Text
	Labels        json.RawMessage
	AbilityTable  json.RawMessage
}

// Field implements codec.Fields.
func (r *connectionSetupRequest) Field(name, value []byte) error {
	switch string(name) {
	case "clientVersion":
		return r.ClientVersion.UnmarshalJSON(value)
	case "labels":
		r.Labels = bytes.Clone(value)
	case "abilityTable":
		r.AbilityTable = bytes.Clone(value)
	}
	return nil
}

// clientResponse answers a request of ours. Go clients say success:false in some that are not failures: resultCode
// alone decides (nacos-protocol §3.5).
type clientResponse struct {
	RequestID  codec.Text
	ResultCode codec.Int
}

// Field implements codec.Fields.
func (r *clientResponse) Field(name, value []byte) error {
	switch string(name) {
	case "requestId":
		return r.RequestID.UnmarshalJSON(value)
	case "resultCode":
		return r.ResultCode.UnmarshalJSON(value)
	}
	return nil
}

// decode reads the JSON object of a request.
func decode(body []byte, into codec.Fields) error {
	err := codec.DecodeObject(body, into)
	var illegal *model.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &illegal): // what it says is refused, not how it is written
		return refusal{illegal}
	}
	if codec.IsNull(bytes.TrimSpace(body)) {
		return errNullRequest
	}
	return errDeserialize
}

// grouped is the service's name as ids of instances have it.
func (r *serviceRequest) grouped() string {
	return model.ServiceKey{Group: r.GroupName.Value, Name: r.ServiceName.Value}.Grouped()
}

// check is the parameter check of the service's name. A part that is missing passes it: see key.
func (r *serviceRequest) check() error {
	if err := codec.CheckService(r.Namespace.Value, r.GroupName.Value, r.ServiceName.Value); err != nil {
		return refusal{err}
	}
	return nil
}

// key is the service's key. Unlike HTTP, the reference does not default a group; an empty namespace is the built-in one
// in all our protocols.
func (r *serviceRequest) key() (model.ServiceKey, error) {
	switch {
	case r.ServiceName.Value == "":
		return model.ServiceKey{}, errFailed("Param 'serviceName' is illegal, serviceName is blank")
	case r.GroupName.Value == "":
		return model.ServiceKey{}, errFailed("Param 'groupName' is illegal, groupName is blank")
	case !r.Namespace.Set:
		return model.ServiceKey{}, errFailed("Param 'namespace' is illegal, namespace is null")
	}
	return model.ServiceKey{Namespace: r.namespace(), Group: r.GroupName.Value, Name: r.ServiceName.Value}, nil
}

func (r *serviceRequest) namespace() string {
	if r.Namespace.Value == "" {
		return model.DefaultNamespace
	}
	return r.Namespace.Value
}

func (r *connectionSetupRequest) wantsAck() bool {
	return len(r.AbilityTable) > 0 && !codec.IsNull(r.AbilityTable)
}
