package fault

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParsePod(t *testing.T) {
	cases := map[string]struct {
		want Pod
		err  string
	}{
		"registry-0":      {want: Pod{"default", "registry-0"}},
		"prod/registry-0": {want: Pod{"prod", "registry-0"}},
		"":                {err: "want NAME or NAMESPACE/NAME"},
		"/registry-0":     {err: "want NAME"},
		"prod/":           {err: "want NAME"},
		"a/b/c":           {err: "want NAME"},
		"a_b":             {err: "want NAME"}, // a name of a table would no longer tell its parts
		"a b":             {err: "want NAME"},
	}
	for text, c := range cases {
		t.Run(text, func(t *testing.T) {
			got, err := ParsePod(text)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("error %v, want %q", err, c.err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseTasksSkipsWhatHasEnded(t *testing.T) {
	got := parseTasks(`TASK                                                                PID     STATUS
4c1bd4ccd86db74b85d9a9ac3a9b5d4ec8e0e9a2ef0ef5e0ffaaf9b8a0a8c4a1    612     RUNNING
9d7a4a51d2f2a0b7d7d7b6f3d2a9a9b0f5a1a0f0b5d3e2d1c0b9a8f7e6d5c4b3    733     PAUSED
11aa4a51d2f2a0b7d7d7b6f3d2a9a9b0f5a1a0f0b5d3e2d1c0b9a8f7e6d5c4b3    0       STOPPED
`)
	want := []task{
		{"4c1bd4ccd86db74b85d9a9ac3a9b5d4ec8e0e9a2ef0ef5e0ffaaf9b8a0a8c4a1", "RUNNING"},
		{"9d7a4a51d2f2a0b7d7d7b6f3d2a9a9b0f5a1a0f0b5d3e2d1c0b9a8f7e6d5c4b3", "PAUSED"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(task{})); diff != "" {
		t.Error(diff)
	}
}

func TestParseAddress(t *testing.T) {
	cases := map[string]struct{ text, want, err string }{
		"a pod's":        {text: `[{"ifname":"eth0","addr_info":[{"family":"inet","local":"10.244.2.7","prefixlen":24}]}]`, want: "10.244.2.7"},
		"none yet":       {text: `[{"ifname":"eth0","addr_info":[]}]`, err: "no address yet"},
		"no such device": {text: `[{}]`, err: "no address yet"},
		"no JSON":        {text: `Device "eth0" does not exist.`, err: "unexpected answer of ip addr"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := parseAddress(c.text)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("error %v, want %q", err, c.err)
			}
			if err == nil && got.String() != c.want {
				t.Errorf("address %s, want %s", got, c.want)
			}
		})
	}
}

func TestFilterOfAPod(t *testing.T) {
	got := ofPod(Pod{"prod", "web-1"})
	want := `labels."io.kubernetes.pod.namespace"==prod,labels."io.kubernetes.pod.name"==web-1`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
