package grpc

import (
	"time"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/nacos/codec"
)

// Values of a request's type.
const (
	registerInstance      = "registerInstance"
	deregisterInstance    = "deregisterInstance"
	batchRegisterInstance = "batchRegisterInstance"
)

// Answers that are always the same.
var (
	healthy         = newFrame("HealthCheckResponse", plainResponse)
	instanceAnswers = map[string]frame{
		registerInstance:   newFrame("InstanceResponse", typedResponse(registerInstance)),
		deregisterInstance: newFrame("InstanceResponse", typedResponse(deregisterInstance)),
	}
	batchAnswer = newFrame("BatchInstanceResponse", typedResponse(batchRegisterInstance))
)

func healthCheck(_ *Server, _ *transport, body []byte) (frame, error) {
	if err := decode(body, emptyRequest{}); err != nil {
		return nil, err
	}
	return healthy, nil
}

func instance(s *Server, t *transport, body []byte) (frame, error) {
	var r instanceRequest
	if err := decode(body, &r); err != nil {
		return nil, err
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	var in model.Instance
	if r.Instance != nil {
		in = r.Instance.Model(r.grouped())
		if err := codec.CheckInstance(in); err != nil {
			return nil, refusal{err}
		}
	}
	key, err := r.key()
	if err != nil {
		return nil, err
	}
	if err := s.applyInstance(t, key, &r, in); err != nil {
		return nil, err
	}
	return instanceAnswers[r.Type.Value], nil // no other type was applied
}

func (s *Server) applyInstance(t *transport, key model.ServiceKey, r *instanceRequest, in model.Instance) error {
	switch {
	case !r.Type.Set:
		return errFailed("Param 'type' is illegal, type is null")
	case r.Type.Value == deregisterInstance: // whatever ip and port it names: one publication a connection and service
		return s.core.Withdraw(t.id, key)
	case r.Type.Value != registerInstance:
		return model.Errorf(model.CodeInvalid, "Unsupported request type %s", r.Type.Value)
	case r.Instance == nil:
		return model.Errorf(model.CodeInvalid, "Instance can not be null.")
	}
	if err := codec.CheckLegal(in); err != nil {
		return err
	}
	return s.core.Publish(t.id, key, []model.Instance{codec.WithDefaults(in)})
}

func batchInstance(s *Server, t *transport, body []byte) (frame, error) {
	var r batchInstanceRequest
	if err := decode(body, &r); err != nil {
		return nil, err
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	grouped := r.grouped()
	instances := make([]model.Instance, 0, len(r.Instances))
	size := 0
	for _, decoded := range r.Instances {
		if decoded == nil {
			return nil, refusal{model.Errorf(model.CodeInvalid, "Param 'instances' is illegal, an instance is null")}
		}
		in := decoded.Model(grouped)
		if err := codec.CheckInstance(in); err != nil {
			return nil, refusal{err}
		}
		size += in.Size()
		if err := codec.CheckBatch(len(instances), size); err != nil { // before more are made: an id can be longer than all that was sent
			return nil, refusal{err}
		}
		instances = append(instances, in)
	}
	key, err := r.key()
	if err != nil {
		return nil, err
	}
	if err := s.applyBatch(t, key, &r, instances); err != nil {
		return nil, err
	}
	return batchAnswer, nil
}

func (s *Server) applyBatch(t *transport, key model.ServiceKey, r *batchInstanceRequest, named []model.Instance) error {
	switch {
	case !r.Type.Set:
		return errFailed("Param 'type' is illegal, type is null")
	case r.Type.Value != batchRegisterInstance:
		return model.Errorf(model.CodeInvalid, "Unsupported request type %s", r.Type.Value)
	case r.Instances == nil:
		return errFailed("Param 'instances' is illegal, instances is null")
	case len(r.Instances) == 0: // how clients take the last instance of a batch away
		return s.core.Withdraw(t.id, key)
	}
	// an instance that is named twice is published once, as it was named last
	index := make(map[model.InstanceKey]int, len(named))
	instances := make([]model.Instance, 0, len(named))
	for _, in := range named {
		in = codec.WithDefaults(in)
		if at, ok := index[in.Key()]; ok {
			instances[at] = in
			continue
		}
		index[in.Key()] = len(instances)
		instances = append(instances, in)
	}
	return s.core.Publish(t.id, key, instances)
}

func serviceQuery(s *Server, _ *transport, body []byte) (frame, error) {
	var r serviceQueryRequest
	if err := decode(body, &r); err != nil {
		return nil, err
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	if err := codec.CheckClusters(r.Cluster.Value); err != nil {
		return nil, refusal{err}
	}
	snap := r.nothing()
	if key, err := r.key(); err == nil {
		if snap, err = s.core.Query(key); err != nil {
			return nil, err
		}
	}
	return listFrame("QueryServiceResponse", queryHead, snap, r.Cluster.Value, bool(r.HealthyOnly), responseTail), nil
}

// nothing is the answer to a query that no service can match: the reference answers it, and refuses it elsewhere.
func (r *serviceRequest) nothing() *catalog.Snapshot {
	key := model.ServiceKey{Namespace: r.namespace(), Group: r.GroupName.Value, Name: r.ServiceName.Value}
	return &catalog.Snapshot{Service: key, Revision: time.Now().UnixMilli()}
}

func subscribeService(s *Server, t *transport, body []byte) (frame, error) {
	var r subscribeServiceRequest
	if err := decode(body, &r); err != nil {
		return nil, err
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	if err := codec.CheckClusters(r.Clusters.Value); err != nil {
		return nil, refusal{err}
	}
	key, err := r.key()
	if err != nil {
		return nil, err
	}
	var snap *catalog.Snapshot
	if r.Subscribe {
		snap, err = s.core.Subscribe(t.id, key, r.Clusters.Value)
	} else {
		snap, err = s.core.Unsubscribe(t.id, key)
	}
	if err != nil {
		return nil, err
	}
	return listFrame("SubscribeServiceResponse", subscribeHead, snap, r.Clusters.Value, false, responseTail), nil
}

func serviceList(s *Server, _ *transport, body []byte) (frame, error) {
	var r serviceListRequest
	if err := decode(body, &r); err != nil {
		return nil, err
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	if !r.Namespace.Set {
		return nil, errFailed("Param 'namespace' is illegal, namespace is null")
	}
	if r.PageSize < 0 {
		return nil, errFailed("fromIndex(0) > toIndex(%d)", r.PageSize)
	}
	var names []string
	if r.GroupName.Value != "" {
		var err error
		if names, err = s.core.ServiceNames(r.namespace(), r.GroupName.Value); err != nil {
			return nil, err
		}
	}
	return newFrame("ServiceListResponse", serviceListResponse(len(names), codec.Page(names, int64(r.PageNo), int64(r.PageSize)))), nil
}

// listFrame is a message around a list. What lists of all clusters have in common at all revisions of the same hosts is
// encoded once for all who ask; the revision goes into the end.
func listFrame(kind string, head []byte, snap *catalog.Snapshot, clusters string, healthyOnly bool, tail []byte) frame {
	list, protected := snap.Encode(catalog.EncodingGRPC, clusters, healthyOnly, func(hosts []model.Instance) []byte {
		return codec.AppendHosts(nil, codec.FormGRPC, codec.ServiceInfo{Service: snap.Service, Clusters: clusters, Hosts: hosts})
	})
	end := codec.AppendRevision(make([]byte, 0, 128+len(tail)), snap.Revision, protected)
	return newFrame(kind, head, list, append(end, tail...))
}
