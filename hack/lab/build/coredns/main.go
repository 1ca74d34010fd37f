// Command coredns is CoreDNS with only the plug-ins that the lab's Corefile names. The stock main links every
// plug-in there is, with the clients of four clouds, and takes three times as long to build.
package main

import (
	_ "github.com/coredns/coredns/core/dnsserver" // the server type and the plug-ins' order
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
)

func main() { coremain.Run() }
