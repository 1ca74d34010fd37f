package fault

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite the golden files")

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

func TestRules(t *testing.T) {
	a, b := Pod{"default", "registry-6d5f-abcde"}, Pod{"prod", "web.1"}
	ipA, ipB := netip.MustParseAddr("10.244.1.5"), netip.MustParseAddr("10.244.2.6")
	api := netip.MustParseAddrPort("10.123.0.11:6443")
	for name, table := range map[string]table{
		"pod": cutPod(a, ipA), "api": cutAPI(a, ipA, api), "pair": cutPair(a, b, ipA, ipB), "one-way": cutOneWay(a, b, ipA, ipB),
	} {
		t.Run(name, func(t *testing.T) { golden(t, name+".nft", table.script()) })
	}
}

// The same pair in the other order is the same cut: a second injection replaces the first, and either order heals it.
func TestPairHasNoOrder(t *testing.T) {
	a, b := Pod{"default", "a"}, Pod{"default", "b"}
	ipA, ipB := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	if diff := cmp.Diff(cutPair(a, b, ipA, ipB).script(), cutPair(b, a, ipB, ipA).script()); diff != "" {
		t.Errorf("two scripts for one pair:\n%s", diff)
	}
	for _, cut := range []table{cutPair(a, b, ipA, ipB), cutOneWay(a, b, ipA, ipB), cutOneWay(b, a, ipB, ipA)} {
		for _, healed := range [][]string{pairTables(a, b), pairTables(b, a)} {
			if !strings.Contains(strings.Join(healed, " ")+" ", cut.name()+" ") {
				t.Errorf("healing %v leaves %s", healed, cut.name())
			}
		}
	}
}

// name generates what Kubernetes accepts as the name of a pod or namespace.
func name() *rapid.Generator[string] {
	return rapid.StringMatching(`[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?`)
}

// TestNamesRoundTrip: each cut is found again in what nft lists, and said of the right pods.
func TestNamesRoundTrip(t *testing.T) {
	ip := netip.MustParseAddr("10.244.1.5")
	rapid.Check(t, func(t *rapid.T) {
		a := Pod{name().Draw(t, "namespace"), name().Draw(t, "pod")}
		b := Pod{name().Draw(t, "namespace"), name().Draw(t, "pod")}
		listing, want := "table ip kube-proxy\ntable inet muster-other\n", []string(nil)
		for _, cut := range []table{cutPod(a, ip), cutAPI(a, ip, netip.AddrPortFrom(ip, 6443)), cutPair(a, b, ip, ip), cutOneWay(a, b, ip, ip)} {
			listing += "table inet " + cut.name() + "\n"
			want = append(want, cut.name())
			text := describe(cut.name())
			for _, p := range cut.pods {
				if !strings.Contains(text+" ", p.String()+" ") {
					t.Fatalf("%q does not name %s", text, p)
				}
			}
		}
		if diff := cmp.Diff(want, tables(listing)); diff != "" {
			t.Fatalf("tables (-want +got):\n%s", diff)
		}
	})
}
