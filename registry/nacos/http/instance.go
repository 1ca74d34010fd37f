package http

import (
	"errors"
	nethttp "net/http"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/nacos/codec"
)

const minWeight, maxWeight = 0, 10000

// register is POST /instance: the instance lives by beats from now on.
func (s *Server) register(q *request) (answer, error) {
	key, in, err := q.instance()
	if err != nil {
		return answer{}, err
	}
	if err := codec.CheckLegal(in); err != nil {
		return answer{}, err
	}
	if in.ID, err = instanceID(key, in); err != nil {
		return answer{}, err
	}
	if !q.params.flag("ephemeral", true) {
		// Every service here is ephemeral, and this is what Nacos tells one who mixes the kinds.
		return answer{}, badRequest("errCode: 400, errMsg: Current service %s is ephemeral service, can't register persistent instance. ", key.Grouped())
	}
	key, in = owned(key, in)
	s.core.RegisterInstance(key, in, q.client(in.IP))
	return ok(), nil
}

// deregister is DELETE /instance. It is idempotent, so a persistent instance (there is none) is gone already.
func (s *Server) deregister(q *request) (answer, error) {
	key, in, err := q.instance()
	if err != nil {
		return answer{}, err
	}
	if q.params.flag("ephemeral", true) {
		if err := s.core.DeregisterInstance(key, in.Key()); err != nil {
			return answer{}, err
		}
	}
	return ok(), nil
}

// update is PUT /instance: it lays weight, enabled and metadata over what is published; what is left out is reset.
func (s *Server) update(q *request) (answer, error) {
	key, in, err := q.instance()
	if err != nil {
		return answer{}, err
	}
	if err := codec.CheckLegal(in); err != nil {
		return answer{}, err
	}
	key, in = owned(key, in)
	err = s.core.OverrideInstance(key, in)
	if errors.Is(err, model.ErrNotFound) {
		return answer{}, badRequest("service not found, namespace: %s, service: Service{namespace='%s', group='%s', name='%s', ephemeral=%t, revision=0}",
			key.Namespace, key.Namespace, key.Group, key.Name, q.params.flag("ephemeral", true))
	}
	if err != nil {
		return answer{}, err
	}
	return ok(), nil
}

// detail is GET /instance: one instance, also a disabled one. The alias cluster is not read here.
func (s *Server) detail(q *request) (answer, error) {
	key, err := q.service()
	if err != nil {
		return answer{}, err
	}
	ip, port, err := q.address()
	if err != nil {
		return answer{}, err
	}
	want := model.InstanceKey{IP: ip, Port: port, Cluster: q.params.optional("clusterName", model.DefaultCluster)}
	snap, err := s.core.Query(key)
	if err != nil {
		return answer{}, err
	}
	for _, in := range snap.Hosts {
		if in.Key() == want {
			return rawJSON(appendDetail(nil, key.Grouped(), in)), nil
		}
	}
	if len(snap.Hosts) == 0 {
		return answer{}, notFound("no ips found for cluster %s in service %s", want.Cluster, key.Grouped())
	}
	return answer{}, notFound("no matched ip found!")
}

func appendDetail(b []byte, grouped string, in model.Instance) []byte {
	b = codec.AppendString(append(b, `{"service":`...), grouped)
	b = codec.AppendString(append(b, `,"ip":`...), in.IP)
	b = strconv.AppendInt(append(b, `,"port":`...), int64(in.Port), 10)
	b = codec.AppendString(append(b, `,"clusterName":`...), in.Cluster)
	b = codec.AppendDouble(append(b, `,"weight":`...), in.Weight)
	b = strconv.AppendBool(append(b, `,"healthy":`...), in.Healthy)
	if in.ID != "" {
		b = codec.AppendString(append(b, `,"instanceId":`...), in.ID)
	}
	return append(codec.AppendMetadata(append(b, `,"metadata":`...), in.Metadata), '}')
}

// instance reads what register, deregister and update have in common.
func (q *request) instance() (model.ServiceKey, model.Instance, error) {
	key, err := q.service()
	if err != nil {
		return key, model.Instance{}, err
	}
	in := model.Instance{
		Cluster: q.cluster(model.DefaultCluster), Healthy: q.params.flag("healthy", true), Metadata: q.metadata,
		Enabled: q.params.flag("enabled", q.params.flag("enable", true)),
	}
	ip, port, err := q.address()
	if err != nil {
		return key, in, err
	}
	in.IP, in.Port = ip, int32(port)
	if in.Weight, err = parseDouble(q.params.optional("weight", "1")); err != nil {
		return key, in, err
	}
	// Nacos lets NaN pass and lists it as a string, for which Go clients drop the whole list.
	if !(in.Weight >= minWeight && in.Weight <= maxWeight) {
		return key, in, badRequest("instance format invalid: The weights range from 0.0 to 10000.0")
	}
	return key, in, nil
}

// instanceID is the id that the metadata ask for. Nacos makes a new snowflake id at every registration; ours is the same
// for the same instance, so that registering again changes nothing.
func instanceID(key model.ServiceKey, in model.Instance) (string, error) {
	switch generator := in.Metadata.Get(model.MetaIDGenerator); generator {
	case "", "simple":
		return model.InstanceID(key, in.Key()), nil
	case "snowflake":
		const smallest, count = 1e17, 9e17 // 18 digits
		n := smallest + xxhash.Sum64String(key.String()+"#"+in.Key().String())%count
		return strconv.FormatUint(n, 10) + "#" + in.Cluster + "#" + key.Grouped(), nil
	}
	return "", &refusal{shapeText, nethttp.StatusInternalServerError, "caused: The InstanceIdGenerator type is not found ;"}
}
