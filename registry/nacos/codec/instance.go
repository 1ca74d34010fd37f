package codec

import (
	"strconv"

	"github.com/muster-registry/muster/registry/model"
)

// Instance is the JSON of an instance as gRPC clients send it. Its zero value is not an instance without settings: use
// NewInstance before decoding into it. Whether it says ephemeral does not matter: the type of the request decides.
type Instance struct {
	InstanceID  Text     `json:"instanceId"`
	IP          Text     `json:"ip"`
	Port        Int      `json:"port"`
	Weight      Double   `json:"weight"`
	Healthy     Bool     `json:"healthy"`
	Enabled     Bool     `json:"enabled"`
	ClusterName Text     `json:"clusterName"`
	ServiceName Text     `json:"serviceName"`
	Metadata    Metadata `json:"metadata"`
}

// NewInstance has the values that Nacos gives an instance that says nothing of them.
func NewInstance() Instance { return Instance{Weight: 1, Healthy: true, Enabled: true} }

// UnmarshalJSON implements json.Unmarshaler: what is left out has its default.
func (i *Instance) UnmarshalJSON(b []byte) error {
	type plain Instance // without this method
	*i = NewInstance()
	return unmarshalObject(b, (*plain)(i))
}

// Model is the instance as it is stored under the service group@@name. Its cluster is as sent: see WithDefaults.
func (i *Instance) Model(grouped string) model.Instance {
	in := model.Instance{
		IP: i.IP.Value, Port: int(i.Port), Cluster: i.ClusterName.Value, ID: i.InstanceID.Value,
		Weight: float64(i.Weight), Healthy: bool(i.Healthy), Enabled: bool(i.Enabled),
	}
	if len(i.Metadata) > 0 {
		in.Metadata = i.Metadata
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

// InstanceID is the id that Nacos gives an instance of the service group@@name.
func InstanceID(key model.InstanceKey, grouped string) string {
	return key.IP + "#" + strconv.Itoa(key.Port) + "#" + key.Cluster + "#" + grouped
}
