package main

import (
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	defaults := options{leaderElection: true, metricsAddress: ":8080", probeAddress: ":8081"}
	for name, tc := range map[string]struct {
		args  []string
		want  func(*options)
		names string // what the error names
	}{
		"defaults": {nil, func(*options) {}, ""},
		"all": {[]string{"--registry-image=i", "--namespaces=a,b", "--leader-election=false", "--leader-election-namespace=c", "--metrics-address=0", "--probe-address=:1", "--log-level=debug"}, func(o *options) {
			*o = options{registryImage: "i", namespaces: []string{"a", "b"}, electionNS: "c", metricsAddress: "0", probeAddress: ":1", logLevel: slog.LevelDebug}
		}, ""},
		"an unknown flag":       {[]string{"--replicas=3"}, nil, "replicas"},
		"no namespace":          {[]string{"--namespaces=a,,b"}, nil, "namespaces"},
		"a bad level":           {[]string{"--log-level=loud"}, nil, "log-level"},
		"an argument":           {[]string{"now"}, nil, "now"},
		"an empty address":      {[]string{"--probe-address="}, nil, "--probe-address"},
		"a bad leader election": {[]string{"--leader-election=perhaps"}, nil, "leader-election"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parse(tc.args, io.Discard)
			if tc.want == nil {
				if err == nil || !strings.Contains(err.Error(), tc.names) {
					t.Fatalf("error %v does not name %s", err, tc.names)
				}
				return
			}
			want := defaults
			tc.want(&want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(options{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
