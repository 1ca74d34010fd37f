package http

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-registry/muster/registry/model"
)

// stored is everything that a core holds, by grouped name.
func stored(f *fakeCore) map[model.ServiceKey][]model.Instance {
	out := map[model.ServiceKey][]model.Instance{}
	for key := range f.services {
		snap, _ := f.Query(key)
		out[key] = snap.Hosts
	}
	return out
}

func public(name string) model.ServiceKey {
	return model.ServiceKey{Namespace: "public", Group: "DEFAULT_GROUP", Name: name}
}

// plain is what registering s with ip=10.0.0.1 and port=80 stores.
func plain(change func(*model.Instance)) model.Instance {
	in := model.Instance{
		IP: "10.0.0.1", Port: 80, Cluster: "DEFAULT", ID: "10.0.0.1#80#DEFAULT#DEFAULT_GROUP@@s",
		Weight: 1, Healthy: true, Enabled: true, Metadata: model.MetadataOf(map[string]string{}),
	}
	if change != nil {
		change(&in)
	}
	return in
}

// metadataText is for cmp: no map and an empty one are the same to everybody.
var emptyIsNil = cmp.Transformer("metadata", func(m map[string]string) string { return url.Values(lists(m)).Encode() })

func lists(m map[string]string) map[string][]string {
	out := map[string][]string{}
	for k, v := range m {
		out[k] = []string{v}
	}
	return out
}

func TestRegisterStores(t *testing.T) {
	const s = "serviceName=s&ip=10.0.0.1&port=80"
	inGroup := func(group string) (model.ServiceKey, model.Instance) {
		return model.ServiceKey{Namespace: "public", Group: group, Name: "s"}, plain(func(in *model.Instance) { in.ID = "10.0.0.1#80#DEFAULT#" + group + "@@s" })
	}
	g1, inG1 := inGroup("g1")
	tests := map[string]struct {
		query, form string
		key         model.ServiceKey
		want        model.Instance
	}{
		"defaults":                 {s, "", public("s"), plain(nil)},
		"form":                     {"", s, public("s"), plain(nil)},
		"query before form":        {"serviceName=s&ip=10.0.0.1", "ip=1.1.1.1&port=80", public("s"), plain(nil)},
		"first of repeated":        {s + "&weight=2&weight=3", "weight=4", public("s"), plain(func(in *model.Instance) { in.Weight = 2 })},
		"semicolon":                {s + "&metadata=a%3Db;c", "", public("s"), plain(func(in *model.Instance) { in.Metadata = model.MetadataOf(map[string]string{"a": "b;c"}) })},
		"broken escape is skipped": {s + "&weight=%zz", "", public("s"), plain(nil)},
		"group":                    {s + "&groupName=g1", "", g1, inG1},
		"grouped name":             {"serviceName=g1@@s&groupName=ignored&ip=10.0.0.1&port=80", "", g1, inG1},
		"blank group":              {s + "&groupName=%20", "", public("s"), plain(nil)},
		"blank namespace":          {s + "&namespaceId=", "", public("s"), plain(nil)},
		"namespace":                {s + "&namespaceId=n-1", "", model.ServiceKey{Namespace: "n-1", Group: "DEFAULT_GROUP", Name: "s"}, plain(nil)},
		"cluster":                  {s + "&clusterName=c1&cluster=c2", "", public("s"), plain(func(in *model.Instance) { in.Cluster, in.ID = "c1", "10.0.0.1#80#c1#DEFAULT_GROUP@@s" })},
		"alias of cluster":         {s + "&clusterName=&cluster=c2", "", public("s"), plain(func(in *model.Instance) { in.Cluster, in.ID = "c2", "10.0.0.1#80#c2#DEFAULT_GROUP@@s" })},
		"weight":                   {s + "&weight=1e3d", "", public("s"), plain(func(in *model.Instance) { in.Weight = 1000 })},
		"weight 0":                 {s + "&weight=0", "", public("s"), plain(func(in *model.Instance) { in.Weight = 0 })},
		"blank weight":             {s + "&weight=%20", "", public("s"), plain(nil)},
		"disabled":                 {s + "&enabled=1", "", public("s"), plain(func(in *model.Instance) { in.Enabled = false })},
		"disabled by alias":        {s + "&enable=off", "", public("s"), plain(func(in *model.Instance) { in.Enabled = false })},
		"unhealthy":                {s + "&healthy=no", "", public("s"), plain(func(in *model.Instance) { in.Healthy = false })},
		"booleans":                 {s + "&healthy=Y&enabled=ON&ephemeral=t", "", public("s"), plain(nil)},
		"metadata, JSON": {s + `&metadata={"a":1,"b":true,"c":null}`, "", public("s"), plain(func(in *model.Instance) {
			in.Metadata = model.MetadataOf(map[string]string{"a": "1", "b": "true", "c": ""})
		})},
		"metadata, pairs":   {s + "&metadata=a=1,b=2,", "", public("s"), plain(func(in *model.Instance) { in.Metadata = model.MetadataOf(map[string]string{"a": "1", "b": "2"}) })},
		"port 0":            {"serviceName=s&ip=10.0.0.1&port=0", "", public("s"), plain(func(in *model.Instance) { in.Port, in.ID = 0, "10.0.0.1#0#DEFAULT#DEFAULT_GROUP@@s" })},
		"unknown parameter": {s + "&colour=red&encoding=nope", "", public("s"), plain(nil)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			core := newFakeCore()
			call{method: "POST", target: "/v1/ns/instance?" + strings.ReplaceAll(tt.query, `"`, "%22"), form: tt.form, status: 200, media: textType, body: "ok"}.check(t, newServer(t, core))
			want := map[model.ServiceKey][]model.Instance{tt.key: {tt.want}}
			if diff := cmp.Diff(want, stored(core), emptyIsNil); diff != "" {
				t.Errorf("stored (-want +got):\n%s", diff)
			}
		})
	}
}

