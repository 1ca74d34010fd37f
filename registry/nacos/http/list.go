package http

import (
	"strconv"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/nacos/codec"
)

// list is GET /instance/list: the enabled instances of a service. An unknown service has none.
func (s *Server) list(q *request) (answer, error) {
	key, err := q.service()
	if err != nil {
		return answer{}, err
	}
	// UDP pushes are not sent: whoever asked for them polls.
	if _, err := parseInt(q.params.optional("udpPort", "0")); err != nil {
		return answer{}, err
	}
	snap, err := s.core.Query(key)
	if err != nil {
		return answer{}, err
	}
	clusters, healthyOnly := q.params.optional("clusters", ""), q.params.strictFlag("healthyOnly", false)
	list, protected := snap.Encode(catalog.EncodingHTTP, clusters, healthyOnly, func(hosts []model.Instance) []byte {
		return codec.AppendHosts(nil, codec.FormHTTP, codec.ServiceInfo{Service: snap.Service, Clusters: clusters, Hosts: hosts})
	})
	a := rawJSON(list)
	a.end = codec.AppendRevision(q.scratch[:0], snap.Revision, protected)
	return a, nil
}

type serviceNames struct {
	Count int      `json:"count"`
	Doms  []string `json:"doms"`
}

// services is GET /service/list: a page of the plain names of a group. A number that is none counts as 0.
func (s *Server) services(q *request) (answer, error) {
	pageNo, err := q.params.required("pageNo")
	if err != nil {
		return answer{}, err
	}
	pageSize, err := q.params.required("pageSize")
	if err != nil {
		return answer{}, err
	}
	names, err := s.core.ServiceNames(q.key.Namespace, q.key.Group)
	if err != nil {
		return answer{}, err
	}
	page, _ := strconv.ParseInt(pageNo, 10, 32)
	size, _ := strconv.ParseInt(pageSize, 10, 32)
	if size < 0 && len(names) > 0 {
		return answer{}, badRequest("fromIndex(0) > toIndex(%d)", size)
	}
	return toJSON(serviceNames{Count: len(names), Doms: codec.Page(names, page, max(size, 0))}), nil
}
