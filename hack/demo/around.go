package main

import (
	"fmt"
	"strings"
)

// kubectl is how to call it from here: the lab brings one, and nobody's KUBECONFIG points at the lab by itself.
func (d *demo) kubectl() string {
	if d.kube.lab == nil {
		return "kubectl"
	}
	return d.kube.lab.Config().Path("bin", "kubectl")
}

// takeDown is one command a line.
func (d *demo) takeDown() []string {
	if d.kube.lab != nil {
		return []string{"make lab-down"}
	}
	const helm = "go tool -modfile=hack/tools/go.mod helm"
	return []string{
		fmt.Sprintf("%s -n %s uninstall %s", helm, namespace, registry),
		fmt.Sprintf("%s -n %s uninstall %s", helm, operatorNamespace, operatorRelease),
		fmt.Sprintf("kubectl delete namespace %s %s", namespace, operatorNamespace),
		"kubectl delete crd registryclusters.registry.muster.dev    # and every other registry",
	}
}

// lookAround ends a run that went well.
func (d *demo) lookAround() {
	d.say.title("Look around: all of it still runs")
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, "  "+format+"\n", args...) }
	if d.kube.lab != nil {
		line("export KUBECONFIG=%s", d.kube.kubeconfig)
		line("alias kubectl=%s    # or one of yours", d.kubectl())
	}
	line("kubectl -n %s get rgc %s", namespace, registry)
	line("kubectl -n %s describe rgc %s                 # conditions, members, events", namespace, registry)
	line("kubectl -n %s get pods -o wide", namespace)
	line("kubectl -n %s logs -f deployment/%s              # what a client is told, as JSON lines", namespace, consumer)
	line("kubectl -n %s scale deployment/%s --replicas=5   # and see it in that log", namespace, provider)
	line("kubectl -n %s scale rgc/%s --replicas=5", namespace, registry)
	line("kubectl -n %s port-forward service/%s 8848 9848   # then, from this machine:", namespace, registry)
	line("curl 'http://127.0.0.1:8848/nacos/v1/ns/instance/list?serviceName=%s'", service)
	b.WriteString("\n")
	line("Server address for Nacos clients in the cluster: %s (HTTP; gRPC on 9848, which they compute)", address)
	line("Again: make demo. Take it down:")
	for _, command := range d.takeDown() {
		line("%s", command)
	}
	d.say.plain(strings.TrimRight(b.String(), "\n"))
}
