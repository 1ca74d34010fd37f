// Package fault breaks a lab that runs, and mends it: pods and nodes that are cut off, containers that hang or die, nodes that
// crash, an API server that is away. The commands of the lab and the end-to-end tests use it alike.
//
// What is broken lives in the kernel and in the nodes, not in a file: a fault ends with its node, and healing finds faults that
// another process injected. A cut matches addresses. The pod that gets the address of a cut pod after its node crashed is cut
// too: heal before a rejoin.
package fault

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/muster-registry/muster/hack/lab/cluster"
	"github.com/muster-registry/muster/hack/lab/layout"
)

// Injector injects faults into one lab.
type Injector struct{ lab *cluster.Lab }

// New returns an injector for a lab that runs.
func New(lab *cluster.Lab) (*Injector, error) {
	if err := cluster.CheckUser(); err != nil {
		return nil, err
	}
	if len(lab.Nodes()) == 0 {
		return nil, cluster.ErrDown
	}
	return &Injector{lab}, nil
}

// CutPod drops all traffic of a pod, its probes by the kubelet included.
func (i *Injector) CutPod(ctx context.Context, p Pod) error {
	ip, err := i.address(ctx, p)
	if err != nil {
		return err
	}
	return i.apply(ctx, cutPod(p, ip))
}

// HealPod ends CutPod. The pod may be gone.
func (i *Injector) HealPod(ctx context.Context, p Pod) error {
	return i.drop(ctx, table{kind: kindPod, pods: []Pod{p}}.name())
}

// CutPair drops what two pods send to each other, directly or through a Service. Nobody else notices.
func (i *Injector) CutPair(ctx context.Context, a, b Pod) error {
	ipA, ipB, err := i.addresses(ctx, a, b)
	if err != nil {
		return err
	}
	return i.apply(ctx, cutPair(a, b, ipA, ipB))
}

// CutOneWay drops what one pod sends to another, and not what the other sends back.
func (i *Injector) CutOneWay(ctx context.Context, from, to Pod) error {
	ipFrom, ipTo, err := i.addresses(ctx, from, to)
	if err != nil {
		return err
	}
	return i.apply(ctx, cutOneWay(from, to, ipFrom, ipTo))
}

// HealPair ends CutPair and CutOneWay between two pods, in whichever order.
func (i *Injector) HealPair(ctx context.Context, a, b Pod) error {
	return i.drop(ctx, pairTables(a, b)...)
}

// CutAPI drops what a pod and the API server send to each other. The pod's other traffic goes on.
func (i *Injector) CutAPI(ctx context.Context, p Pod) error {
	ip, err := i.address(ctx, p)
	if err != nil {
		return err
	}
	return i.apply(ctx, cutAPI(p, ip, netip.AddrPortFrom(i.lab.Config().ControlIP(), layout.APIPort)))
}

// HealAPI ends CutAPI.
func (i *Injector) HealAPI(ctx context.Context, p Pod) error {
	return i.drop(ctx, table{kind: kindAPI, pods: []Pod{p}}.name())
}

// CutNode cuts a node off from all others and from this machine. Its pods still reach each other.
func (i *Injector) CutNode(ctx context.Context, name string) error {
	return i.setLink(ctx, name, false)
}

// HealNode ends CutNode.
func (i *Injector) HealNode(ctx context.Context, name string) error {
	return i.setLink(ctx, name, true)
}

func (i *Injector) setLink(ctx context.Context, name string, connected bool) error {
	n, err := i.node(name)
	if err != nil {
		return err
	}
	return i.lab.SetLink(ctx, n, connected)
}

// CrashNode ends a node as a power cut would. RejoinNode brings it back with empty disks and waits until it is Ready.
func (i *Injector) CrashNode(ctx context.Context, name string) error {
	n, err := i.node(name)
	if err != nil {
		return err
	}
	return i.lab.CrashNode(ctx, n)
}

// RejoinNode starts a node that crashed; one that runs is left alone.
func (i *Injector) RejoinNode(ctx context.Context, name string) error {
	n, err := i.node(name)
	if err != nil {
		return err
	}
	return i.lab.RejoinNode(ctx, n)
}

// Freeze stops all processes of a container where they are; its connections stay open. An empty container name means the
// pod's only one.
func (i *Injector) Freeze(ctx context.Context, p Pod, name string) error {
	return i.task(ctx, p, name, "pause")
}

// Resume ends Freeze.
func (i *Injector) Resume(ctx context.Context, p Pod, name string) error {
	return i.task(ctx, p, name, "resume")
}

// Kill ends a container's process with SIGKILL. The kubelet starts it again in the same pod, under the same address.
func (i *Injector) Kill(ctx context.Context, p Pod, name string) error {
	return i.task(ctx, p, name, "kill", "--signal", "SIGKILL")
}

