package codec

import (
	"errors"
	"strings"
	"testing"

	"github.com/muster-registry/muster/registry/model"
)

func TestCheckService(t *testing.T) {
	const bad = "Param 'X' is illegal, illegal characters should not appear in the param."
	tests := map[string]struct {
		namespace, group, name string
		want                   string
	}{
		"plain":              {"public", "DEFAULT_GROUP", "shop.orders:v1", ""},
		"all empty":          {"", "", "", ""},
		"name with at":       {"public", "g", "a@b", ""},
		"namespace dot":      {"a.b", "g", "s", strings.ReplaceAll(bad, "X", "namespaceId/tenant")},
		"namespace too long": {strings.Repeat("n", 65), "g", "s", "Param 'namespaceId/tenant' is illegal, the param length should not exceed 64."},
		"name grouped":       {"public", "g", "g1@@s", strings.ReplaceAll(bad, "X", "serviceName")},
		"name at first":      {"public", "g", "@s", strings.ReplaceAll(bad, "X", "serviceName")},
		"name space":         {"public", "g", "a b", strings.ReplaceAll(bad, "X", "serviceName")},
		"name tab":           {"public", "g", "a\tb", strings.ReplaceAll(bad, "X", "serviceName")},
		"name Chinese":       {"public", "g", "\u4e2d", strings.ReplaceAll(bad, "X", "serviceName")},
		"name German":        {"public", "g", "größe", ""},
		"name 512":           {"public", "g", strings.Repeat("x", 512), ""},
		"name 513":           {"public", "g", strings.Repeat("x", 513), "Param 'serviceName' is illegal, the param length should not exceed 512."},
		"group slash":        {"public", "a/b", "s", strings.ReplaceAll(bad, "X", "group")},
		"group 129":          {"public", strings.Repeat("x", 129), "s", "Param 'group' is illegal, the param length should not exceed 128."},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { wantInvalid(t, CheckService(tt.namespace, tt.group, tt.name), tt.want) })
	}
}

func TestCheckInstance(t *testing.T) {
	tests := map[string]struct {
		change func(*model.Instance)
		want   string
		legal  string
	}{
		"plain":      {change: func(*model.Instance) {}},
		"host name":  {change: func(in *model.Instance) { in.IP = "host.example" }},
		"ip space":   {change: func(in *model.Instance) { in.IP = "1 2" }, want: "Param 'ip' is illegal, illegal characters should not appear in the param."},
		"port 65535": {change: func(in *model.Instance) { in.Port = 65535 }},
		"port 65536": {change: func(in *model.Instance) { in.Port = 65536 }, want: "Param 'port' is illegal, the value should be between 0 and 65535."},
		"port -1":    {change: func(in *model.Instance) { in.Port = -1 }, want: "Param 'port' is illegal, the value should be between 0 and 65535."},
		"cluster a,b": {
			change: func(in *model.Instance) { in.Cluster = "a,b" },
			want:   "Param 'cluster' is illegal, illegal characters should not appear in the param.",
			legal:  "Instance 'clusterName' should be characters with only 0-9a-zA-Z-. (current: a,b)",
		},
		"cluster a_b": {
			change: func(in *model.Instance) { in.Cluster = "a_b" },
			legal:  "Instance 'clusterName' should be characters with only 0-9a-zA-Z-. (current: a_b)",
		},
		"metadata 1024": {change: func(in *model.Instance) {
			in.Metadata = model.MetadataOf(map[string]string{"k": strings.Repeat("v", 1023)})
		}},
		"metadata 1025": {
			change: func(in *model.Instance) {
				in.Metadata = model.MetadataOf(map[string]string{"k": strings.Repeat("v", 1024)})
			},
			want: "Param 'Metadata' is illegal, the param length should not exceed 1024.",
		},
		"id 1024": {change: func(in *model.Instance) { in.ID = strings.Repeat("ä", 1024) }},
		"id 1025": {
			change: func(in *model.Instance) { in.ID = strings.Repeat("i", 1025) },
			want:   "Param 'instanceId' is illegal, the param length should not exceed 1024.",
		},
		"interval over timeout": {
			change: func(in *model.Instance) {
				in.Metadata = model.MetadataOf(map[string]string{model.MetaBeatInterval: "20000"})
			},
			legal: "Instance 'heart beat interval' must less than 'heart beat timeout' and 'ip delete timeout'.",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := model.Instance{IP: "10.0.0.1", Port: 80, Cluster: "DEFAULT"}
			tt.change(&in)
			wantInvalid(t, CheckInstance(in), tt.want)
			wantInvalid(t, CheckLegal(in), tt.legal)
		})
	}
}

