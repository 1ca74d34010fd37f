package layout_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-registry/muster/hack/lab/layout"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for _, p := range pairs {
			if k, v, _ := strings.Cut(p, "="); k == name {
				return v
			}
		}
		return ""
	}
}

func defaults(t *testing.T) layout.Config {
	t.Helper()
	c, err := layout.FromEnv(env())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestFromEnvRefuses(t *testing.T) {
	cases := map[string]struct {
		env  []string
		want string
	}{
		"relative folder":        {[]string{"MUSTER_LAB_STATE=lab"}, `MUSTER_LAB_STATE: "lab" must be an absolute path`},
		"the root folder":        {[]string{"MUSTER_LAB_STATE=/x/.."}, "and not /"},
		"a folder nodes hide":    {[]string{"MUSTER_LAB_STATE=/run/lab"}, "below /run, which every node covers"},
		"a folder nodes are":     {[]string{"MUSTER_LAB_STATE=/var/lib/kubelet"}, "below /var/lib/kubelet"},
		"too long for sockets":   {[]string{"MUSTER_LAB_STATE=/" + strings.Repeat("x", 80)}, "longer than 70 bytes"},
		"no range":               {[]string{"MUSTER_LAB_NODE_CIDR=10.1.0.0"}, "MUSTER_LAB_NODE_CIDR"},
		"IPv6":                   {[]string{"MUSTER_LAB_POD_CIDR=fd00::/64"}, "MUSTER_LAB_POD_CIDR: fd00::/64 must be IPv4"},
		"not the start":          {[]string{"MUSTER_LAB_SERVICE_CIDR=10.96.0.1/16"}, "did you mean 10.96.0.0/16?"},
		"too small for 9 nodes":  {[]string{"MUSTER_LAB_POD_CIDR=10.244.0.0/24"}, "needs /20 or larger"},
		"overlap of two":         {[]string{"MUSTER_LAB_POD_CIDR=10.96.0.0/16"}, "must not overlap"},
		"overlap with a default": {[]string{"MUSTER_LAB_NODE_CIDR=10.244.7.0/24"}, "must not overlap"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := layout.FromEnv(env(c.env...))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestAddressesFollowTheRanges(t *testing.T) {
	c, err := layout.FromEnv(env("MUSTER_LAB_NODE_CIDR=172.30.5.32/27", "MUSTER_LAB_POD_CIDR=172.31.16.0/20", "MUSTER_LAB_SERVICE_CIDR=172.29.0.0/24"))
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintln(c.HostIP(), c.ControlIP(), c.NodeIP(9), c.PodRange(1), c.PodRange(9), c.APIServiceIP(), c.DNSIP(), c.APIServer())
	want := fmt.Sprintln("172.30.5.33 172.30.5.43 172.30.5.51 172.31.17.0/24 172.31.25.0/24 172.29.0.1 172.29.0.10 https://172.30.5.43:6443")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for i := 1; i <= layout.MaxNodes; i++ {
		if !c.Nodes.Contains(c.NodeIP(i)) || !c.Pods.Contains(c.PodRange(i).Addr()) {
			t.Errorf("node %d: %s or %s is outside of its range", i, c.NodeIP(i), c.PodRange(i))
		}
	}
}

// TestGoldens shows all that is rendered for the node with the control plane and for another one.
func TestGoldens(t *testing.T) {
	c := defaults(t)
	host := layout.Host{Containerd: "/usr/bin/containerd", Runc: "/usr/sbin/runc", CNI: "/usr/lib/cni"}
	for _, i := range []int{1, 2} {
		n := layout.Node{Config: c, Host: host, Index: i}
		files, err := n.Files()
		if err != nil {
			t.Fatal(err)
		}
		spec, err := json.MarshalIndent(n.Spec([]string{"/cache/pause.tar"}), "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		files["spec.json"] = string(spec) + "\n"
		var b strings.Builder
		for _, path := range slices.Sorted(maps.Keys(files)) {
			fmt.Fprintf(&b, "-- %s --\n%s", path, files[path])
		}
		golden(t, n.Name()+".txt", b.String())
	}
	manifest, err := c.DNSManifest()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "coredns.yaml", manifest)
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", path, diff)
	}
}

func TestStateFolderIsClaimed(t *testing.T) {
	c := defaults(t)
	c.State = filepath.Join(t.TempDir(), "lab")
	other := c
	other.State = t.TempDir()
	if err := os.WriteFile(other.Path("thesis.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := other.Claim(); err == nil || !strings.Contains(err.Error(), "thesis.txt") {
		t.Errorf("Claim of a folder with somebody's file: %v", err)
	}
	if err := c.Claim(); err != nil {
		t.Fatal(err)
	}
	if err := c.Save(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.Path("kubeconfig"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Claim(); err != nil {
		t.Errorf("Claim of a lab's folder: %v", err)
	}
	got, err := layout.Load(c.State)
	if err != nil {
		t.Fatal(err)
	}
	if got != c {
		t.Errorf("loaded %+v, saved %+v", got, c)
	}
}

func TestNodeIndex(t *testing.T) {
	for i := 1; i <= layout.MaxNodes; i++ {
		if got, err := layout.NodeIndex(layout.NodeName(i)); err != nil || got != i {
			t.Errorf("NodeIndex(%s) = %d, %v", layout.NodeName(i), got, err)
		}
	}
	for _, name := range []string{"", "node0", "node10", "node", "Node1", "node1 "} {
		if got, err := layout.NodeIndex(name); err == nil {
			t.Errorf("NodeIndex(%q) = %d, want an error", name, got)
		}
	}
}