// A snowflake id is the same for the same instance, so that registering again changes nothing.
func TestSnowflake(t *testing.T) {
	core := newFakeCore()
	s := newServer(t, core)
	ids := map[string]bool{}
	for _, port := range []string{"80", "80", "81"} {
		call{
			method: "POST", target: "/v1/ns/instance?serviceName=s&ip=10.0.0.1&port=" + port, form: "metadata=preserved.instance.id.generator=snowflake",
			status: 200, media: textType, body: "ok",
		}.check(t, s)
		for _, in := range stored(core)[public("s")] {
			number, rest, _ := strings.Cut(in.ID, "#")
			if len(number) != 18 || rest != "DEFAULT#DEFAULT_GROUP@@s" {
				t.Errorf("id %q", in.ID)
			}
			ids[in.ID] = true
		}
	}
	if len(ids) != 2 {
		t.Errorf("%d ids for two instances: %v", len(ids), ids)
	}
}

func TestClient(t *testing.T) {
	tests := map[string]struct {
		header map[string]string
		query  string
		want   model.Client
	}{
		"agent":            {map[string]string{"User-Agent": "Nacos-Java-Client:v1.4.2", "Client-Version": "other"}, "&app=shop", model.Client{IP: "10.0.0.1", Agent: "Nacos-Java-Client:v1.4.2", App: "shop"}},
		"version only":     {map[string]string{"User-Agent": "", "Client-Version": "Nacos-Go-Client:v1.0.0"}, "", model.Client{IP: "10.0.0.1", Agent: "Nacos-Go-Client:v1.0.0"}},
		"endless and odd":  {map[string]string{"User-Agent": strings.Repeat("x", 300), "Client-Version": ""}, "", model.Client{IP: "10.0.0.1", Agent: strings.Repeat("x", model.MaxClientText)}},
		"says nothing":     {nil, "", model.Client{IP: "10.0.0.1"}},
		"bytes not UTF-8":  {map[string]string{"User-Agent": "a\xffb"}, "", model.Client{IP: "10.0.0.1", Agent: "ab"}},
		"application long": {nil, "&app=" + strings.Repeat("a", 300), model.Client{IP: "10.0.0.1", App: strings.Repeat("a", model.MaxClientText)}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			core := newFakeCore()
			call{method: "POST", target: "/v1/ns/instance?serviceName=s&ip=10.0.0.1&port=80" + tt.query, header: tt.header, status: 200, media: textType, body: "ok"}.check(t, newServer(t, core))
			if diff := cmp.Diff([]model.Client{tt.want}, core.clients); diff != "" {
				t.Errorf("client (-want +got):\n%s", diff)
			}
		})
	}
}

