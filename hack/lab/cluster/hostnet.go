package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/muster-registry/muster/hack/lab/layout"
	"github.com/muster-registry/muster/hack/lab/node"
)

// blackholeMetric is worse than that of any real route: what has no node of its own ends on this machine.
const blackholeMetric = 4096

// hostBatch is the input of `ip -batch` that makes the machine's side of the network.
func hostBatch(c layout.Config, haveBridge bool) string {
	var b strings.Builder
	if !haveBridge {
		fmt.Fprintf(&b, "link add %s type bridge\n", layout.Bridge)
	}
	fmt.Fprintf(&b, "addr replace %s/%d dev %s\n", c.HostIP(), c.Nodes.Bits(), layout.Bridge)
	fmt.Fprintf(&b, "link set %s up\n", layout.Bridge)
	for _, p := range []netip.Prefix{c.Pods, c.Services} {
		fmt.Fprintf(&b, "route replace blackhole %s metric %d\n", p, blackholeMetric)
	}
	fmt.Fprintf(&b, "route replace %s via %s\n", c.Services, c.ControlIP())
	return b.String()
}

// linkBatch joins node i's namespace to the bridge.
func linkBatch(c layout.Config, i, pid int) string {
	veth := layout.Veth(i)
	return fmt.Sprintf("link add %s type veth peer name %s netns %d\nlink set %s master %s up\nroute replace %s via %s\n",
		veth, node.Link, pid, veth, layout.Bridge, c.PodRange(i), c.NodeIP(i))
}

func (l *Lab) hostNetwork(ctx context.Context) error {
	_, err := net.InterfaceByName(layout.Bridge)
	if _, err := run(ctx, hostBatch(l.cfg, err == nil), "ip", "-batch", "-"); err != nil {
		return fmt.Errorf("set up the bridge: %w", err)
	}
	return l.openFirewall(ctx)
}

// firewallRule lets the nodes talk over the bridge.
func firewallRule(action string) []string {
	return []string{"iptables", "-w", action, "FORWARD", "-i", layout.Bridge, "-o", layout.Bridge, "-j", "ACCEPT"}
}

// openFirewall matters on machines whose firewall drops what it forwards, which Docker sets up: with br_netfilter that includes
// what a bridge passes on.
func (l *Lab) openFirewall(ctx context.Context) error {
	rules, err := run(ctx, "", "iptables", "-w", "-S", "FORWARD")
	if err != nil {
		return fmt.Errorf("read the firewall: %w", err)
	}
	if !strings.Contains(rules, "-P FORWARD DROP") {
		return nil
	}
	if _, err := run(ctx, "", firewallRule("-C")...); err == nil {
		return nil
	}
	_, err = run(ctx, "", firewallRule("-I")...)
	return err
}

// removeNetwork removes what hostNetwork and link made. What is not there is no error.
func (l *Lab) removeNetwork(ctx context.Context) {
	if _, err := run(ctx, "", firewallRule("-C")...); err == nil {
		l.try(ctx, firewallRule("-D")...)
	}
	for i := 1; i <= layout.MaxNodes; i++ {
		l.deleteLink(ctx, layout.Veth(i))
	}
	for _, p := range []netip.Prefix{l.cfg.Pods, l.cfg.Services} {
		if out, err := run(ctx, "", "ip", "route", "show", "type", "blackhole", "exact", p.String()); err == nil && out != "" {
			l.try(ctx, "ip", "route", "del", "blackhole", p.String(), "metric", fmt.Sprint(blackholeMetric))
		}
	}
	l.deleteLink(ctx, layout.Bridge) // its routes go with it
}

func (l *Lab) deleteLink(ctx context.Context, name string) {
	if _, err := net.InterfaceByName(name); err == nil {
		l.try(ctx, "ip", "link", "del", name)
	}
}

func (l *Lab) try(ctx context.Context, argv ...string) {
	if _, err := run(ctx, "", argv...); err != nil {
		l.say("left behind: %v", err)
	}
}

// SetLink connects node i to the bridge or cuts it off. The port's state is used and not the link's: nobody is told, as when a
// switch far away fails.
func (l *Lab) SetLink(ctx context.Context, i int, connected bool) error {
	state := "0" // disabled. ip link set ... type bridge_slave takes the same and does nothing
	if connected {
		state = "3" // forwarding
	}
	_, err := run(ctx, "", "bridge", "link", "set", "dev", layout.Veth(i), "state", state)
	return err
}

// Connected says whether the bridge passes on what node i sends.
func (l *Lab) Connected(ctx context.Context, i int) (bool, error) {
	out, err := run(ctx, "", "ip", "-d", "-j", "link", "show", "dev", layout.Veth(i))
	if err != nil {
		return false, err
	}
	var links []struct {
		LinkInfo struct {
			SlaveData struct {
				State string `json:"state"`
			} `json:"info_slave_data"`
		} `json:"linkinfo"`
	}
	if err := json.Unmarshal([]byte(out), &links); err != nil || len(links) != 1 {
		return false, fmt.Errorf("unexpected answer of ip link: %s", out)
	}
	return links[0].LinkInfo.SlaveData.State == "forwarding", nil
}

// route is what `ip -j route` tells of one route.
type route struct {
	Dst    string `json:"dst"`
	Dev    string `json:"dev"`
	Type   string `json:"type"`
	Metric int    `json:"metric"`
}

// conflict finds a route of the machine's that one of the lab's ranges would hide.
func conflict(c layout.Config, routes []route) error {
	ranges := []struct {
		env string
		p   netip.Prefix
	}{{layout.EnvNodes, c.Nodes}, {layout.EnvPods, c.Pods}, {layout.EnvServices, c.Services}}
	for _, r := range routes {
		if r.Dev == layout.Bridge || r.Type == "blackhole" && r.Metric == blackholeMetric {
			continue // ours
		}
		dst, err := parseRange(r.Dst)
		if err != nil {
			continue // default, or a kind of route that takes nothing from us
		}
		for _, mine := range ranges {
			if mine.p.Overlaps(dst) {
				return fmt.Errorf("%s: this machine already has a route to %s (device %s), which the lab's %s would hide: choose another range",
					mine.env, r.Dst, r.Dev, mine.p)
			}
		}
	}
	return nil
}

// parseRange reads a range, or a single address, as ip prints them.
func parseRange(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, err
		}
		return a.Prefix(a.BitLen())
	}
	return netip.ParsePrefix(text)
}

func (l *Lab) checkRanges(ctx context.Context) error {
	out, err := run(ctx, "", "ip", "-4", "-j", "route", "show")
	if err != nil {
		return err
	}
	var routes []route
	if err := json.Unmarshal([]byte(out), &routes); err != nil {
		return fmt.Errorf("unexpected answer of ip route: %w", err)
	}
	return conflict(l.cfg, routes)
}
