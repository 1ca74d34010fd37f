package v1alpha1

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDefaultIsValidAndSurvivesTheFile(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Fatal(err)
	}
	file, err := Render(Default())
	if err != nil {
		t.Fatal(err)
	}
	back, err := Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), back); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A zero that means something must not turn into the default on its way through the file.
func TestZeroesSurviveTheFile(t *testing.T) {
	c := Default()
	c.Timeouts.ConnectionGrace.Duration, c.Timeouts.SilentConnectionGrace.Duration = 0, 0
	c.Timeouts.PushWindow.Duration = 0
	c.Probing.Enabled = false
	c.Protection.Enabled, c.Protection.MaxHold.Duration = false, 0
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	file, err := Render(c)
	if err != nil {
		t.Fatal(err)
	}
	back, err := Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, back); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseIsStrict(t *testing.T) {
	for name, file := range map[string]string{
		"unknown":        "listn: {}",
		"unknown inside": "timeouts: {pushWindows: 1s}",
		"repeated":       "logLevel: info\nlogLevel: debug",
		"no duration":    "timeouts: {pushWindow: 1}",
		"two files":      "logLevel: info\n---\nlogLevel: debug",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse([]byte(file)); err == nil {
				t.Error("accepted")
			}
		})
	}
}

// An end of the file, or an empty rest of it, is no second file.
func TestParseTakesOneDocument(t *testing.T) {
	for name, file := range map[string]string{
		"nothing":      "",
		"a head":       "---\nlogLevel: debug",
		"an end":       "logLevel: debug\n---\n",
		"only remarks": "logLevel: debug\n---\n# nothing\n...\n",
	} {
		t.Run(name, func(t *testing.T) {
			want := Default()
			if file != "" {
				want.LogLevel = "debug"
			}
			got, err := Parse([]byte(file))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseNamesTheField(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		want []string
	}{
		"no unit":      {"timeouts: {drainGrace: \"5\"}", []string{`timeouts.drainGrace: "5" is no duration`}},
		"a number":     {"timeouts: {pushWindow: 1}", []string{"timeouts.pushWindow: 1 is no duration"}},
		"no value":     {"timeouts: {pushWindow: }", []string{"timeouts.pushWindow: null is no duration"}},
		"a word":       {"protection: {window: soon}", []string{`protection.window: "soon" is no duration`}},
		"two of them":  {"timeouts: {drainGrace: x, connectionGrace: later}", []string{"timeouts.drainGrace", "timeouts.connectionGrace"}},
		"another type": {"listen: {httpPort: x}", []string{"listen.httpPort"}},
		"no group":     {"timeouts: 5s", []string{"timeouts"}},
		"two files":    {"{}\n---\nkind: x", []string{"second YAML document"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(c.file))
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v does not say %s", err, want)
				}
			}
		})
	}
}

func TestAdvertiseIsAHostAndAPort(t *testing.T) {
	for advertise, ok := range map[string]bool{
		"10.0.0.1:9849": true, "[fd00::1]:9849": true, "registry-0.example.com:1": true, "h:65535": true,
		"h": false, ":9849": false, "h:": false, "h:x": false, "h:0": false, "h:65536": false, "h:-1": false, "h:+1": false, "fd00::1:9849": false,
	} {
		t.Run(advertise, func(t *testing.T) {
			c := Default()
			c.Membership = Membership{Source: SourceFile, File: "f", TLSDir: "/tls", Advertise: advertise}
			if err := c.Validate(); (err == nil) != ok {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestValidateNamesTheField(t *testing.T) {
	lease := Membership{Source: SourceLease, TLSDir: "/tls"}
	for field, change := range map[string]func(*ServerConfig){
		"apiVersion":                     func(c *ServerConfig) { c.APIVersion = "v0" },
		"listen.address":                 func(c *ServerConfig) { c.Listen.Address = "localhost" },
		"listen.grpcPort":                func(c *ServerConfig) { c.Listen.GRPCPort++ },
		"listen.peerPort":                func(c *ServerConfig) { c.Listen.PeerPort = c.Listen.GRPCPort },
		"listen.adminPort":               func(c *ServerConfig) { c.Listen.AdminPort = 65536 },
		"clusterUID":                     func(c *ServerConfig) { c.Membership = lease },
		"membership.source":              func(c *ServerConfig) { c.Membership.Source = "gossip" },
		"membership.file":                func(c *ServerConfig) { c.Membership = Membership{Source: SourceFile, TLSDir: "/tls"} },
		"membership.service":             func(c *ServerConfig) { c.Membership = Membership{Source: SourceEndpointSlice, TLSDir: "/tls"} },
		"membership.tlsDir":              func(c *ServerConfig) { c.Membership = Membership{Source: SourceFile, File: "f"} },
		"membership.advertise":           func(c *ServerConfig) { c.Membership = lease; c.Membership.Advertise = "host" },
		"replicationFactor":              func(c *ServerConfig) { c.ReplicationFactor = 1 },
		"probing.perSecond":              func(c *ServerConfig) { c.Probing.PerSecond = 0 },
		"rebalancing.perSecond":          func(c *ServerConfig) { c.Rebalancing.PerSecond = 0 },
		"probing.deny[1]":                func(c *ServerConfig) { c.Probing.Deny = []string{"10.0.0.0/8", "10.0.0.0"} },
		"protection.servicePercent":      func(c *ServerConfig) { c.Protection.ServicePercent = 0 },
		"protection.registryPercent":     func(c *ServerConfig) { c.Protection.RegistryPercent = 101 },
		"protection.minInstances":        func(c *ServerConfig) { c.Protection.MinInstances = 0 },
		"protection.window":              func(c *ServerConfig) { c.Protection.Window.Duration = time.Millisecond },
		"protection.perSecond":           func(c *ServerConfig) { c.Protection.PerSecond = 0 },
		"protection.maxHold":             func(c *ServerConfig) { c.Protection.MaxHold.Duration = -1 },
		"logLevel":                       func(c *ServerConfig) { c.LogLevel = "loud" },
		"timeouts.drainGrace":            func(c *ServerConfig) { c.Timeouts.DrainGrace.Duration = 0 },
		"timeouts.pushWindow":            func(c *ServerConfig) { c.Timeouts.PushWindow.Duration = -1 },
		"timeouts.leaseRenewInterval":    func(c *ServerConfig) { c.Timeouts.LeaseRenewInterval.Duration = 4 * time.Second },
		"timeouts.silentConnectionGrace": func(c *ServerConfig) { c.Timeouts.SilentConnectionGrace.Duration = time.Minute },
		"timeouts.refutedGrace":          func(c *ServerConfig) { c.Timeouts.RefutedGrace.Duration = time.Hour },
		"timeouts.beatUnhealthyAfter":    func(c *ServerConfig) { c.Timeouts.BeatUnhealthyAfter = c.Timeouts.BeatRemoveAfter },
		"timeouts.coldStartQuiet":        func(c *ServerConfig) { c.Timeouts.ColdStartQuiet.Duration = time.Minute },
		"timeouts.memberGoneAfter":       func(c *ServerConfig) { c.Timeouts.MemberGoneAfter = c.Timeouts.MemberLossGrace },
	} {
		t.Run(field, func(t *testing.T) {
			c := Default()
			change(&c)
			err := c.Validate()
			if err == nil || !strings.Contains(err.Error(), field+": ") {
				t.Errorf("error %v does not name %s", err, field)
			}
		})
	}
}