// refused is a bad request and its answer. Nothing is stored after it (B2).
type refused struct {
	query, form string
	status      int
	media       string
	body        string
}

const illegalText = " is illegal, illegal characters should not appear in the param.\r\n"

// badParameters are wrong for every endpoint that takes an instance.
func badParameters(path string) map[string]refused {
	filterError := func(text string) string {
		return frameworkJSON(400, "Service name filter error,caused: "+text+";", path)
	}
	metadataError := func(text string) string {
		return frameworkJSON(500, "Server failed, caused: ErrCode:400, ErrMsg:metadata format incorrect:"+text+";caused: metadata format incorrect:"+text+";", path)
	}
	const port = "Param 'port' is illegal, the value should be between 0 and 65535.\r\n"
	return map[string]refused{
		"no serviceName":      {"ip=1.1.1.1&port=1", "", 400, textType, "Param 'serviceName' is required."},
		"empty serviceName":   {"serviceName=&ip=1.1.1.1&port=1", "", 400, textType, "Param 'serviceName' is required."},
		"blank serviceName":   {"serviceName=%20&ip=1.1.1.1&port=1", "", 400, textType, "Param 'serviceName' is illegal, it should be format as 'groupName@@serviceName'"},
		"no group in name":    {"serviceName=@@s&ip=1.1.1.1&port=1", "", 400, jsonType, filterError("Param 'serviceName' is illegal, groupName can't be empty")},
		"no name after group": {"serviceName=g@@&ip=1.1.1.1&port=1", "", 400, jsonType, filterError("Param 'serviceName' is illegal, it should be format as 'groupName@@serviceName'")},
		"only separators":     {"serviceName=@@@@&ip=1.1.1.1&port=1", "", 400, jsonType, filterError("Param 'serviceName' is illegal, it should be format as 'groupName@@serviceName'")},
		"two separators":      {"serviceName=g@@s@@x&ip=1.1.1.1&port=1", "", 400, "", "Param 'serviceName'" + illegalText},
		"name with blank":     {"serviceName=a%20b&ip=1.1.1.1&port=1", "", 400, "", "Param 'serviceName'" + illegalText},
		"name too long":       {"serviceName=" + strings.Repeat("x", 513) + "&ip=1.1.1.1&port=1", "", 400, "", "Param 'serviceName' is illegal, the param length should not exceed 512.\r\n"},
		"name not UTF-8":      {"serviceName=a%FFb&ip=1.1.1.1&port=1", "", 400, "", "Param 'serviceName'" + illegalText},
		"group":               {"serviceName=s&groupName=g/h&ip=1.1.1.1&port=1", "", 400, "", "Param 'group'" + illegalText},
		"padded group":        {"serviceName=s&groupName=%20g&ip=1.1.1.1&port=1", "", 400, "", "Param 'group'" + illegalText},
		"group not UTF-8":     {"serviceName=s&groupName=%80&ip=1.1.1.1&port=1", "", 400, "", "Param 'group'" + illegalText},
		"namespace":           {"serviceName=s&namespaceId=a.b&ip=1.1.1.1&port=1", "", 400, "", "Param 'namespaceId/tenant'" + illegalText},
		"namespace too long":  {"serviceName=s&namespaceId=" + strings.Repeat("n", 65) + "&ip=1.1.1.1&port=1", "", 400, "", "Param 'namespaceId/tenant' is illegal, the param length should not exceed 64.\r\n"},
		"no ip":               {"serviceName=s&port=1", "", 400, textType, "Param 'ip' is required."},
		"empty ip":            {"serviceName=s&ip=&port=1", "", 400, textType, "Param 'ip' is required."},
		"padded ip":           {"serviceName=s&ip=%201.1.1.1&port=1", "", 400, "", "Param 'ip'" + illegalText},
		"ip too long":         {"serviceName=s&port=1&ip=" + strings.Repeat("a", 129), "", 400, "", "Param 'ip' is illegal, the param length should not exceed 128.\r\n"},
		"ip not UTF-8":        {"serviceName=s&port=1&ip=%C3%28", "", 400, "", "Param 'ip'" + illegalText},
		"no port":             {"serviceName=s&ip=1.1.1.1", "", 400, textType, "Param 'port' is required."},
		"blank port":          {"serviceName=s&ip=1.1.1.1&port=%20", "", 400, textType, `For input string: ""`},
		"port text":           {"serviceName=s&ip=1.1.1.1&port=abc", "", 400, "", port},
		"port padded":         {"serviceName=s&ip=1.1.1.1&port=%2080", "", 400, "", port},
		"port -1":             {"serviceName=s&ip=1.1.1.1&port=-1", "", 400, "", port},
		"port 65536":          {"serviceName=s&ip=1.1.1.1&port=65536", "", 400, "", port},
		"port overflow":       {"serviceName=s&ip=1.1.1.1&port=99999999999999999999", "", 400, "", port},
		"cluster dot":         {"serviceName=s&ip=1.1.1.1&port=1&clusterName=a.b", "", 400, "", "Param 'cluster'" + illegalText},
		"cluster comma":       {"serviceName=s&ip=1.1.1.1&port=1&clusterName=a,b", "", 400, "", "Param 'cluster'" + illegalText},
		"cluster too long":    {"serviceName=s&ip=1.1.1.1&port=1&cluster=" + strings.Repeat("c", 65), "", 400, "", "Param 'cluster' is illegal, the param length should not exceed 64.\r\n"},
		"metadata word":       {"serviceName=s&ip=1.1.1.1&port=1&metadata=abc", "", 500, jsonType, metadataError("abc")},
		"metadata JSON":       {"serviceName=s&ip=1.1.1.1&port=1&metadata=%7B", "", 500, jsonType, metadataError("{")},
		"metadata no value":   {"serviceName=s&ip=1.1.1.1&port=1&metadata=a=", "", 500, jsonType, metadataError("a=")},
		"metadata nested":     {"serviceName=s&ip=1.1.1.1&port=1&metadata=%7B%22a%22:%7B%7D%7D", "", 500, jsonType, metadataError(`{\"a\":{}}`)},
		"metadata too long":   {"serviceName=s&ip=1.1.1.1&port=1&metadata=k=" + strings.Repeat("v", 1024), "", 400, "", "Param 'Metadata' is illegal, the param length should not exceed 1024.\r\n"},
		"metadata of 1 MiB":   {"serviceName=s&ip=1.1.1.1&port=1", "metadata=k=" + strings.Repeat("v", 1<<20), 400, "", "Param 'Metadata' is illegal, the param length should not exceed 1024.\r\n"},
		"metadata not UTF-8":  {"serviceName=s&ip=1.1.1.1&port=1&metadata=k=%FF", "", 400, "", "Param 'Metadata'" + illegalText},
	}
}

