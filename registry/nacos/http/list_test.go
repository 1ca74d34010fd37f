package http

import (
	"fmt"
	"strings"
	"testing"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/model"
)

// host is the JSON of an instance with port 80 and no metadata.
func host(ip, cluster string, healthy bool) string {
	return fmt.Sprintf(`{"instanceId":"%s","ip":"%s","port":80,"weight":1.0,"healthy":%t,"enabled":true,"ephemeral":true,"clusterName":"%s",`+
		`"serviceName":"DEFAULT_GROUP@@s","metadata":{},"instanceHeartBeatInterval":5000,"instanceHeartBeatTimeOut":15000,"ipDeleteTimeout":30000,`+
		`"instanceIdGenerator":"simple"}`, ip, ip, healthy, cluster)
}

// fixed is a core with one snapshot.
type fixed struct {
	*fakeCore
	snapshot *catalog.Snapshot
}

func (f fixed) Query(key model.ServiceKey) (*catalog.Snapshot, error) {
	if key != f.snapshot.Service {
		return &catalog.Snapshot{Service: key, Revision: 8}, nil
	}
	return f.snapshot, nil
}

func TestList(t *testing.T) {
	instance := func(ip, cluster string, healthy, enabled bool) model.Instance {
		return model.Instance{IP: ip, Port: 80, Cluster: cluster, ID: ip, Weight: 1, Healthy: healthy, Enabled: enabled}
	}
	core := fixed{newFakeCore(), &catalog.Snapshot{Service: public("s"), Revision: 7, Known: true, Hosts: []model.Instance{
		instance("10.0.0.1", "c1", true, true), instance("10.0.0.2", "c2", true, true),
		instance("10.0.0.3", "c2", false, true), instance("10.0.0.4", "c3", true, false),
	}}}
	h1, h2, h3 := host("10.0.0.1", "c1", true), host("10.0.0.2", "c2", true), host("10.0.0.3", "c2", false)
	list := func(query, name, clusters string, revision int, hosts ...string) call {
		group, _, _ := strings.Cut(name, "@@")
		return call{
			method: "GET", target: "/v1/ns/instance/list?" + query, status: 200, media: jsonType,
			body: fmt.Sprintf(`{"name":"%s","groupName":"%s","clusters":"%s","cacheMillis":10000,"hosts":[%s],"lastRefTime":%d,"checksum":"","allIPs":false,"reachProtectionThreshold":false,"valid":true}`,
				name, group, clusters, strings.Join(hosts, ","), revision),
		}
	}
	bad := func(query string, media, body string) call {
		return call{method: "GET", target: "/v1/ns/instance/list" + query, status: 400, media: media, body: body}
	}
	const name = "DEFAULT_GROUP@@s"
	withAccept := func(accept string, c call) call {
		c.header = map[string]string{"Accept": accept}
		return c
	}
	unacceptable := func(accept, media string) call {
		return call{
			method: "GET", target: "/v1/ns/instance/list?serviceName=s", header: map[string]string{"Accept": accept},
			status: 500, media: media, body: "caused: Could not find acceptable representation;",
		}
	}
	form := bad("", textType, "Param 'serviceName' is required.")
	form.form = "serviceName=s"
	tests := map[string]call{
		"all":                       list("serviceName=s", name, "", 7, h1, h2, h3),
		"again, from the same text": list("serviceName=DEFAULT_GROUP@@s&groupName=g", name, "", 7, h1, h2, h3),
		"one cluster":               list("serviceName=s&clusters=c1", name, "c1", 7, h1),
		"two clusters":              list("serviceName=s&clusters=c2,c1", name, "c2,c1", 7, h1, h2, h3),
		"unknown cluster":           list("serviceName=s&clusters=c9", name, "c9", 7),
		"cluster of a disabled one": list("serviceName=s&clusters=c3", name, "c3", 7),
		"healthy":                   list("serviceName=s&healthyOnly=TRUE", name, "", 7, h1, h2),
		"healthy, cluster":          list("serviceName=s&healthyOnly=true&clusters=c2", name, "c2", 7, h2),
		"healthy is true alone":     list("serviceName=s&healthyOnly=yes", name, "", 7, h1, h2, h3),
		"unknown service":           list("serviceName=x", "DEFAULT_GROUP@@x", "", 8),
		"unknown group":             list("serviceName=s&groupName=g", "g@@s", "", 8),
		"unknown namespace":         list("serviceName=s&namespaceId=n&clusters=c1", name, "c1", 8),
		"UDP is not pushed":         list("serviceName=s&udpPort=55555&clientIP=127.0.0.1", name, "", 7, h1, h2, h3),
		"legacy":                    list("serviceName=s&udpPort=&env=e&isCheck=true&app=a&tid=t", name, "", 7, h1, h2, h3),
		"accepts JSON":              withAccept("text/html, application/JSON;q=0.9", list("serviceName=s", name, "", 7, h1, h2, h3)),
		"accepts all":               withAccept("text/html, */*; q=.2", list("serviceName=s", name, "", 7, h1, h2, h3)),
		"accepts XML":               unacceptable("application/xml", "application/xml;charset=UTF-8"),
		"accepts a line end":        unacceptable("text/x y", textType),
		"no name":                   bad("", textType, "Param 'serviceName' is required."),
		"a form is not read":        form,
		"name":                      bad("?serviceName=@@x", jsonType, frameworkJSON(400, "Service name filter error,caused: Param 'serviceName' is illegal, groupName can't be empty;", "/v1/ns/instance/list")),
		"clusters":                  bad("?serviceName=s&clusters=c1,%20c2", "", "Param 'cluster'"+illegalText),
		"clusters not UTF-8":        bad("?serviceName=s&clusters=%FF", "", "Param 'cluster'"+illegalText),
		"clusters without end":      bad("?serviceName=s&clusters=c1"+strings.Repeat(",", 4095), "", "Param 'clusters' is illegal, the param length should not exceed 4096.\r\n"),
		"udpPort":                   bad("?serviceName=s&udpPort=abc", textType, `For input string: "abc"`),
	}
	s := newServer(t, core)
	for name, c := range tests {
		t.Run(name, func(t *testing.T) { c.check(t, s) })
	}
}

