package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	configv1alpha1 "github.com/muster-registry/muster/api/config/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
)

// parse reads the flags over the file over the defaults.
func parse(args []string, errOut io.Writer) (configv1alpha1.ServerConfig, error) {
	fs := newFlags("registry")
	file := fs.String("config", "", "`file` to read first; flags count more")
	var o overrides
	o.bind(fs)
	if err := parseFlags(fs, args, usage, errOut); err != nil {
		return configv1alpha1.ServerConfig{}, err
	}
	if fs.NArg() > 0 {
		return configv1alpha1.ServerConfig{}, fmt.Errorf("%q is no flag; see registry --help", fs.Arg(0))
	}
	c := configv1alpha1.Default()
	if *file != "" {
		data, err := os.ReadFile(*file)
		if err != nil {
			return c, fmt.Errorf("read configuration (--config): %w", err)
		}
		if c, err = configv1alpha1.Parse(data); err != nil {
			return c, fmt.Errorf("read configuration %s: %w", *file, err)
		}
	}
	fs.Visit(func(f *flag.Flag) { o.apply(&c, f.Name) })
	return c, nil
}

// overrides are the flags that replace a field of the file.
type overrides struct {
	address, source, members, tlsDir, advertise, stateDir, logLevel string
	httpPort, peerPort, adminPort                                   int
	coldStart, drainGrace                                           time.Duration
	noProbing                                                       bool
}

func (o *overrides) bind(fs *flag.FlagSet) {
	fs.StringVar(&o.address, "address", "", "`IP` to listen on; all addresses when empty")
	fs.IntVar(&o.httpPort, "http-port", wellknown.PortHTTP, "`port` for Nacos HTTP; gRPC is 1000 above, because clients compute it")
	fs.IntVar(&o.peerPort, "peer-port", wellknown.PortPeer, "`port` for the other members")
	fs.IntVar(&o.adminPort, "admin-port", wellknown.PortAdmin, "`port` for health, readiness and metrics")
	fs.StringVar(&o.source, "membership", string(configv1alpha1.SourceStandalone), "how members find each other: standalone, file, lease or endpointslice")
	fs.StringVar(&o.members, "members-file", "", "`file` with one host:port (the peer port) a line; watched; means --membership file")
	fs.StringVar(&o.tlsDir, "tls-dir", "", "`directory` with tls.crt, tls.key and trusted.pem (see registry peer-keys)")
	fs.StringVar(&o.advertise, "advertise", "", "`host:port` where other members reach this one; the pod's IP or --address, and --peer-port, when empty")
	fs.StringVar(&o.stateDir, "state-dir", "", "`directory` for the last view, which helps a restart while the Kubernetes API is away")
	fs.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	fs.DurationVar(&o.coldStart, "cold-start-limit", 35*time.Second, "how long a registry that started with nothing waits at most before it answers lists")
	fs.DurationVar(&o.drainGrace, "drain-grace", time.Minute, "how long a member on its way out may take to hand over")
	fs.BoolVar(&o.noProbing, "no-probing", false, "never ask the ports of instances whether anybody is there")
}

// apply takes one flag that was given.
func (o *overrides) apply(c *configv1alpha1.ServerConfig, name string) {
	switch name {
	case "address":
		c.Listen.Address = o.address
	case "http-port":
		c.Listen.HTTPPort, c.Listen.GRPCPort = o.httpPort, o.httpPort+wellknown.GRPCPortOffset
	case "peer-port":
		c.Listen.PeerPort = o.peerPort
	case "admin-port":
		c.Listen.AdminPort = o.adminPort
	case "membership":
		c.Membership.Source = configv1alpha1.Source(o.source)
	case "members-file":
		c.Membership.File = o.members
		if o.source == string(configv1alpha1.SourceStandalone) {
			c.Membership.Source = configv1alpha1.SourceFile
		}
	case "tls-dir":
		c.Membership.TLSDir = o.tlsDir
	case "advertise":
		c.Membership.Advertise = o.advertise
	case "state-dir":
		c.Membership.StateDir = o.stateDir
	case "log-level":
		c.LogLevel = o.logLevel
	case "cold-start-limit":
		t := &c.Timeouts
		t.ColdStartLimit.Duration = o.coldStart
		t.ColdStartQuiet.Duration = min(t.ColdStartQuiet.Duration, o.coldStart)
	case "drain-grace":
		c.Timeouts.DrainGrace.Duration = o.drainGrace
	case "no-probing":
		c.Probing.Enabled = !o.noProbing
	}
}

func newFlags(name string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // an error is one line, and not the whole help
	return fs
}

// parseFlags prints the help when it is asked for, and nothing else.
func parseFlags(fs *flag.FlagSet, args []string, head string, errOut io.Writer) error {
	fs.Usage = func() {}
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(errOut, head)
		fs.SetOutput(errOut)
		fs.PrintDefaults()
		return err
	case err != nil:
		return fmt.Errorf("%w; see registry --help", err)
	}
	return nil
}