// badWeights are wrong wherever an instance is described.
func badWeights() map[string]refused {
	const s, weight = "serviceName=s&ip=1.1.1.1&port=1", "instance format invalid: The weights range from 0.0 to 10000.0"
	return map[string]refused{
		"weight text":     {s + "&weight=abc", "", 400, textType, `For input string: "abc"`},
		"weight hex":      {s + "&weight=0x1p3", "", 400, textType, `For input string: "0x1p3"`},
		"weight points":   {s + "&weight=1.2.3", "", 400, textType, `For input string: "1.2.3"`},
		"weight -1":       {s + "&weight=-1", "", 400, textType, weight},
		"weight 10001":    {s + "&weight=10001", "", 400, textType, weight},
		"weight NaN":      {s + "&weight=NaN", "", 400, textType, weight},
		"weight Infinity": {s + "&weight=-Infinity", "", 400, textType, weight},
		"weight 1e999":    {s + "&weight=1e999", "", 400, textType, weight},
	}
}

// badInstances are refused when an instance is to be stored.
func badInstances() map[string]refused {
	const s, beats = "serviceName=s&ip=1.1.1.1&port=1", "Instance 'heart beat interval' must less than 'heart beat timeout' and 'ip delete timeout'."
	return map[string]refused{
		"cluster underscore": {s + "&clusterName=a_b", "", 400, textType, "Instance 'clusterName' should be characters with only 0-9a-zA-Z-. (current: a_b)"},
		"beats too rare":     {s + "&metadata=preserved.heart.beat.interval=20000", "", 400, textType, beats},
		"timeout too short":  {s + "&metadata=preserved.heart.beat.timeout=3000", "", 400, textType, beats},
		"removal too early":  {s + "&metadata=preserved.ip.delete.timeout=4000", "", 400, textType, beats},
	}
}

