package cluster

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func TestCheckUser(t *testing.T) {
	cases := map[string]struct {
		goos string
		uid  int
		want []string
	}{
		"root on Linux": {"linux", 0, nil},
		"not root":      {"linux", 1000, []string{"needs root", "sudo", "KUBECONFIG", "kind", "--only envtest"}},
		"a Mac":         {"darwin", 0, []string{"needs Linux", "this is darwin", "KUBECONFIG", "kind"}},
		"Windows":       {"windows", -1, []string{"needs Linux"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := checkUser(c.goos, c.uid)
			if (err == nil) != (c.want == nil) {
				t.Fatalf("error %v", err)
			}
			for _, text := range c.want {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%v: does not say %q", err, text)
				}
			}
		})
	}
}

func TestProblems(t *testing.T) {
	good := facts{kernel: "6.1.0-18-amd64", capabilities: 1<<41 - 1, overlay: true, bridgeFilter: true}
	cases := map[string]struct {
		change func(*facts)
		want   string
	}{
		"nothing":              {func(*facts) {}, ""},
		"Debian 11":            {func(f *facts) { f.kernel = "5.10.0-28-amd64" }, "kernel 5.10.0-28-amd64"},
		"the oldest that does": {func(f *facts) { f.kernel = "5.13.0" }, ""},
		"a plain container":    {func(f *facts) { f.capabilities = 0xa80425fb }, "--privileged"},
		"no overlay":           {func(f *facts) { f.overlay = false }, "module overlay"},
		"no br_netfilter":      {func(f *facts) { f.bridgeFilter = false }, "br_netfilter"},
		"no nf_tables":         {func(f *facts) { f.nft = errors.New("Protocol not supported") }, "nf_tables? Protocol not supported"},
		"no pids controller":   {func(f *facts) { f.cgroups = missingControllers([]string{"pids"}, func(string) bool { return false }) }, "controllers pids are missing: the lab knows cgroup v2"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := good
			c.change(&f)
			got := strings.Join(f.problems(), "\n")
			if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("problems %q, want %q", got, c.want)
			}
		})
	}
	if n := len(facts{nft: os.ErrInvalid, cgroups: os.ErrInvalid}.problems()); n != 6 {
		t.Errorf("%d problems of a machine with nothing, want all 6 at once", n)
	}
}

func TestNewerKernel(t *testing.T) {
	for release, want := range map[string]bool{
		"5.12.19": false, "5.13": true, "6.0.0-rc1": true, "4.19.0-26-cloud-amd64": false, "10.1": true, "": false, "unknown": false,
	} {
		if got := newerKernel(release, 5, 13); got != want {
			t.Errorf("newerKernel(%q) = %v, want %v", release, got, want)
		}
	}
}
