package http

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/nacos/codec"
)

// service is GET /service: what an administrator has said of it, and the clusters of its instances.
func (s *Server) service(q *request) (answer, error) {
	if _, named := q.params.find("serviceName"); !named {
		return answer{}, badRequest("Parameter 'serviceName' is missing")
	}
	name, snap := "", &catalog.Snapshot{}
	if q.key.Name != "" {
		var err error
		if snap, err = s.core.Query(q.key); err != nil {
			return answer{}, err
		}
		name = q.key.Grouped()
	}
	if !snap.Known {
		return answer{}, badRequest("service not found, namespace: %s, serviceName: %s", q.key.Namespace, name)
	}
	return rawJSON(appendService(nil, snap)), nil
}

func appendService(b []byte, snap *catalog.Snapshot) []byte {
	settings := model.Settings{}
	if snap.Settings != nil {
		settings = *snap.Settings
	}
	b = codec.AppendString(append(b, `{"namespaceId":`...), snap.Service.Namespace)
	b = codec.AppendString(append(b, `,"groupName":`...), snap.Service.Group)
	b = codec.AppendString(append(b, `,"name":`...), snap.Service.Name)
	b = strconv.AppendFloat(append(b, `,"protectThreshold":`...), float64(settings.ProtectThreshold), 'g', -1, 32)
	b = codec.AppendMetadata(append(b, `,"metadata":`...), settings.Metadata)
	b = append(b, `,"selector":{"type":"none","contextType":"NONE"},"clusters":[`...)
	for i, cluster := range clustersOf(snap.Hosts) {
		if i > 0 {
			b = append(b, ',')
		}
		b = codec.AppendString(append(b, `{"name":`...), cluster)
		b = append(b, `,"healthChecker":{"type":"TCP"},"metadata":{}}`...)
	}
	return append(b, `]}`...)
}

func clustersOf(hosts []model.Instance) []string {
	var clusters []string
	for i := range hosts {
		clusters = append(clusters, hosts[i].Cluster)
	}
	slices.Sort(clusters)
	return slices.Compact(clusters)
}

// configure is PUT /service: protect threshold and metadata of a service that has instances. What is left out is reset, and a
// threshold that is no number is 0, as in Nacos.
func (s *Server) configure(q *request) (answer, error) {
	key, err := q.service()
	if err != nil {
		return answer{}, err
	}
	threshold, err := q.params.required("protectThreshold")
	if err != nil {
		return answer{}, err
	}
	if err := checkSelector(q.params.optional("selector", "")); err != nil {
		return answer{}, err
	}
	key, _ = owned(key, model.Instance{})
	err = s.core.ConfigureService(key, model.Settings{ProtectThreshold: parseThreshold(threshold), Metadata: q.metadata})
	if errors.Is(err, model.ErrNotFound) {
		return answer{}, badRequest("service %s not found!", key.Grouped())
	}
	if err != nil {
		return answer{}, err
	}
	return ok(), nil
}

func parseThreshold(s string) float32 {
	v, err := parseDouble(s)
	if err != nil || !(math.Abs(v) <= math.MaxFloat32) {
		return 0
	}
	return float32(v)
}

// checkSelector refuses what would be stored and have no effect.
func checkSelector(s string) error {
	selector := struct{ Type string }{"none"}
	if s != "" && json.Unmarshal([]byte(s), &selector) != nil || selector.Type != "none" {
		return badRequest("Param 'selector' is illegal, the only type is none")
	}
	return nil
}
