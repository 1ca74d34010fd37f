package codec

import (
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-registry/muster/registry/model"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestAppendHosts(t *testing.T) {
	key := model.ServiceKey{Namespace: "public", Group: "DEFAULT_GROUP", Name: "shop"}
	host := func(change func(*model.Instance)) model.Instance {
		in := model.Instance{IP: "127.0.0.1", Port: 8080, Cluster: "DEFAULT", Weight: 1, Healthy: true, Enabled: true}
		in.ID = model.InstanceID(key, in.Key())
		change(&in)
		return in
	}
	tests := map[string]struct {
		form      Form
		info      ServiceInfo
		revision  int64
		protected bool
	}{
		"empty-grpc": {FormGRPC, ServiceInfo{Service: key}, 1700000000123, false},
		"empty-http": {FormHTTP, ServiceInfo{Service: key, Clusters: "c1,c2"}, 1700000000123, false},
		"hosts-grpc": {FormGRPC, ServiceInfo{Service: key, Hosts: []model.Instance{
			host(func(*model.Instance) {}),
			host(func(in *model.Instance) {
				in.Port, in.Weight, in.Healthy = 8081, 2.5, false
				in.Metadata = model.MetadataOf(map[string]string{"b": "2", "a": "é\"\\\n\x01<&>", "\xff": "\u2028"})
			}),
			host(func(in *model.Instance) { in.ID, in.Weight = "", math.NaN() }),
			host(func(in *model.Instance) {
				in.Metadata = model.MetadataOf(map[string]string{
					model.MetaBeatInterval: "1000", model.MetaBeatTimeout: "3000", model.MetaDeleteAfter: "60000",
				})
			}),
			host(func(in *model.Instance) {
				in.Metadata = model.MetadataOf(map[string]string{model.MetaBeatTimeout: "abc"})
			}),
			host(func(in *model.Instance) {
				in.Metadata = model.MetadataOf(map[string]string{model.MetaIDGenerator: "snowflake"})
			}),
		}}, 1, true},
		"hosts-http": {FormHTTP, ServiceInfo{Service: key, Hosts: []model.Instance{
			host(func(in *model.Instance) { in.Weight = math.NaN() }),
			host(func(in *model.Instance) { in.Weight, in.Enabled = 0.001, false }),
			host(func(in *model.Instance) { in.Weight, in.Cluster = 1e22, "c2" }),
		}}, 1, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := AppendRevision(AppendHosts(nil, tt.form, tt.info), tt.revision, tt.protected)
			if !json.Valid(got) {
				t.Fatalf("not JSON: %s", got)
			}
			golden(t, name+".json", append(got, '\n'))
		})
	}
}

// The answer that Nacos 2.5.1 gave, byte for byte.
func TestListIsWhatNacosSends(t *testing.T) {
	const recorded = `{"name":"a","groupName":"DEFAULT_GROUP","clusters":"","cacheMillis":10000,"hosts":[{"instanceId":` +
		`"127.102.1.1#8080#DEFAULT#DEFAULT_GROUP@@a","ip":"127.102.1.1","port":8080,"weight":1.0,"healthy":true,"enabled":true,` +
		`"ephemeral":true,"clusterName":"DEFAULT","serviceName":"DEFAULT_GROUP@@a","metadata":{},"instanceHeartBeatInterval":5000,` +
		`"instanceHeartBeatTimeOut":15000,"ipDeleteTimeout":30000,"instanceIdGenerator":"simple"}],"lastRefTime":7,"checksum":"",` +
		`"allIPs":false,"reachProtectionThreshold":false,"valid":true}`
	key := model.ServiceKey{Namespace: "public", Group: "DEFAULT_GROUP", Name: "a"}
	in := model.Instance{IP: "127.102.1.1", Port: 8080, Cluster: "DEFAULT", Weight: 1, Healthy: true, Enabled: true}
	in.ID = model.InstanceID(key, in.Key())
	got := AppendRevision(AppendHosts(nil, FormGRPC, ServiceInfo{Service: key, Hosts: []model.Instance{in}}), 7, false)
	if diff := cmp.Diff(recorded, string(got)); diff != "" {
		t.Errorf("list (-recorded +got):\n%s", diff)
	}
}

func TestAppendStringReadsBackAsItself(t *testing.T) {
	for c := rune(0); c < 0x300; c++ {
		want := "x" + string(c) + "y"
		var got string
		if err := json.Unmarshal(AppendString(nil, want), &got); err != nil || got != want {
			t.Fatalf("U+%04X: got %q, %v", c, got, err)
		}
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}
