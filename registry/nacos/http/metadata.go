package http

import (
	nethttp "net/http"
	"strings"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/nacos/codec"
)

// parseMetadata reads a flat JSON object, or else a=1,b=2. What is neither is a 500 in Nacos, which clients know.
func (q *request) parseMetadata() (model.Metadata, error) {
	s := q.params.get("metadata")
	if strings.TrimSpace(s) == "" {
		return model.Metadata{}, nil
	}
	q.pairs = q.pairs[:0]
	if codec.DecodeObject([]byte(s), &q.pairs) == nil {
		return model.NewMetadata(q.pairs...), nil
	}
	if strings.TrimSpace(s) == "null" {
		return model.Metadata{}, nil
	}
	var pairs []model.Pair
	for _, pair := range javaSplit(s, ",") {
		kv := javaSplit(pair, "=")
		if len(kv) != 2 {
			return model.Metadata{}, framework(nethttp.StatusInternalServerError, "Server failed, caused: ErrCode:400, ErrMsg:metadata format incorrect:"+s+
				";caused: metadata format incorrect:"+s+";")
		}
		pairs = append(pairs, model.Pair{Key: kv[0], Value: kv[1]})
	}
	return model.NewMetadata(pairs...), nil
}

// javaSplit drops empty parts at the end, but keeps a whole that is empty.
func javaSplit(s, separator string) []string {
	parts := strings.Split(s, separator)
	for len(parts) > 1 && parts[len(parts)-1] == "" {
		parts = parts[:len(parts)-1]
	}
	return parts
}
