package node

import (
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNetworkBatch(t *testing.T) {
	got := networkBatch(Spec{
		Address: netip.MustParsePrefix("10.123.0.12/24"),
		Routes: []Route{
			{To: netip.MustParsePrefix("10.96.0.0/16")},
			{To: netip.MustParsePrefix("10.244.1.0/24"), Via: netip.MustParseAddr("10.123.0.11")},
		},
	})
	want := `link set lo up
link set eth0 address 02:6d:0a:7b:00:0c
addr add 10.123.0.12/24 dev eth0
link set eth0 up
route replace 10.96.0.0/16 dev eth0
route replace 10.244.1.0/24 via 10.123.0.11
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSpecSurvivesItsFile(t *testing.T) {
	want := Spec{
		Name: "node2", Address: netip.MustParsePrefix("10.123.0.12/24"), Run: "/r", Logs: "/l", Env: []string{"A=b"},
		Routes:  []Route{{To: netip.MustParsePrefix("10.96.0.0/16")}, {To: netip.MustParsePrefix("10.244.1.0/24"), Via: netip.MustParseAddr("10.123.0.11")}},
		Control: []Component{{"etcd", []string{"etcd", "--x"}}}, Runtime: Component{"containerd", []string{"containerd"}},
		Images: []string{"a.tar"}, ImageDirs: []string{"/i"}, APIReady: APICheck{URL: "https://x", CA: "ca.crt"}, Agents: []Component{{"kubelet", []string{"kubelet"}}},
	}
	path := filepath.Join(t.TempDir(), "spec.json")
	if err := WriteSpec(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadSpec(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}
