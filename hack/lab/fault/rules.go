package fault

import (
	"fmt"
	"net/netip"
	"strings"
)

// prefix begins the name of every table that a fault makes, so that healing finds them all. The parts of a name are joined with
// "_", which no name in Kubernetes holds.
const prefix = "muster-cut"

// The kinds of cut that are rules on the nodes.
const (
	kindPod    = "pod"     // all traffic of one pod
	kindAPI    = "api"     // one pod and the API server
	kindPair   = "pair"    // two pods, both directions
	kindOneWay = "one-way" // two pods, from the first to the second
)

// table is one cut as every node gets it: a set of drops, whatever way packets take through the node.
type table struct {
	kind  string
	pods  []Pod
	drops []string // the match of each rule
}

func (t table) name() string {
	parts := []string{prefix, t.kind}
	for _, p := range t.pods {
		parts = append(parts, p.Namespace, p.Name)
	}
	return strings.Join(parts, "_")
}

// script is the input of `nft -f`: it replaces the table if it is there. Packets between pods are forwarded, those between a pod
// and its own node come in or go out; all are seen after kube-proxy has put the real address in, and before it hides it again.
func (t table) script() string {
	var b strings.Builder
	name := t.name()
	fmt.Fprintf(&b, "table inet %s\ndelete table inet %s\ntable inet %s {\n", name, name, name)
	for _, hook := range []string{"forward", "input", "output"} {
		fmt.Fprintf(&b, "\tchain %s {\n\t\ttype filter hook %s priority -10; policy accept;\n", hook, hook)
		for _, d := range t.drops {
			fmt.Fprintf(&b, "\t\t%s counter drop\n", d)
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String()
}

func cutPod(p Pod, ip netip.Addr) table {
	return table{kindPod, []Pod{p}, []string{fmt.Sprintf("ip saddr %s", ip), fmt.Sprintf("ip daddr %s", ip)}}
}

func cutAPI(p Pod, ip netip.Addr, api netip.AddrPort) table {
	return table{kindAPI, []Pod{p}, []string{
		fmt.Sprintf("ip saddr %s ip daddr %s tcp dport %d", ip, api.Addr(), api.Port()),
		fmt.Sprintf("ip saddr %s tcp sport %d ip daddr %s", api.Addr(), api.Port(), ip),
	}}
}

func cutPair(a, b Pod, ipA, ipB netip.Addr) table {
	a, b, ipA, ipB = ordered(a, b, ipA, ipB)
	return table{kindPair, []Pod{a, b}, []string{
		fmt.Sprintf("ip saddr %s ip daddr %s", ipA, ipB), fmt.Sprintf("ip saddr %s ip daddr %s", ipB, ipA),
	}}
}

func cutOneWay(from, to Pod, ipFrom, ipTo netip.Addr) table {
	return table{kindOneWay, []Pod{from, to}, []string{fmt.Sprintf("ip saddr %s ip daddr %s", ipFrom, ipTo)}}
}

// ordered makes the pair of a and b the same as that of b and a.
func ordered(a, b Pod, ipA, ipB netip.Addr) (Pod, Pod, netip.Addr, netip.Addr) {
	if a.String() > b.String() {
		return b, a, ipB, ipA
	}
	return a, b, ipA, ipB
}

// pairTables are the names of all cuts that two pods can have between them.
func pairTables(a, b Pod) []string {
	x, y, _, _ := ordered(a, b, netip.Addr{}, netip.Addr{})
	return []string{
		table{kind: kindPair, pods: []Pod{x, y}}.name(),
		table{kind: kindOneWay, pods: []Pod{a, b}}.name(),
		table{kind: kindOneWay, pods: []Pod{b, a}}.name(),
	}
}

// tables finds ours in the output of `nft list tables`.
func tables(listing string) []string {
	var names []string
	for line := range strings.Lines(listing) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "table inet "); ok && strings.HasPrefix(name, prefix+"_") {
			names = append(names, name)
		}
	}
	return names
}

// describe turns a table's name into what it does.
func describe(name string) string {
	parts := strings.Split(name, "_")
	pods := []string{}
	for i := 2; i+1 < len(parts); i += 2 {
		pods = append(pods, parts[i]+"/"+parts[i+1])
	}
	switch {
	case len(pods) == 1 && parts[1] == kindPod:
		return "pod " + pods[0] + " is cut off"
	case len(pods) == 1 && parts[1] == kindAPI:
		return "pod " + pods[0] + " is cut off from the API server"
	case len(pods) == 2 && parts[1] == kindPair:
		return "pods " + pods[0] + " and " + pods[1] + " are cut off from each other"
	case len(pods) == 2 && parts[1] == kindOneWay:
		return "pod " + pods[0] + " does not reach " + pods[1]
	}
	return name
}