func TestBadInstances(t *testing.T) {
	const path = "/v1/ns/instance"
	tables := map[string][]map[string]refused{
		"POST": {badParameters(path), badWeights(), badInstances(), {
			"persistent":      {"serviceName=s&ip=1.1.1.1&port=1&ephemeral=false", "", 400, textType, "errCode: 400, errMsg: Current service DEFAULT_GROUP@@s is ephemeral service, can't register persistent instance. "},
			"ephemeral maybe": {"serviceName=s&ip=1.1.1.1&port=1&ephemeral=maybe", "", 400, textType, "errCode: 400, errMsg: Current service DEFAULT_GROUP@@s is ephemeral service, can't register persistent instance. "},
			"id generator":    {"serviceName=s&ip=1.1.1.1&port=1&metadata=preserved.instance.id.generator=x", "", 500, textType, "caused: The InstanceIdGenerator type is not found ;"},
		}},
		"PUT": {badParameters(path), badWeights(), badInstances(), {
			"no such service": {
				"serviceName=s&ip=1.1.1.1&port=1&ephemeral=false", "", 400, textType,
				"service not found, namespace: public, service: Service{namespace='public', group='DEFAULT_GROUP', name='s', ephemeral=false, revision=0}",
			},
		}},
		"DELETE": {badParameters(path), badWeights()},
		"GET":    {badParameters(path)},
	}
	for method, cases := range tables {
		for _, table := range cases {
			for name, bad := range table {
				if method == "GET" && bad.form != "" {
					continue // no form is read
				}
				t.Run(method+" "+name, func(t *testing.T) {
					core := newFakeCore()
					call{method: method, target: path + "?" + bad.query, form: bad.form, status: bad.status, media: bad.media, body: bad.body}.check(t, newServer(t, core))
					if len(core.services) != 0 {
						t.Errorf("stored: %v", stored(core))
					}
				})
			}
		}
	}
}

// The life of an instance: registered, changed, hidden, found, removed twice.
func TestInstance(t *testing.T) {
	core := newFakeCore()
	s := newServer(t, core)
	const one = "?serviceName=s&ip=10.0.0.1&port=80"
	okay := func(method, query string) call {
		return call{method: method, target: "/v1/ns/instance" + query, status: 200, media: textType, body: "ok"}
	}
	detail := func(query, want string) call {
		return call{method: "GET", target: "/v1/ns/instance" + query, status: 200, media: jsonType, body: want}
	}
	missing := func(query, want string) call {
		return call{method: "GET", target: "/v1/ns/instance" + query, status: 404, media: textType, body: want}
	}
	const found = `{"service":"DEFAULT_GROUP@@s","ip":"10.0.0.1","port":80,"clusterName":"DEFAULT","weight":`
	const rest = `,"healthy":true,"instanceId":"10.0.0.1#80#DEFAULT#DEFAULT_GROUP@@s","metadata":`
	steps := []call{
		missing(one, "no ips found for cluster DEFAULT in service DEFAULT_GROUP@@s"),
		okay("DELETE", one),
		okay("POST", one+"&metadata=a=1"),
		detail(one, found+`1.0`+rest+`{"a":"1"}}`),
		missing(one+"&clusterName=c1", "no matched ip found!"),
		missing(one+"0", "no matched ip found!"),
		detail(one+"&cluster=c1", found+`1.0`+rest+`{"a":"1"}}`), // the alias is not read here
		okay("PUT", one+"&weight=2.5&metadata=b=2&ephemeral=false"),
		detail(one, found+`2.5`+rest+`{"a":"1","b":"2"}}`),
		okay("PUT", one+"&enabled=false"),
		detail(one, found+`1.0`+rest+`{"a":"1"}}`),
		okay("DELETE", one+"&ephemeral=false"), // no persistent one is there, and the other stays
		detail(one, found+`1.0`+rest+`{"a":"1"}}`),
		okay("DELETE", one+"&clusterName=other"),
		okay("DELETE", one),
		missing(one, "no ips found for cluster DEFAULT in service DEFAULT_GROUP@@s"),
	}
	for _, c := range steps {
		c.check(t, s)
	}
}
