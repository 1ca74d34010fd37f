package http

import (
	nethttp "net/http"
	"strings"

	"github.com/muster-registry/muster/registry/nacos/codec"
)

// parseMetadata reads a flat JSON object, or else a=1,b=2. What is neither is a 500 in Nacos, which clients know.
func parseMetadata(s string) (map[string]string, error) {
	if strings.TrimSpace(s) == "" {
		return nil, nil
	}
	object := codec.Metadata{}
	if codec.DecodeObject([]byte(s), object) == nil {
		return object, nil
	}
	if strings.TrimSpace(s) == "null" {
		return nil, nil
	}
	pairs := map[string]string{}
	for _, pair := range javaSplit(s, ",") {
		kv := javaSplit(pair, "=")
		if len(kv) != 2 {
			return nil, framework(nethttp.StatusInternalServerError, "Server failed, caused: ErrCode:400, ErrMsg:metadata format incorrect:"+s+
				";caused: metadata format incorrect:"+s+";")
		}
		pairs[strings.Clone(kv[0])] = strings.Clone(kv[1])
	}
	return pairs, nil
}

// javaSplit drops empty parts at the end, but keeps a whole that is empty.
func javaSplit(s, separator string) []string {
	parts := strings.Split(s, separator)
	for len(parts) > 1 && parts[len(parts)-1] == "" {
		parts = parts[:len(parts)-1]
	}
	return parts
}
