package http

import (
	nethttp "net/http"
	"strings"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/nacos/codec"
)

// request is what the filters before the handlers make of a request below /v1/ns.
type request struct {
	*nethttp.Request
	params params
	// key is the service; its name is empty when the request names none.
	key model.ServiceKey
	// metadata and beat are decoded for the routes that read them. beat is nil when there is none.
	metadata model.Metadata
	beat     *beatInfo
	// pairs are the metadata while they are read.
	pairs codec.Metadata
	// scratch is room for a short body, which is written before the request is used again.
	scratch [128]byte
}

// usual and most are how many parameters, or pairs, there is room for from the start, and in a request that is used again.
const usual, most = 16, 64

// reset makes it one of another request, for which nothing of this one is left but room.
func (q *request) reset() {
	clear(q.params)
	clear(q.pairs)
	if cap(q.params) > most || cap(q.pairs) > most {
		q.params, q.pairs = make(params, 0, usual), nil
	}
	*q = request{params: q.params[:0], pairs: q.pairs[:0]}
}

// reads says which encoded parameters a route has: Nacos decodes them in a filter, before it checks anything.
type reads int

const (
	readsMetadata reads = 1 << iota
	readsBeat
)

// filter passes a request through what are filters in Nacos, in their order: the name of the service, encoded
// parameters, the parameter check.
func (q *request) filter(reads reads) error {
	if err := q.filterName(); err != nil {
		return err
	}
	var err error
	if reads&readsMetadata != 0 {
		if q.metadata, err = q.parseMetadata(); err != nil {
			return err
		}
	}
	if reads&readsBeat != 0 {
		if q.beat, err = parseBeat(q.params.get("beat")); err != nil {
			return err
		}
	}
	if err := q.check(); err != nil {
		return err
	}
	q.key.Namespace = q.params.optional("namespaceId", model.DefaultNamespace)
	return nil
}

// filterName makes group@@name of a plain name; in group@@name the parameter groupName does not count (nacos-protocol §0).
func (q *request) filterName() error {
	group, name := q.params.get("groupName"), strings.TrimSpace(q.params.get("serviceName"))
	if strings.TrimSpace(group) == "" {
		group = model.DefaultGroup
	}
	if name == "" {
		q.key.Group = group
		return nil
	}
	if !strings.Contains(name, model.GroupSeparator) {
		name = group + model.GroupSeparator + name
	}
	q.key.Group, q.key.Name, _ = strings.Cut(name, model.GroupSeparator)
	switch {
	case strings.ReplaceAll(q.key.Name, model.GroupSeparator, "") == "":
		return framework(nethttp.StatusBadRequest, "Service name filter error,caused: "+badName+";")
	case q.key.Group == "":
		return framework(nethttp.StatusBadRequest,
			"Service name filter error,caused: Param 'serviceName' is illegal, groupName can't be empty;")
	}
	return nil
}

const badName = "Param 'serviceName' is illegal, it should be format as 'groupName@@serviceName'"

// check is the parameter check of nacos-protocol §4.9. It sees the values as sent: a padded port is refused, not trimmed.
func (q *request) check() error {
	if label, bad := q.params.notUTF8(); bad {
		return bare("Param '" + label + "' is illegal, illegal characters should not appear in the param.")
	}
	namespace := q.params.get("namespaceId")
	if strings.TrimSpace(namespace) == "" {
		namespace = ""
	}
	err := codec.CheckService(namespace, q.key.Group, q.key.Name)
	if err == nil {
		err = codec.CheckClusters(q.params.get("clusters"))
	}
	if err == nil {
		err = codec.CheckInstance(model.Instance{
			Cluster: q.cluster(""), IP: q.params.get("ip"), Port: int32(checkedPort(q.params.get("port"))), Metadata: q.metadata,
		})
	}
	if err == nil && q.beat != nil {
		err = codec.CheckInstance(q.beat.instance())
	}
	if err != nil {
		return bare(err.Error())
	}
	return nil
}

// checkedPort is out of range for what is no number, which the check words in the same way.
func checkedPort(s string) int {
	if strings.TrimSpace(s) == "" {
		return 0
	}
	n, err := parseInt(s)
	if err != nil {
		return -1
	}
	return n
}

// cluster is clusterName or else its alias, as sent.
func (q *request) cluster(otherwise string) string {
	for _, name := range []string{"clusterName", "cluster"} {
		if c := q.params.get(name); strings.TrimSpace(c) != "" {
			return c
		}
	}
	return otherwise
}

// service is the service that the request is about.
func (q *request) service() (model.ServiceKey, error) {
	if _, err := q.params.required("serviceName"); err != nil {
		return model.ServiceKey{}, err
	}
	if q.key.Name == "" {
		return model.ServiceKey{}, badRequest(badName)
	}
	return q.key, nil
}

// address is ip and port, both required.
func (q *request) address() (ip string, port int, err error) {
	if ip, err = q.params.required("ip"); err != nil {
		return "", 0, err
	}
	s, err := q.params.required("port")
	if err != nil {
		return "", 0, err
	}
	port, err = parseInt(s)
	return ip, port, err
}

// owned are copies of what is kept: the parameters are parts of the request, which would stay with the smallest of them.
func owned(key model.ServiceKey, in model.Instance) (model.ServiceKey, model.Instance) {
	key.Namespace, key.Group, key.Name = codec.Owned(key.Namespace), codec.Owned(key.Group), strings.Clone(key.Name)
	in.IP, in.Cluster = strings.Clone(in.IP), codec.Owned(in.Cluster)
	return key, in
}

// client is how the publisher at this address describes itself.
func (q *request) client(ip string) model.Client {
	agent := q.Header.Get("User-Agent")
	if agent == "" {
		agent = q.Header.Get("Client-Version")
	}
	return model.Client{IP: ip, Agent: model.ClipClientText(agent), App: model.ClipClientText(q.params.optional("app", ""))}
}
