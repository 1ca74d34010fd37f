package codec

import (
	"strconv"
	"time"

	"github.com/muster-registry/muster/registry/model"
)

// Form says how a protocol names a service, and what it can say of a weight that is no number.
type Form int

// Forms.
const (
	// FormGRPC: the plain name; weights are always numbers.
	FormGRPC Form = iota
	// FormHTTP: group@@name, also in UDP; a weight that is not a number is the string "NaN", as Nacos writes it.
	FormHTTP
)

// What Nacos tells clients that ask for the list of a service (nacos-protocol §1.1).
const (
	cacheMillis   = 10000
	beatTimeout   = 15 * time.Second
	deleteTimeout = 30 * time.Second
	simpleID      = "simple"
)

// ServiceInfo is the list of a service as clients are told it.
type ServiceInfo struct {
	Service model.ServiceKey
	// Clusters echoes what was asked for: clients use it as part of their cache key.
	Clusters string
	Hosts    []model.Instance
}

// AppendHosts writes the JSON object of a list up to where AppendRevision goes on: nearly all of it, and the same for
// every revision of the same hosts. Keys are in the order in which Nacos 2.5.1 writes them. There is never a null in it:
// Python clients refuse one (nacos-protocol §3.8).
func AppendHosts(b []byte, form Form, s ServiceInfo) []byte {
	name := s.Service.Name
	if form == FormHTTP {
		name = s.Service.Grouped()
	}
	b = appendString(append(b, `{"name":`...), name)
	b = appendString(append(b, `,"groupName":`...), s.Service.Group)
	b = appendString(append(b, `,"clusters":`...), s.Clusters)
	b = strconv.AppendInt(append(b, `,"cacheMillis":`...), cacheMillis, 10)
	b = append(b, `,"hosts":[`...)
	grouped := s.Service.Grouped()
	for i, in := range s.Hosts {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendHost(b, form, grouped, in)
	}
	return append(b, ']')
}

// AppendRevision writes the end of a list: its revision in ms, and reachProtectionThreshold. Clients drop a list that is
// not newer than theirs.
func AppendRevision(b []byte, lastRefTime int64, protected bool) []byte {
	b = strconv.AppendInt(append(b, `,"lastRefTime":`...), lastRefTime, 10)
	b = strconv.AppendBool(append(b, `,"checksum":"","allIPs":false,"reachProtectionThreshold":`...), protected)
	return append(b, `,"valid":true}`...)
}

// AppendHost writes the JSON object of one instance of the service group@@name.
func AppendHost(b []byte, form Form, grouped string, in model.Instance) []byte {
	b = append(b, '{')
	if in.ID != "" {
		b = append(appendString(append(b, `"instanceId":`...), in.ID), ',')
	}
	b = appendString(append(b, `"ip":`...), in.IP)
	b = strconv.AppendInt(append(b, `,"port":`...), int64(in.Port), 10)
	b = appendWeight(append(b, `,"weight":`...), form, in.Weight)
	b = strconv.AppendBool(append(b, `,"healthy":`...), in.Healthy)
	b = strconv.AppendBool(append(b, `,"enabled":`...), in.Enabled)
	b = appendString(append(b, `,"ephemeral":true,"clusterName":`...), in.Cluster)
	b = appendString(append(b, `,"serviceName":`...), grouped)
	b = AppendMetadata(append(b, `,"metadata":`...), in.Metadata)
	b = appendMillis(append(b, `,"instanceHeartBeatInterval":`...), in.BeatInterval())
	b = appendMillis(append(b, `,"instanceHeartBeatTimeOut":`...), in.BeatTimeout(beatTimeout))
	b = appendMillis(append(b, `,"ipDeleteTimeout":`...), in.DeleteAfter(deleteTimeout))
	if generator, ok := in.Metadata.Lookup(model.MetaIDGenerator); ok {
		b = appendString(append(b, `,"instanceIdGenerator":`...), generator)
	} else if in.Metadata.Empty() {
		b = append(b, `,"instanceIdGenerator":"`+simpleID+`"`...)
	}
	return append(b, '}')
}

// AppendMetadata writes a JSON object with sorted keys, {} for none.
func AppendMetadata(b []byte, metadata model.Metadata) []byte {
	b = append(b, '{')
	first := true
	for key, value := range metadata.All() {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(appendString(b, key), ':')
		b = appendString(b, value)
	}
	return append(b, '}')
}

func appendMillis(b []byte, d time.Duration) []byte {
	return strconv.AppendInt(b, d.Milliseconds(), 10)
}