func TestCheckClusters(t *testing.T) {
	wantInvalid(t, CheckClusters(""), "")
	wantInvalid(t, CheckClusters("c1,c_2"), "")
	wantInvalid(t, CheckClusters("c1,a.b"), "Param 'cluster' is illegal, illegal characters should not appear in the param.")
	wantInvalid(t, CheckClusters(strings.Repeat("a,", 2048)), "")
	wantInvalid(t, CheckClusters(strings.Repeat(",", 4097)), "Param 'clusters' is illegal, the param length should not exceed 4096.")
}

func TestCheckBatch(t *testing.T) {
	wantInvalid(t, CheckBatch(50_000, 8<<20), "")
	wantInvalid(t, CheckBatch(50_001, 0), "Param 'instances' is illegal, there should not be more than 50000.")
	wantInvalid(t, CheckBatch(1, 8<<20+1), "Param 'instances' is illegal, what they say should not exceed 8388608 bytes.")
}

// TestOneInstanceIsSmall: whatever passes the checks for a single instance is far below what a record may have, so nobody
// has to look at the size of one.
func TestOneInstanceIsSmall(t *testing.T) {
	wide := func(n int) string { return strings.Repeat("😀", n) }
	pairs := map[string]string{}
	for i := range 512 {
		pairs[string(rune(0x1F300+i))] = wide(1)
	}
	in := model.Instance{
		IP: wide(128), Port: 65535, Cluster: strings.Repeat("c", 64), ID: wide(1024), Metadata: model.MetadataOf(pairs),
	}
	k := model.ServiceKey{Namespace: strings.Repeat("n", 64), Group: strings.Repeat("g", 128), Name: wide(512)}
	wantInvalid(t, CheckService(k.Namespace, k.Group, k.Name), "")
	wantInvalid(t, CheckInstance(in), "")
	r := model.Record{Key: model.RecordKey{Service: k}, Instances: []model.Instance{in}, Rare: &model.Rare{Settings: &model.Settings{Metadata: in.Metadata}}}
	if size := r.Size(); size > model.MaxRecord/250 {
		t.Errorf("a record of one instance has %d bytes", size)
	}
}

func TestDecodeTooManyInstances(t *testing.T) {
	list := func(n int) []byte { return []byte("[{}" + strings.Repeat(",{}", n-1) + "]") }
	if all, err := DecodeInstances(list(50_000)); err != nil || len(all) != 50_000 {
		t.Errorf("%d are read, %v", len(all), err)
	}
	all, err := DecodeInstances(list(1_000_000))
	wantInvalid(t, err, "Param 'instances' is illegal, there should not be more than 50000.")
	if len(all) > 50_000 {
		t.Errorf("%d are read", len(all))
	}
}

// wantInvalid wants an error of CodeInvalid with this message, or none when it is empty.
func wantInvalid(t *testing.T, err error, message string) {
	t.Helper()
	switch {
	case message == "" && err != nil:
		t.Errorf("got error %q, want none", err)
	case message != "" && (err == nil || err.Error() != message || !errors.Is(err, model.ErrInvalid)):
		t.Errorf("got error %v, want %q", err, message)
	}
}
