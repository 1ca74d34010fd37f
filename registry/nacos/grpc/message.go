package grpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"

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
	if isNull(bytes.TrimSpace(body)) {
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
	return len(r.AbilityTable) > 0 && !isNull(r.AbilityTable)
}

func isNull(b json.RawMessage) bool { return bytes.Equal(b, []byte("null")) }

// The JSON around what is shared.
var (
	plainResponse   = []byte(`{"resultCode":200,"errorCode":0,"success":true}`)
	queryHead       = []byte(`{"resultCode":200,"errorCode":0,"serviceInfo":`)
	subscribeHead   = []byte(`{"resultCode":200,"errorCode":0,"message":"success","serviceInfo":`)
	responseTail    = []byte(`,"success":true}`)
	notifyTail      = []byte(`,"module":"naming"}`)
	setupAckRequest = []byte(`{"headers":{},"abilityTable":{"supportPersistentInstanceByGrpc":false},"module":"internal"}`)
)

func serverCheckResponse(id string) []byte {
	b := codec.AppendString([]byte(`{"resultCode":200,"errorCode":0,"connectionId":`), id)
	return append(b, `,"supportAbilityNegotiation":true,"success":true}`...)
}

func typedResponse(kind string) []byte {
	b := codec.AppendString([]byte(`{"resultCode":200,"errorCode":0,"type":`), kind)
	return append(b, responseTail...)
}

func serviceListResponse(count int, names []string) []byte {
	b := strconv.AppendInt([]byte(`{"resultCode":200,"errorCode":0,"count":`), int64(count), 10)
	b = append(b, `,"serviceNames":[`...)
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = codec.AppendString(b, name)
	}
	return append(append(b, ']'), responseTail...)
}

// notifyHead begins a NotifySubscriberRequest, internalRequest is all of a request that has no content.
func notifyHead(id uint64) []byte {
	b := strconv.AppendUint([]byte(`{"headers":{},"requestId":"`), id, 10)
	return append(b, `","serviceInfo":`...)
}

// connectReset names a server that is in nobody's list, so that clients go to the next one of theirs. One without a
// server would keep Go clients: they check the present connection first, and stay when it answers.
func connectReset(id uint64, connection string) []byte {
	b := strconv.AppendUint([]byte(`{"headers":{},"requestId":"`), id, 10)
	b = codec.AppendString(append(b, `","serverIp":"0.0.0.0","serverPort":"0","connectionId":`...), connection)
	return append(b, `,"module":"internal"}`...)
}

func internalRequest(id uint64) []byte {
	b := strconv.AppendUint([]byte(`{"headers":{},"requestId":"`), id, 10)
	return append(b, `","module":"internal"}`...)
}
