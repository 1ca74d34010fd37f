package check

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/muster-registry/muster/hack/lab/poll"
)

// How soon a fault must be noticed by the cluster.
const (
	probePatience = 20 * time.Second // a probe that fails
	nodePatience  = 45 * time.Second // a node that says nothing
)

// faultSteps prove each fault and its end. They leave the lab as it was.
func (c *checker) faultSteps() []step {
	return []step{
		{"cut-pod: nobody reaches it, it leaves the Service; healed: back", c.cutPod},
		{"cut-pair on two nodes: not each other, but all others", func(ctx context.Context) error { return c.cutPair(ctx, false) }},
		{"cut-pair on one node: the same", func(ctx context.Context) error { return c.cutPair(ctx, true) }},
		{"cut-pair one way: only what the first sends is lost", c.cutOneWay},
		{"cut-api: on another node than the API server's, and on the same", c.cutAPI},
		{"freeze: it leaves the Service; resumed: back, not restarted", c.freeze},
		{"kill: started again in the same pod", c.kill},
		{"cut-node: NotReady, its pods leave the Service; healed: back", c.cutNode},
		{"crash: NotReady; rejoin: Ready, its pods run again", c.crash},
		{"stop-api: pods, Services, names and faults still work; start-api: ready", c.stopAPI},
		{"heal-all: six faults at once end", c.healAll},
	}
}

func (c *checker) cutPod(ctx context.Context) error {
	a, b, _, err := c.three(ctx)
	if err != nil {
		return err
	}
	if err := c.faults.CutPod(ctx, b.ref()); err != nil {
		return err
	}
	if err := c.expectFaults(ctx, 1); err != nil {
		return err
	}
	if err := broken("a pod's way to the cut pod", c.reaches(ctx, a, b)); err != nil {
		return err
	}
	if _, err := c.ask(ctx, b, "", "", ""); err == nil {
		return errors.New("this machine reaches the cut pod")
	}
	if err := c.serving(ctx, probePatience, b.ip, false); err != nil {
		return err
	}
	if err := c.faults.HealPod(ctx, b.ref()); err != nil {
		return err
	}
	if err := c.serving(ctx, probePatience, b.ip, true); err != nil {
		return err
	}
	return errors.Join(c.reaches(ctx, a, b), c.expectFaults(ctx, 0))
}

func (c *checker) cutPair(ctx context.Context, sameNode bool) error {
	a, b, d, err := c.three(ctx)
	if err != nil {
		return err
	}
	if sameNode {
		if a, b, err = c.on(ctx, b.node); err != nil {
			return err
		}
	}
	if err := c.faults.CutPair(ctx, a.ref(), b.ref()); err != nil {
		return err
	}
	if err := errors.Join(
		broken("the way from the first to the second", c.reaches(ctx, a, b)),
		broken("the way from the second to the first", c.reaches(ctx, b, a)),
		c.reaches(ctx, d, a), c.reaches(ctx, d, b), c.reaches(ctx, a, d), c.reaches(ctx, b, d),
	); err != nil {
		return err
	}
	if err := c.faults.HealPair(ctx, b.ref(), a.ref()); err != nil {
		return err
	}
	return errors.Join(c.reaches(ctx, a, b), c.reaches(ctx, b, a), c.expectFaults(ctx, 0))
}

// cutOneWay shows by datagrams which way is cut: TCP fails both ways.
func (c *checker) cutOneWay(ctx context.Context) error {
	a, b, _, err := c.three(ctx)
	if err != nil {
		return err
	}
	if err := c.faults.CutOneWay(ctx, a.ref(), b.ref()); err != nil {
		return err
	}
	if err := broken("a datagram on the way that is cut", c.hears(ctx, a, b)); err != nil {
		return err
	}
	if err := c.hears(ctx, b, a); err != nil {
		return fmt.Errorf("the way that is not cut: %w", err)
	}
	if err := c.faults.HealPair(ctx, a.ref(), b.ref()); err != nil {
		return err
	}
	return errors.Join(c.hears(ctx, a, b), c.expectFaults(ctx, 0))
}

// hears sends datagrams from one probe to another, for two seconds, until one arrives.
func (c *checker) hears(ctx context.Context, from, to pod) error {
	before, err := c.ask(ctx, to, "heard", "from", from.ip)
	if err != nil {
		return err
	}
	return poll.Until(ctx, 2*time.Second, func(ctx context.Context) error {
		if _, err := c.ask(ctx, from, "say", "to", to.ip); err != nil {
			return err
		}
		after, err := c.ask(ctx, to, "heard", "from", from.ip)
		if err == nil && after == before {
			err = fmt.Errorf("%s hears nothing from %s", to.name, from.name)
		}
		return err
	})
}

func (c *checker) cutAPI(ctx context.Context) error {
	a, b, _, err := c.three(ctx)
	if err != nil {
		return err
	}
	for _, p := range []pod{a, b} {
		if err := c.faults.CutAPI(ctx, p.ref()); err != nil {
			return err
		}
		_, err := c.ask(ctx, p, "pods", "", "")
		if err := broken("the way to the API server from "+p.node, err); err != nil {
			return err
		}
	}
	if err := errors.Join(c.reaches(ctx, a, b), c.reaches(ctx, b, a), c.expectFaults(ctx, 2)); err != nil {
		return err
	}
	for _, p := range []pod{a, b} {
		if err := c.faults.HealAPI(ctx, p.ref()); err != nil {
			return err
		}
		if _, err := c.ask(ctx, p, "pods", "", ""); err != nil {
			return err
		}
	}
	return c.expectFaults(ctx, 0)
}

