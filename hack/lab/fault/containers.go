package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/muster-registry/muster/hack/lab/layout"
)

// Pod names a pod.
type Pod struct{ Namespace, Name string }

func (p Pod) String() string { return p.Namespace + "/" + p.Name }

// ParsePod reads NAME or NAMESPACE/NAME.
func ParsePod(text string) (Pod, error) {
	namespace, name, found := strings.Cut(text, "/")
	if !found {
		namespace, name = "default", text
	}
	if namespace == "" || name == "" || strings.ContainsAny(name, "/_ ") {
		return Pod{}, fmt.Errorf("pod %q: want NAME or NAMESPACE/NAME", text)
	}
	return Pod{namespace, name}, nil
}

// Labels that the container runtime puts on what it runs.
const (
	labelNamespace = "io.kubernetes.pod.namespace"
	labelPod       = "io.kubernetes.pod.name"
	labelContainer = "io.kubernetes.container.name"
	labelKind      = "io.cri-containerd.kind"
	kindSandbox    = "sandbox"
)

// container is what the runtime of a node tells of one container or sandbox whose process lives.
type container struct {
	node int
	id   string
	info containerInfo
}

// containerInfo is the part of `ctr containers info` that is used.
type containerInfo struct {
	Labels map[string]string
	Spec   struct {
		Linux struct {
			Namespaces []struct{ Type, Path string } `json:"namespaces"`
		} `json:"linux"`
	}
}

// ofPod is a filter of the container runtime for what belongs to one pod.
func ofPod(p Pod) string {
	return fmt.Sprintf("labels.%q==%s,labels.%q==%s", labelNamespace, p.Namespace, labelPod, p.Name)
}

// ofPod asks every node for the containers and sandboxes of a pod.
func (i *Injector) ofPod(ctx context.Context, p Pod) ([]container, error) {
	return i.containers(ctx, func(n int, tasks []task) ([]task, error) {
		out, err := i.lab.Output(ctx, n, "", "ctr", "containers", "list", "-q", ofPod(p))
		ids := strings.Fields(out)
		return slices.DeleteFunc(tasks, func(t task) bool { return !slices.Contains(ids, t.id) }), err
	})
}

// frozen asks every node for the containers that Freeze stopped.
func (i *Injector) frozen(ctx context.Context) ([]container, error) {
	return i.containers(ctx, func(_ int, tasks []task) ([]task, error) {
		return slices.DeleteFunc(tasks, func(t task) bool { return t.status != statusPaused }), nil
	})
}

// containers asks the runtimes, and not the API server, which may be what a test has stopped.
func (i *Injector) containers(ctx context.Context, pick func(n int, tasks []task) ([]task, error)) ([]container, error) {
	var list []container
	for _, n := range i.lab.Nodes() {
		if !i.lab.Running(n) {
			continue
		}
		out, err := i.lab.Output(ctx, n, "", "ctr", "tasks", "list")
		if err != nil {
			return nil, err
		}
		tasks, err := pick(n, parseTasks(out))
		if err != nil {
			return nil, err
		}
		for _, t := range tasks {
			c := container{node: n, id: t.id}
			text, err := i.lab.Output(ctx, n, "", "ctr", "containers", "info", t.id)
			if err != nil {
				return nil, err
			}
			if err := json.Unmarshal([]byte(text), &c.info); err != nil {
				return nil, fmt.Errorf("%s: ctr containers info %s: %w", layout.NodeName(n), t.id, err)
			}
			list = append(list, c)
		}
	}
	return list, nil
}

// What `ctr tasks list` calls a process that lives.
const (
	statusRunning = "RUNNING"
	statusPaused  = "PAUSED"
)

type task struct{ id, status string }

// parseTasks reads the table of `ctr tasks list`, without what has ended.
func parseTasks(text string) []task {
	var list []task
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 3 && (f[2] == statusRunning || f[2] == statusPaused) {
			list = append(list, task{id: f[0], status: f[2]})
		}
	}
	return list
}

// find returns the one container of a pod, or the one with that name.
func (i *Injector) find(ctx context.Context, p Pod, name string) (container, error) {
	list, err := i.ofPod(ctx, p)
	if err != nil {
		return container{}, err
	}
	list = slices.DeleteFunc(list, func(c container) bool {
		return c.info.Labels[labelKind] == kindSandbox || name != "" && c.info.Labels[labelContainer] != name
	})
	switch len(list) {
	case 0:
		return container{}, fmt.Errorf("pod %s: no container %srunning on any node", p, quotedName(name))
	case 1:
		return list[0], nil
	}
	var names []string
	for _, c := range list {
		names = append(names, c.info.Labels[labelContainer])
	}
	return container{}, fmt.Errorf("pod %s: say which of its containers: %s", p, strings.Join(names, ", "))
}

func quotedName(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf("%q ", name)
}

// address reads the pod's IP where it is configured: in the network namespace of its sandbox.
func (i *Injector) address(ctx context.Context, p Pod) (netip.Addr, error) {
	list, err := i.ofPod(ctx, p)
	if err != nil {
		return netip.Addr{}, err
	}
	list = slices.DeleteFunc(list, func(c container) bool { return c.info.Labels[labelKind] != kindSandbox })
	if len(list) == 0 {
		return netip.Addr{}, fmt.Errorf("pod %s runs on no node", p)
	}
	c := list[len(list)-1]
	netns := ""
	for _, ns := range c.info.Spec.Linux.Namespaces {
		if ns.Type == "network" {
			netns = ns.Path
		}
	}
	if netns == "" {
		return netip.Addr{}, fmt.Errorf("pod %s uses its node's network: cut the node", p)
	}
	out, err := i.lab.Output(ctx, c.node, "", "ip", "-n", filepath.Base(netns), "-4", "-j", "addr", "show", "eth0")
	if err != nil {
		return netip.Addr{}, err
	}
	ip, err := parseAddress(out)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("pod %s: %w", p, err)
	}
	return ip, nil
}

// parseAddress reads the address in the output of `ip -j addr`.
func parseAddress(text string) (netip.Addr, error) {
	var links []struct {
		AddrInfo []struct {
			Local netip.Addr `json:"local"`
		} `json:"addr_info"`
	}
	if err := json.Unmarshal([]byte(text), &links); err != nil {
		return netip.Addr{}, fmt.Errorf("unexpected answer of ip addr: %w", err)
	}
	for _, l := range links {
		for _, a := range l.AddrInfo {
			return a.Local, nil
		}
	}
	return netip.Addr{}, errors.New("it has no address yet")
}
