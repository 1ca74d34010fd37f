package http

import (
	nethttp "net/http"
	"strconv"
	"strings"

	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/nacos/codec"
)

// Codes of an answer to a beat (nacos-protocol §1.1).
const (
	beatOK      = 10200
	beatUnknown = 20404 // the client registers again
)

// beatInfo is the JSON of a full beat. Clients send more, which nobody needs.
type beatInfo struct {
	IP       codec.Text
	Port     codec.Int
	Cluster  codec.Text
	Weight   codec.Double
	Metadata codec.Metadata
}

// Field implements codec.Fields.
func (b *beatInfo) Field(name, value []byte) error {
	switch string(name) {
	case "ip":
		return b.IP.UnmarshalJSON(value)
	case "port":
		return b.Port.UnmarshalJSON(value)
	case "cluster":
		return b.Cluster.UnmarshalJSON(value)
	case "weight":
		return b.Weight.UnmarshalJSON(value)
	case "metadata":
		return b.Metadata.UnmarshalJSON(value)
	}
	return nil
}

// parseBeat is nil for a light beat.
func parseBeat(s string) (*beatInfo, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return nil, nil
	}
	var b beatInfo
	err := codec.DecodeObject([]byte(s), &b)
	if err == nil {
		return &b, nil
	}
	why := err.Error()
	return nil, framework(nethttp.StatusInternalServerError, "Server failed, caused: errCode: 101, errMsg: Nacos deserialize for class "+
		"[com.alibaba.nacos.naming.healthcheck.RsInfo] failed, cause error["+why+"].  ;caused: "+why+";")
}

// instance is what a full beat registers where nothing is known: weight and port left out are 0, as in Nacos.
func (b *beatInfo) instance() model.Instance {
	return model.Instance{
		IP: b.IP.Value, Port: int32(b.Port), Cluster: b.Cluster.Value, Weight: float64(b.Weight),
		Healthy: true, Enabled: true, Metadata: model.NewMetadata(b.Metadata...),
	}
}

// heartbeat is PUT /instance/beat.
func (s *Server) heartbeat(q *request) (answer, error) {
	key, err := q.service()
	if err != nil {
		return answer{}, err
	}
	b := member.Beat{Service: key, IP: q.params.optional("ip", "")}
	if b.Port, err = parseInt(q.params.optional("port", "0")); err != nil {
		return answer{}, err
	}
	if q.beat != nil {
		if b.Full, err = q.fullBeat(); err != nil {
			return answer{}, err
		}
		b.IP, b.Port = b.Full.IP, int(b.Full.Port)
	}
	if b.IP == "" {
		return q.beatResult(member.BeatResult{}), nil // nobody's beat is nobody known
	}
	if b.Full != nil { // of a light beat nothing is kept
		b.Service, *b.Full = owned(b.Service, *b.Full)
		b.IP, b.Client = b.Full.IP, q.client(b.Full.IP)
	}
	result, err := s.core.Beat(q.Context(), b)
	if err != nil {
		return answer{}, err
	}
	return q.beatResult(result), nil
}

// fullBeat is the instance that the beat registers when it is not known. Nacos would register one without an address.
func (q *request) fullBeat() (*model.Instance, error) {
	in := q.beat.instance()
	if in.IP == "" {
		return nil, badRequest("Param 'ip' is required.")
	}
	if strings.TrimSpace(in.Cluster) == "" {
		in.Cluster = q.params.optional("clusterName", model.DefaultCluster)
	}
	if err := codec.CheckLegal(in); err != nil {
		return nil, err
	}
	var err error
	in.ID, err = instanceID(q.key, in)
	return &in, err
}

func (q *request) beatResult(r member.BeatResult) answer {
	code, interval := beatUnknown, model.DefaultBeatInterval
	if r.Known {
		code = beatOK
		if r.Interval > 0 {
			interval = r.Interval
		}
	}
	b := strconv.AppendInt(append(q.scratch[:0], `{"clientBeatInterval":`...), interval.Milliseconds(), 10)
	b = strconv.AppendInt(append(b, `,"code":`...), int64(code), 10)
	return rawJSON(append(b, `,"lightBeatEnabled":true}`...))
}
