package http

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-registry/muster/registry/model"
)

const (
	known   = `{"clientBeatInterval":5000,"code":10200,"lightBeatEnabled":true}`
	unknown = `{"clientBeatInterval":5000,"code":20404,"lightBeatEnabled":true}`
)

func beat(query, want string) call {
	return call{
		method: "PUT", target: "/v1/ns/instance/beat?" + strings.NewReplacer(`"`, "%22", " ", "%20").Replace(query),
		status: 200, media: jsonType, body: want,
	}
}

// A light beat revives what is known, whatever its cluster, and registers nothing.
func TestLightBeat(t *testing.T) {
	core := newFakeCore()
	s := newServer(t, core)
	for _, in := range []model.Instance{
		plain(func(in *model.Instance) { in.Healthy = false }),
		plain(func(in *model.Instance) {
			in.IP, in.Metadata = "10.0.0.2", model.MetadataOf(map[string]string{model.MetaBeatInterval: "2000"})
		}),
		plain(func(in *model.Instance) { in.IP, in.Port = "10.0.0.3", 0 }),
	} {
		core.RegisterInstance(public("s"), in, model.Client{})
	}
	form := beat("", known)
	form.form = "serviceName=DEFAULT_GROUP@@s&ip=10.0.0.1&port=80"
	tests := map[string]call{
		"known":              beat("serviceName=s&ip=10.0.0.1&port=80", known),
		"grouped name":       beat("serviceName=DEFAULT_GROUP@@s&ip=10.0.0.1&port=80", known),
		"form":               form,
		"other cluster":      beat("serviceName=s&ip=10.0.0.1&port=80&clusterName=other", known),
		"persistent is none": beat("serviceName=s&ip=10.0.0.1&port=80&ephemeral=false", known),
		"blank beat":         beat("serviceName=s&ip=10.0.0.1&port=80&beat= ", known),
		"own interval":       beat("serviceName=s&ip=10.0.0.2&port=80", strings.ReplaceAll(known, "5000", "2000")),
		"port 0 by default":  beat("serviceName=s&ip=10.0.0.3", known),
		"other ip":           beat("serviceName=s&ip=10.0.0.9&port=80", unknown),
		"other port":         beat("serviceName=s&ip=10.0.0.1&port=81", unknown),
		"other service":      beat("serviceName=x&ip=10.0.0.1&port=80", unknown),
		"other namespace":    beat("serviceName=s&ip=10.0.0.1&port=80&namespaceId=n", unknown),
		"no ip":              beat("serviceName=s&port=80", unknown),
		"no port":            beat("serviceName=s&ip=10.0.0.1", unknown),
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) { c.check(t, s) })
	}
	hosts := stored(core)[public("s")]
	if len(core.services) != 1 || len(hosts) != 3 || !hosts[0].Healthy {
		t.Errorf("stored after light beats: %v", stored(core))
	}
}

