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
