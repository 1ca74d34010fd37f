package http

import (
	"strings"
	"testing"
)

// TestService: what PUT says of a service is what GET shows, and lists protect by it (nacos-protocol §1.2, §4.5).
func TestService(t *testing.T) {
	s := newServer(t, newFakeCore())
	const service = "/v1/ns/service?serviceName=s"
	put := func(query string) call {
		return call{method: "PUT", target: service + query, status: 200, media: textType, body: "ok"}
	}
	refused := func(method, target, want string) call {
		return call{method: method, target: target, status: 400, media: textType, body: want}
	}
	shown := func(threshold, metadata string, clusters ...string) call {
		for i, c := range clusters {
			clusters[i] = `{"name":"` + c + `","healthChecker":{"type":"TCP"},"metadata":{}}`
		}
		return call{
			method: "GET", target: service, status: 200, media: jsonType,
			body: `{"namespaceId":"public","groupName":"DEFAULT_GROUP","name":"s","protectThreshold":` + threshold + `,"metadata":` + metadata +
				`,"selector":{"type":"none","contextType":"NONE"},"clusters":[` + strings.Join(clusters, ",") + `]}`,
		}
	}
	register := func(query string) call {
		return call{method: "POST", target: "/v1/ns/instance?serviceName=s&port=80&" + query, status: 200, media: textType, body: "ok"}
	}
	for _, c := range []call{
		refused("GET", service, "service not found, namespace: public, serviceName: DEFAULT_GROUP@@s"),
		refused("GET", "/v1/ns/service", "Parameter 'serviceName' is missing"),
		refused("GET", "/v1/ns/service?serviceName=", "service not found, namespace: public, serviceName: "),
		refused("PUT", service+"&protectThreshold=0.5", "service DEFAULT_GROUP@@s not found!"),
		register("ip=10.0.0.1&clusterName=c2"),
		register("ip=10.0.0.2&clusterName=c1&healthy=false"),
		register("ip=10.0.0.3&clusterName=c1&enabled=false"),
		shown("0", "{}", "c1", "c2"),
		put("&protectThreshold=0.7&metadata=x=1"),
		shown("0.7", `{"x":"1"}`, "c1", "c2"),
		put("&protectThreshold=abc"),
		shown("0", "{}", "c1", "c2"),
		put("&protectThreshold=1e300"),
		put("&protectThreshold=NaN"),
		shown("0", "{}", "c1", "c2"),
		put("&protectThreshold=-1&selector={%22type%22:%22none%22}"),
		shown("-1", "{}", "c1", "c2"),
		refused("PUT", service, "Param 'protectThreshold' is required."),
		refused("PUT", "/v1/ns/service?protectThreshold=0.1", "Param 'serviceName' is required."),
		refused("PUT", service+"&protectThreshold=1&selector={%22type%22:%22label%22}", "Param 'selector' is illegal, the only type is none"),
		refused("PUT", service+"&protectThreshold=1&selector={", "Param 'selector' is illegal, the only type is none"),
		shown("-1", "{}", "c1", "c2"),
	} {
		c.check(t, s)
	}
	for _, step := range []struct {
		put, list        string
		healthy, protect bool
	}{
		{"&protectThreshold=0.4", "", false, false},
		{"&protectThreshold=0.5", "", true, true},
		{"&protectThreshold=0.5", "&clusters=c1", true, true},
		{"&protectThreshold=0", "&clusters=c1", true, true},
		{"&protectThreshold=0", "", false, false},
	} {
		put(step.put).check(t, s)
		w := call{method: "GET", target: "/v1/ns/instance/list?serviceName=s" + step.list}.do(s)
		got := w.Body.String()
		if strings.Contains(got, `"reachProtectionThreshold":true`) != step.protect || strings.Contains(got, `"healthy":false`) == step.healthy {
			t.Errorf("%s, list%s: %s", step.put, step.list, got)
		}
	}
}
