package cluster

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-registry/muster/hack/lab/layout"
)

func config(t *testing.T) layout.Config {
	t.Helper()
	c, err := layout.FromEnv(func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestHostBatch(t *testing.T) {
	want := `link add musterlab0 type bridge
addr replace 10.123.0.1/24 dev musterlab0
link set musterlab0 up
route replace blackhole 10.244.0.0/16 metric 4096
route replace blackhole 10.96.0.0/16 metric 4096
route replace 10.96.0.0/16 via 10.123.0.11
`
	if diff := cmp.Diff(want, hostBatch(config(t), false)); diff != "" {
		t.Error(diff)
	}
	_, rest, _ := strings.Cut(want, "\n")
	if diff := cmp.Diff(rest, hostBatch(config(t), true)); diff != "" {
		t.Errorf("with the bridge there:\n%s", diff)
	}
}

func TestLinkBatch(t *testing.T) {
	want := `link add musterlab-n3 type veth peer name eth0 netns 4711
link set musterlab-n3 master musterlab0 up
route replace 10.244.3.0/24 via 10.123.0.13
`
	if diff := cmp.Diff(want, linkBatch(config(t), 3, 4711)); diff != "" {
		t.Error(diff)
	}
}

func TestConflict(t *testing.T) {
	cases := map[string]struct {
		routes string
		want   string
	}{
		"an ordinary machine": {routes: `[{"dst":"default","gateway":"192.0.2.1","dev":"eth0"},{"dst":"192.0.2.0/24","dev":"eth0"},{"dst":"172.17.0.0/16","dev":"docker0"}]`},
		"a lab that is up": {routes: `[{"dst":"10.96.0.0/16","gateway":"10.123.0.11","dev":"musterlab0"},{"type":"blackhole","dst":"10.96.0.0/16","metric":4096},
			{"dst":"10.244.1.0/24","dev":"musterlab0"},{"dst":"10.123.0.0/24","dev":"musterlab0"}]`},
		"another cluster's pods": {routes: `[{"dst":"10.244.3.0/24","dev":"cni0"}]`, want: "MUSTER_LAB_POD_CIDR"},
		"a VPN around the nodes": {routes: `[{"dst":"10.0.0.0/8","dev":"tun0"}]`, want: "MUSTER_LAB_NODE_CIDR"},
		"one address":            {routes: `[{"dst":"10.96.0.10","dev":"lo"}]`, want: "MUSTER_LAB_SERVICE_CIDR"},
		"somebody's blackhole":   {routes: `[{"type":"blackhole","dst":"10.96.0.0/12","metric":0}]`, want: "MUSTER_LAB_SERVICE_CIDR"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var routes []route
			if err := json.Unmarshal([]byte(c.routes), &routes); err != nil {
				t.Fatal(err)
			}
			err := conflict(config(t), routes)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}
