package node

import (
	"fmt"
	"strings"
)

// Link is the node's own end of its link to the others.
const Link = "eth0"

// MountPoints are the folders that a node covers with memory of its own. They must exist on the machine.
func MountPoints() []string {
	return []string{
		"/run", "/var/lib/kubelet", "/var/lib/containerd", "/var/lib/cni", "/var/lib/etcd", "/var/log/pods", "/var/log/containers",
	}
}

// networkBatch is the input of `ip -batch` that configures the node's link.
func networkBatch(s Spec) string {
	var b strings.Builder
	b.WriteString("link set lo up\n")
	// A fixed hardware address: after a crash the other nodes' ARP entries are right at once.
	a := s.Address.Addr().As4()
	fmt.Fprintf(&b, "link set %s address 02:6d:%02x:%02x:%02x:%02x\n", Link, a[0], a[1], a[2], a[3])
	fmt.Fprintf(&b, "addr add %s dev %s\n", s.Address, Link)
	fmt.Fprintf(&b, "link set %s up\n", Link)
	for _, r := range s.Routes {
		if r.Via.IsValid() {
			fmt.Fprintf(&b, "route replace %s via %s\n", r.To, r.Via)
		} else {
			fmt.Fprintf(&b, "route replace %s dev %s\n", r.To, Link)
		}
	}
	return b.String()
}