// A full beat registers what is not known, and changes nothing of what is.
func TestFullBeat(t *testing.T) {
	tests := map[string]struct {
		query string
		want  model.Instance
	}{
		"of a Java client": {
			`serviceName=s&beat={"cluster":"DEFAULT","ip":"10.0.0.1","metadata":{"a":"1"},"period":5000,"port":80,"scheduled":false,"serviceName":"DEFAULT_GROUP@@s","stopped":false,"weight":2.0}`,
			plain(func(in *model.Instance) { in.Weight, in.Metadata = 2, model.MetadataOf(map[string]string{"a": "1"}) }),
		},
		"address beside it": {
			`serviceName=s&ip=10.9.9.9&port=9&beat={"ip":"10.0.0.1","port":80,"weight":1}`, plain(nil),
		},
		"numbers as text, text as numbers": {
			`serviceName=s&beat={"ip":"10.0.0.1","port":"80","weight":"1","metadata":{"a":1}}`,
			plain(func(in *model.Instance) { in.Metadata = model.MetadataOf(map[string]string{"a": "1"}) }),
		},
		"no weight": {`serviceName=s&beat={"ip":"10.0.0.1","port":80}`, plain(func(in *model.Instance) { in.Weight = 0 })},
		"no port": {
			`serviceName=s&beat={"ip":"10.0.0.1","weight":1}`,
			plain(func(in *model.Instance) { in.Port, in.ID = 0, "10.0.0.1#0#DEFAULT#DEFAULT_GROUP@@s" }),
		},
		"cluster beside it": {
			`serviceName=s&clusterName=c1&beat={"ip":"10.0.0.1","port":80,"weight":1,"cluster":null}`,
			plain(func(in *model.Instance) { in.Cluster, in.ID = "c1", "10.0.0.1#80#c1#DEFAULT_GROUP@@s" }),
		},
		"unknown keys, ephemeral false": {
			`serviceName=s&beat={"ip":"10.0.0.1","port":80,"weight":1,"load":1.0,"ak":"x","colour":{"a":[]},"ephemeral":false}`, plain(nil),
		},
		"its own service name": {`serviceName=s&beat={"ip":"10.0.0.1","port":80,"weight":1,"serviceName":"g9@@x"}`, plain(nil)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			core := newFakeCore()
			s := newServer(t, core)
			beat(tt.query, known).check(t, s)
			want := map[model.ServiceKey][]model.Instance{public("s"): {tt.want}}
			if diff := cmp.Diff(want, stored(core), emptyIsNil); diff != "" {
				t.Errorf("stored (-want +got):\n%s", diff)
			}
			again := `serviceName=s&beat={"ip":"10.0.0.1","port":` + "PORT" + `,"weight":9,"metadata":{"z":"9"}}`
			port := "80"
			if tt.want.Port == 0 {
				port = "0"
			}
			beat(strings.ReplaceAll(again, "PORT", port), known).check(t, s)
			if diff := cmp.Diff(want, stored(core), emptyIsNil); diff != "" {
				t.Errorf("stored after a second beat (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBadBeats(t *testing.T) {
	const path = "/v1/ns/instance/beat"
	unreadable := func(why string) string {
		return frameworkJSON(500, "Server failed, caused: errCode: 101, errMsg: Nacos deserialize for class [com.alibaba.nacos.naming.healthcheck.RsInfo] failed, "+
			"cause error["+why+"].  ;caused: "+why+";", path)
	}
	const port = "Param 'port' is illegal, the value should be between 0 and 65535.\r\n"
	tests := map[string]refused{
		"no serviceName":     {`ip=1.1.1.1&port=1`, "", 400, textType, "Param 'serviceName' is required."},
		"blank serviceName":  {`serviceName= &ip=1.1.1.1&port=1`, "", 400, textType, "Param 'serviceName' is illegal, it should be format as 'groupName@@serviceName'"},
		"port text":          {`serviceName=s&ip=1.1.1.1&port=abc`, "", 400, "", port},
		"port 65536":         {`serviceName=s&ip=1.1.1.1&port=65536`, "", 400, "", port},
		"padded ip":          {`serviceName=s&ip= 1.1.1.1&port=1`, "", 400, "", "Param 'ip'" + illegalText},
		"broken JSON":        {`serviceName=s&beat={`, "", 500, jsonType, unreadable("not JSON")},
		"array":              {`serviceName=s&beat=[]`, "", 500, jsonType, unreadable("not an object")},
		"null":               {`serviceName=s&beat=null`, "", 500, jsonType, unreadable("not an object")},
		"port of wrong type": {`serviceName=s&beat={"ip":"1.1.1.1","port":{}}`, "", 500, jsonType, unreadable(`\"port\": wrong type of JSON value`)},
		"not UTF-8":          {`serviceName=s&beat={"ip":"%FF","port":1}`, "", 400, "", "Param 'beat'" + illegalText},
		"no ip":              {`serviceName=s&ip=1.1.1.1&beat={"port":1}`, "", 400, textType, "Param 'ip' is required."},
		"ip inside":          {`serviceName=s&beat={"ip":"1 1","port":1}`, "", 400, "", "Param 'ip'" + illegalText},
		"port inside":        {`serviceName=s&beat={"ip":"1.1.1.1","port":65536}`, "", 400, "", port},
		"cluster inside":     {`serviceName=s&beat={"ip":"1.1.1.1","port":1,"cluster":"a.b"}`, "", 400, "", "Param 'cluster'" + illegalText},
		"underscore inside":  {`serviceName=s&beat={"ip":"1.1.1.1","port":1,"cluster":"a_b"}`, "", 400, textType, "Instance 'clusterName' should be characters with only 0-9a-zA-Z-. (current: a_b)"},
		"metadata inside":    {`serviceName=s&beat={"ip":"1.1.1.1","port":1,"metadata":{"k":"` + strings.Repeat("v", 1024) + `"}}`, "", 400, "", "Param 'Metadata' is illegal, the param length should not exceed 1024.\r\n"},
		"beats too rare":     {`serviceName=s&beat={"ip":"1.1.1.1","port":1,"metadata":{"preserved.heart.beat.interval":"20000"}}`, "", 400, textType, "Instance 'heart beat interval' must less than 'heart beat timeout' and 'ip delete timeout'."},
		"id generator":       {`serviceName=s&beat={"ip":"1.1.1.1","port":1,"metadata":{"preserved.instance.id.generator":"x"}}`, "", 500, textType, "caused: The InstanceIdGenerator type is not found ;"},
	}
	for name, bad := range tests {
		t.Run(name, func(t *testing.T) {
			core := newFakeCore()
			c := beat(bad.query, bad.body)
			c.status, c.media = bad.status, bad.media
			c.check(t, newServer(t, core))
			if len(core.services) != 0 {
				t.Errorf("stored: %v", stored(core))
			}
		})
	}
}
