package codec

import (
	"strconv"

	"github.com/muster-registry/muster/registry/model"
)

// Instance is the JSON of an instance as gRPC clients send it. Its zero value is not an instance without settings: use
// NewInstance before decoding into it. Whether it says ephemeral does not matter: the type of the request decides.
type Instance struct {
	InstanceID  Text
	IP          Text
	Port        Int
	Weight      Double
	Healthy     Bool
	Enabled     Bool
	ClusterName Text
	ServiceName Text
	Metadata    Metadata
}

// NewInstance has the values that Nacos gives an instance that says nothing of them.
func NewInstance() Instance { return Instance{Weight: 1, Healthy: true, Enabled: true} }

// UnmarshalJSON implements json.Unmarshaler: what is left out has its default.
func (i *Instance) UnmarshalJSON(b []byte) error {
	*i = NewInstance()
	return DecodeObject(b, i)
}

// Field implements Fields.
func (i *Instance) Field(name, value []byte) error {
	switch string(name) {
	case "instanceId":
		return i.InstanceID.UnmarshalJSON(value)
	case "ip":
		return i.IP.UnmarshalJSON(value)
	case "port":
		return i.Port.UnmarshalJSON(value)
	case "weight":
		return i.Weight.UnmarshalJSON(value)
	case "healthy":
		return i.Healthy.UnmarshalJSON(value)
	case "enabled":
		return i.Enabled.UnmarshalJSON(value)
	case "clusterName":
		return i.ClusterName.UnmarshalJSON(value)
	case "serviceName":
		return i.ServiceName.UnmarshalJSON(value)
	case "metadata":
		return i.Metadata.UnmarshalJSON(value)
	}
	return nil
}

// DecodeInstance reads an instance; null is none.
func DecodeInstance(b []byte) (*Instance, error) {
	if IsNull(b) {
		return nil, nil
	}
	i := new(Instance)
	if err := i.UnmarshalJSON(b); err != nil {
		return nil, err
	}
	return i, nil
}

// DecodeInstances reads an array of them; null is nil, which an empty array is not. Of a longer one than a publication may have
// no more are read: CheckBatch's error says so.
func DecodeInstances(b []byte) ([]*Instance, error) {
	if IsNull(b) {
		return nil, nil
	}
	all := []*Instance{}
	err := decodeArray(b, func(value []byte) error {
		if err := CheckBatch(len(all)+1, 0); err != nil {
			return err
		}
		i, err := DecodeInstance(value)
		all = append(all, i)
		return err
	})
	return all, err
}

// Model is the instance as it is stored under the service group@@name. Its cluster is as sent: see WithDefaults.
func (i *Instance) Model(grouped string) model.Instance {
	in := model.Instance{
		IP: i.IP.Value, Port: int32(i.Port), Cluster: i.ClusterName.Value, ID: i.InstanceID.Value,
		Weight: float64(i.Weight), Healthy: bool(i.Healthy), Enabled: bool(i.Enabled),
		Metadata: model.NewMetadata(i.Metadata...),
	}
	if in.ID == "" {
		in.ID = i.generatedID(grouped)
	}
	return in
}

// generatedID is built from what was sent, before any default, as the recorded servers do: an absent part is "null".
func (i *Instance) generatedID(grouped string) string {
	service := grouped
	if i.ServiceName.Value != "" {
		service = i.ServiceName.Value
	}
	return orNull(i.IP) + "#" + strconv.Itoa(int(i.Port)) + "#" + orNull(i.ClusterName) + "#" + service
}

func orNull(t Text) string {
	if !t.Set {
		return "null"
	}
	return t.Value
}

// WithDefaults fills in the cluster.
func WithDefaults(in model.Instance) model.Instance {
	if in.Cluster == "" {
		in.Cluster = model.DefaultCluster
	}
	return in
}