func (i *Injector) task(ctx context.Context, p Pod, name string, verb ...string) error {
	c, err := i.find(ctx, p, name)
	if err != nil {
		return err
	}
	_, err = i.lab.Output(ctx, c.node, "", append(append([]string{"ctr", "tasks"}, verb...), c.id)...)
	return err
}

// StopAPI kills the API server and keeps it down. etcd and the kubelets run on.
func (i *Injector) StopAPI(ctx context.Context) error {
	return i.lab.Control(1).Stop(ctx, layout.APIServerName)
}

// StartAPI ends StopAPI and waits until the API server is ready.
func (i *Injector) StartAPI(ctx context.Context) error {
	if err := i.lab.Control(1).Start(ctx, layout.APIServerName); err != nil {
		return err
	}
	return i.lab.WaitAPI(ctx)
}

// List tells every fault that is there, one line each.
func (i *Injector) List(ctx context.Context) ([]string, error) {
	var list []string
	for _, n := range i.lab.Nodes() {
		found, err := i.listNode(ctx, n)
		if err != nil {
			return nil, err
		}
		list = append(list, found...)
	}
	frozen, err := i.frozen(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range frozen {
		l := c.info.Labels
		list = append(list, fmt.Sprintf("pod %s/%s: container %s is frozen", l[labelNamespace], l[labelPod], l[labelContainer]))
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

func (i *Injector) listNode(ctx context.Context, n int) ([]string, error) {
	name := layout.NodeName(n)
	if !i.lab.Running(n) {
		return []string{name + " crashed"}, nil
	}
	var list []string
	connected, err := i.lab.Connected(ctx, n)
	if err != nil {
		return nil, err
	}
	if !connected {
		list = append(list, name+" is cut off")
	}
	status, err := i.lab.Control(n).Status(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range status.Components {
		if c.Stopped {
			list = append(list, c.Name+" is stopped")
		}
	}
	cuts, err := i.cuts(ctx, n)
	if err != nil {
		return nil, err
	}
	for _, t := range cuts {
		list = append(list, describe(t))
	}
	return list, nil
}

// HealAll ends every fault, rejoins the nodes that crashed, and waits until they and the API server are ready.
func (i *Injector) HealAll(ctx context.Context) error {
	for _, n := range i.lab.Nodes() {
		if !i.lab.Running(n) {
			continue
		}
		cuts, err := i.cuts(ctx, n)
		if err == nil {
			err = errors.Join(i.drop(ctx, cuts...), i.lab.SetLink(ctx, n, true))
		}
		if err != nil {
			return err
		}
	}
	if err := i.resumeAll(ctx); err != nil {
		return err
	}
	if err := i.StartAPI(ctx); err != nil {
		return err
	}
	for _, n := range i.lab.Nodes() {
		if err := i.lab.RejoinNode(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (i *Injector) resumeAll(ctx context.Context) error {
	list, err := i.frozen(ctx)
	if err != nil {
		return err
	}
	for _, c := range list {
		if _, err := i.lab.Output(ctx, c.node, "", "ctr", "tasks", "resume", c.id); err != nil {
			return err
		}
	}
	return nil
}

// apply puts a cut on every node: where the packets of a pod pass is then nobody's question.
func (i *Injector) apply(ctx context.Context, t table) error {
	return i.eachNode(func(n int) error {
		_, err := i.lab.Output(ctx, n, t.script(), "nft", "-f", "-")
		return err
	})
}

// drop removes cuts from every node that has them.
func (i *Injector) drop(ctx context.Context, names ...string) error {
	return i.eachNode(func(n int) error {
		have, err := i.cuts(ctx, n)
		if err != nil {
			return err
		}
		for _, name := range have {
			if slices.Contains(names, name) {
				if _, err := i.lab.Output(ctx, n, "", "nft", "delete", "table", "inet", name); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (i *Injector) cuts(ctx context.Context, n int) ([]string, error) {
	out, err := i.lab.Output(ctx, n, "", "nft", "list", "tables")
	return tables(out), err
}

func (i *Injector) eachNode(do func(n int) error) error {
	var errs []error
	for _, n := range i.lab.Nodes() {
		if i.lab.Running(n) {
			errs = append(errs, do(n))
		}
	}
	return errors.Join(errs...)
}

func (i *Injector) node(name string) (int, error) {
	n, err := layout.NodeIndex(name)
	if err != nil {
		return 0, err
	}
	if !slices.Contains(i.lab.Nodes(), n) {
		return 0, fmt.Errorf("the lab has no %s", name)
	}
	return n, nil
}

func (i *Injector) addresses(ctx context.Context, a, b Pod) (ipA, ipB netip.Addr, err error) {
	if ipA, err = i.address(ctx, a); err != nil {
		return ipA, ipB, err
	}
	ipB, err = i.address(ctx, b)
	return ipA, ipB, err
}
