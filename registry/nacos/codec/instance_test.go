package codec

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-registry/muster/registry/model"
)

func TestDecodeInstance(t *testing.T) {
	plain := model.Instance{IP: "10.0.0.1", Port: 8080, Cluster: "c", ID: "10.0.0.1#8080#c#g@@s", Weight: 1, Healthy: true, Enabled: true}
	with := func(change func(*model.Instance)) *model.Instance {
		in := plain
		change(&in)
		return &in
	}
	tests := map[string]struct {
		json string
		want *model.Instance // nil: refused
	}{
		"usual":              {`{"ip":"10.0.0.1","port":8080,"weight":1.0,"healthy":true,"enabled":true,"ephemeral":true,"clusterName":"c","metadata":{}}`, &plain},
		"defaults":           {`{"ip":"10.0.0.1","port":8080,"clusterName":"c"}`, &plain},
		"numbers as text":    {`{"ip":"10.0.0.1","port":"8080","weight":" 1 ","clusterName":"c"}`, &plain},
		"booleans as text":   {`{"ip":"10.0.0.1","port":8080,"healthy":"true","enabled":1,"clusterName":"c"}`, &plain},
		"port with fraction": {`{"ip":"10.0.0.1","port":8080.7,"clusterName":"c"}`, &plain},
		"unknown keys":       {`{"ip":"10.0.0.1","port":8080,"clusterName":"c","colour":{"a":[1]},"ipDeleteTimeout":30000}`, &plain},
		"id given":           {`{"instanceId":"x","ip":"10.0.0.1","port":8080,"clusterName":"c"}`, with(func(in *model.Instance) { in.ID = "x" })},
		"false": {
			`{"ip":"10.0.0.1","port":8080,"clusterName":"c","healthy":false,"enabled":0}`,
			with(func(in *model.Instance) { in.Healthy, in.Enabled = false, false }),
		},
		"metadata": {
			`{"ip":"10.0.0.1","port":8080,"clusterName":"c","metadata":{"a":1,"b":true,"c":"x","d":null}}`,
			with(func(in *model.Instance) {
				in.Metadata = model.MetadataOf(map[string]string{"a": "1", "b": "true", "c": "x", "d": ""})
			}),
		},
		"null cluster": {
			`{"ip":"10.0.0.1","port":8080,"clusterName":null}`,
			with(func(in *model.Instance) { in.Cluster, in.ID = "", "10.0.0.1#8080#null#g@@s" }),
		},
		"empty cluster": {
			`{"ip":"10.0.0.1","port":8080,"clusterName":""}`,
			with(func(in *model.Instance) { in.Cluster, in.ID = "", "10.0.0.1#8080##g@@s" }),
		},
		"its own service": {
			`{"ip":"10.0.0.1","port":8080,"clusterName":"c","serviceName":"g9@@other"}`,
			with(func(in *model.Instance) { in.ID = "10.0.0.1#8080#c#g9@@other" }),
		},
		"nothing": {`{}`, &model.Instance{ID: "null#0#null#g@@s", Weight: 1, Healthy: true, Enabled: true}},

		"port is a word":      {`{"port":"abc"}`, nil},
		"port is an object":   {`{"port":{}}`, nil},
		"port is too large":   {`{"port":4294967296}`, nil},
		"weight is a word":    {`{"weight":"abc"}`, nil},
		"weight is no number": {`{"weight":"NaN"}`, nil},
		"healthy is a word":   {`{"healthy":"yes"}`, nil},
		"ip is a list":        {`{"ip":["a"]}`, nil},
		"metadata is a text":  {`{"metadata":"a=1"}`, nil},
		"metadata is nested":  {`{"metadata":{"a":{}}}`, nil},
		"a list":              {`[]`, nil},
		"a number":            {`1`, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var in Instance
			err := json.Unmarshal([]byte(tt.json), &in)
			if tt.want == nil {
				if err == nil {
					t.Errorf("accepted as %+v", in)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(*tt.want, in.Model("g@@s")); diff != "" {
				t.Errorf("instance (-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever a client sends, decoding ends in an error or in an instance that can be checked and written as JSON.
func FuzzDecodeInstance(f *testing.F) {
	f.Add([]byte(`{"ip":"10.0.0.1","port":"8080","weight":1e3,"healthy":"true","enabled":0,"metadata":{"a":1,"b":null}}`))
	f.Add([]byte(`{"port":{},"metadata":"a=1"}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{"metadata":{"preserved.heart.beat.interval":"99999999999999999999"}}`))
	f.Add([]byte(strings.Repeat(`{"metadata":`, 100)))
	f.Fuzz(func(t *testing.T, data []byte) {
		var decoded Instance
		if err := json.Unmarshal(data, &decoded); err != nil {
			return
		}
		in := decoded.Model("g@@s")
		_ = CheckInstance(in)
		_ = CheckLegal(in)
		if b := AppendHost(nil, FormGRPC, "g@@s", in); !json.Valid(b) {
			t.Errorf("not JSON: %s", b)
		}
	})
}
