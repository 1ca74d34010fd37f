package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// options are the flags. What a RegistryCluster can say itself has no flag here.
type options struct {
	registryImage  string
	namespaces     []string
	leaderElection bool
	electionNS     string
	metricsAddress string
	probeAddress   string
	logLevel       slog.Level
}

// parse reads the flags. Its errors name the flag.
func parse(args []string, usage io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("operator", flag.ContinueOnError)
	fs.SetOutput(usage)
	fs.StringVar(&o.registryImage, "registry-image", "", "image of members whose RegistryCluster names none; empty = the operator's own image, which holds the registry too")
	fs.Func("namespaces", "comma separated namespaces to watch; empty = all", func(v string) error {
		for ns := range strings.SplitSeq(v, ",") {
			if problems := validation.IsDNS1123Label(ns); len(problems) > 0 {
				return fmt.Errorf("%q is no namespace: %s", ns, problems[0])
			}
			o.namespaces = append(o.namespaces, ns)
		}
		return nil
	})
	fs.BoolVar(&o.leaderElection, "leader-election", true, "only one of several operators acts")
	fs.StringVar(&o.electionNS, "leader-election-namespace", "", "namespace of the leader's Lease; empty = the operator's own")
	fs.StringVar(&o.metricsAddress, "metrics-address", ":8080", "host:port of /metrics; 0 = none")
	fs.StringVar(&o.probeAddress, "probe-address", ":8081", "host:port of /healthz and /readyz; 0 = none")
	fs.TextVar(&o.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	if err := fs.Parse(args); err != nil {
		return options{}, err
	}
	if fs.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q: there are only flags", fs.Arg(0))
	}
	if o.metricsAddress == "" || o.probeAddress == "" {
		return options{}, errors.New("--metrics-address and --probe-address must not be empty: 0 switches one off")
	}
	return o, nil
}