func (c *checker) freeze(ctx context.Context) error {
	_, b, _, err := c.three(ctx)
	if err != nil {
		return err
	}
	if err := c.faults.Freeze(ctx, b.ref(), ""); err != nil {
		return err
	}
	if err := c.serving(ctx, probePatience, b.ip, false); err != nil {
		return err
	}
	if err := c.expectFaults(ctx, 1); err != nil {
		return err
	}
	if err := c.faults.Resume(ctx, b.ref(), ""); err != nil {
		return err
	}
	if err := c.serving(ctx, probePatience, b.ip, true); err != nil {
		return err
	}
	after, _, err := c.on(ctx, b.node)
	if err == nil && (after.name != b.name || after.restarts != b.restarts) {
		err = fmt.Errorf("the pod was restarted: %+v, before: %+v", after, b)
	}
	return err
}

func (c *checker) kill(ctx context.Context) error {
	_, _, d, err := c.three(ctx)
	if err != nil {
		return err
	}
	if err := c.faults.Kill(ctx, d.ref(), "probe"); err != nil {
		return err
	}
	return c.restarted(ctx, d)
}

func (c *checker) cutNode(ctx context.Context) error {
	a, _, d, err := c.three(ctx)
	if err != nil {
		return err
	}
	if err := c.faults.CutNode(ctx, "node3"); err != nil {
		return err
	}
	if err := broken("a pod's way to the cut node", c.reaches(ctx, a, d)); err != nil {
		return err
	}
	if err := c.nodeReady(ctx, "node3", "Unknown"); err != nil {
		return err
	}
	if err := c.serving(ctx, nodePatience, d.ip, false); err != nil {
		return err
	}
	if err := c.faults.HealNode(ctx, "node3"); err != nil {
		return err
	}
	if err := c.nodeReady(ctx, "node3", "True"); err != nil {
		return err
	}
	return errors.Join(c.whole(ctx), c.reaches(ctx, a, d))
}

func (c *checker) crash(ctx context.Context) error {
	if err := broken("a crash of the control plane", c.faults.CrashNode(ctx, "node1")); err != nil {
		return err
	}
	if err := c.faults.CrashNode(ctx, "node3"); err != nil {
		return err
	}
	if err := errors.Join(c.expectFaults(ctx, 1), c.nodeReady(ctx, "node3", "Unknown")); err != nil {
		return err
	}
	if err := c.faults.RejoinNode(ctx, "node3"); err != nil {
		return err
	}
	if err := c.whole(ctx); err != nil {
		return err
	}
	return c.podNetwork(ctx)
}

func (c *checker) stopAPI(ctx context.Context) error {
	a, b, d, err := c.three(ctx)
	if err != nil {
		return err
	}
	if err := c.faults.StopAPI(ctx); err != nil {
		return err
	}
	if err := poll.Until(ctx, 5*time.Second, func(ctx context.Context) error {
		_, err := c.kubectl(ctx, "get", "--raw=/readyz", "--request-timeout=2s")
		return broken("the API server", err)
	}); err != nil {
		return err
	}
	text, err := c.ask(ctx, a, "get", "u", "http://probe/")
	if err == nil && !strings.Contains(text, "probe-") {
		err = fmt.Errorf("it answers %q", text)
	}
	if err != nil {
		return fmt.Errorf("a Service by its name: %w", err)
	}
	if err := errors.Join(c.reaches(ctx, a, b), c.faults.CutPair(ctx, a.ref(), b.ref())); err != nil {
		return err
	}
	if err := errors.Join(broken("a pair that is cut", c.reaches(ctx, a, b)), c.reaches(ctx, a, d)); err != nil {
		return err
	}
	if err := errors.Join(c.faults.HealPair(ctx, a.ref(), b.ref()), c.faults.StartAPI(ctx)); err != nil {
		return err
	}
	return c.whole(ctx)
}

func (c *checker) healAll(ctx context.Context) error {
	a, b, d, err := c.three(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(
		c.faults.CutPod(ctx, a.ref()), c.faults.CutOneWay(ctx, b.ref(), d.ref()), c.faults.Freeze(ctx, b.ref(), ""),
		c.faults.StopAPI(ctx), c.faults.CutNode(ctx, "node2"), c.faults.CrashNode(ctx, "node3"),
	); err != nil {
		return err
	}
	if err := poll.Until(ctx, 5*time.Second, func(ctx context.Context) error { return c.expectFaults(ctx, 6) }); err != nil {
		return err
	}
	if err := c.faults.HealAll(ctx); err != nil {
		return err
	}
	return errors.Join(c.expectFaults(ctx, 0), c.whole(ctx))
}

// expectFaults compares what the injector lists with how much should be broken.
func (c *checker) expectFaults(ctx context.Context, want int) error {
	list, err := c.faults.List(ctx)
	if err == nil && len(list) != want {
		err = fmt.Errorf("%d faults, want %d: %q", len(list), want, list)
	}
	return err
}