func TestServices(t *testing.T) {
	core := newFakeCore()
	s := newServer(t, core)
	for _, k := range []model.ServiceKey{public("c"), public("a"), public("b"), {Namespace: "public", Group: "g1", Name: "d"}, {Namespace: "n", Group: "DEFAULT_GROUP", Name: "e"}} {
		core.RegisterInstance(k, plain(nil), model.Client{})
	}
	list := func(query, want string) call {
		return call{method: "GET", target: "/v1/ns/service/list" + query, status: 200, media: jsonType, body: want}
	}
	bad := func(query, media, want string) call {
		return call{method: "GET", target: "/v1/ns/service/list" + query, status: 400, media: media, body: want}
	}
	tests := map[string]call{
		"all":              list("?pageNo=1&pageSize=100000", `{"count":3,"doms":["a","b","c"]}`),
		"first page":       list("?pageNo=1&pageSize=2", `{"count":3,"doms":["a","b"]}`),
		"last page":        list("?pageNo=2&pageSize=2", `{"count":3,"doms":["c"]}`),
		"behind":           list("?pageNo=3&pageSize=2", `{"count":3,"doms":[]}`),
		"far behind":       list("?pageNo=2147483647&pageSize=2147483647", `{"count":3,"doms":[]}`),
		"page 0":           list("?pageNo=0&pageSize=1", `{"count":3,"doms":["a"]}`),
		"page -1":          list("?pageNo=-1&pageSize=1", `{"count":3,"doms":["a"]}`),
		"page text":        list("?pageNo=x&pageSize=1", `{"count":3,"doms":["a"]}`),
		"size 0":           list("?pageNo=1&pageSize=0", `{"count":3,"doms":[]}`),
		"size text":        list("?pageNo=1&pageSize=x", `{"count":3,"doms":[]}`),
		"size -1, nothing": list("?pageNo=1&pageSize=-1&groupName=none", `{"count":0,"doms":[]}`),
		"group":            list("?pageNo=1&pageSize=9&groupName=g1", `{"count":1,"doms":["d"]}`),
		"namespace":        list("?pageNo=1&pageSize=9&namespaceId=n", `{"count":1,"doms":["e"]}`),
		"selector":         list("?pageNo=1&pageSize=9&selector=%7B", `{"count":3,"doms":["a","b","c"]}`),
		"size -1":          bad("?pageNo=1&pageSize=-1", textType, "fromIndex(0) > toIndex(-1)"),
		"no page":          bad("?pageSize=1", textType, "Param 'pageNo' is required."),
		"no size":          bad("?pageNo=1&pageSize=", textType, "Param 'pageSize' is required."),
		"bad group":        bad("?pageNo=1&pageSize=1&groupName=a/b", "", "Param 'group'"+illegalText),
		"bad namespace":    bad("?pageNo=1&pageSize=1&namespaceId=a.b", "", "Param 'namespaceId/tenant'"+illegalText),
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) { c.check(t, s) })
	}
}
