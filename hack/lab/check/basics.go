package check

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/muster-registry/muster/hack/lab/poll"
)

// basics prove what every pod expects of a cluster.
func (c *checker) basics() []step {
	return []step{
		{"6 pods run, 2 on each of 3 nodes", c.deploy},
		{"pods answer this machine and each other", c.podNetwork},
		{"a Service spreads over its pods, from a pod and from this machine", c.service},
		{"names of Services resolve, others do not exist", c.dns},
		{"nothing leaves: no default route in the nodes, blackholes on the machine", c.closed},
		{"a pod calls the API server with its token", c.inClusterAPI},
		{"logs and exec go through the kubelet", c.kubelet},
		{"an unready pod leaves the Service and comes back", c.readiness},
		{"a container that ends is started again", c.restart},
		{"a pod that is deleted is replaced", c.replace},
	}
}

func (c *checker) deploy(ctx context.Context) error {
	if err := c.lab.Load(ctx, c.image); err != nil {
		return err
	}
	if _, err := c.kubectl(ctx, "apply", "--server-side", "-f", "-"); err != nil {
		return err
	}
	if err := c.whole(ctx); err != nil {
		return err
	}
	_, _, _, err := c.three(ctx)
	return err
}

func (c *checker) podNetwork(ctx context.Context) error {
	pods, err := c.pods(ctx)
	if err != nil {
		return err
	}
	for i, p := range pods {
		if _, err := c.ask(ctx, p, "", "", ""); err != nil {
			return err
		}
		if err := c.reaches(ctx, p, pods[(i+1)%len(pods)]); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) service(ctx context.Context) error {
	ip, err := c.kubectl(ctx, "-n", namespace, "get", "service", "probe", "-o", "jsonpath={.spec.clusterIP}")
	if err != nil {
		return err
	}
	a, _, _, err := c.three(ctx)
	if err != nil {
		return err
	}
	ways := map[string]func() (string, error){
		"this machine": func() (string, error) { return c.get(ctx, "http://"+ip+"/") },
		"a pod":        func() (string, error) { return c.ask(ctx, a, "get", "u", "http://"+ip+"/") },
	}
	for from, way := range ways {
		seen := map[string]bool{}
		for range 60 {
			text, err := way()
			if err != nil {
				return fmt.Errorf("from %s: %w", from, err)
			}
			seen[text] = true
		}
		// 60 requests miss one of 6 pods at random once in 10,000 times, and two of them never.
		if len(seen) < replicas-1 {
			return fmt.Errorf("from %s: 60 requests reached %d of %d pods", from, len(seen), replicas)
		}
	}
	return nil
}

func (c *checker) dns(ctx context.Context) error {
	ip, err := c.kubectl(ctx, "-n", namespace, "get", "service", "probe", "-o", "jsonpath={.spec.clusterIP}")
	if err != nil {
		return err
	}
	pods, err := c.pods(ctx)
	if err != nil {
		return err
	}
	for _, p := range pods {
		for _, name := range []string{"probe", "probe." + namespace, "probe." + namespace + ".svc.cluster.local"} {
			text, err := c.ask(ctx, p, "lookup", "n", name)
			if err == nil && strings.TrimSpace(text) != "["+ip+"]" {
				err = fmt.Errorf("it is %s, want %s", text, ip)
			}
			if err != nil {
				return fmt.Errorf("%s looks up %s: %w", p.node, name, err)
			}
		}
	}
	_, err = c.ask(ctx, pods[0], "lookup", "n", "nowhere.example.com")
	return broken("a name of the world outside", err)
}

func (c *checker) closed(ctx context.Context) error {
	for _, n := range c.lab.Nodes() {
		out, err := c.lab.Output(ctx, n, "", "ip", "route", "show", "default")
		if err != nil {
			return err
		}
		if out != "" {
			return fmt.Errorf("node %d has a default route: %s", n, out)
		}
	}
	a, _, _, err := c.three(ctx)
	if err != nil {
		return err
	}
	// The machine's own address on the bridge is the only one that a pod could go out through.
	for _, to := range []string{"http://192.0.2.1/", "http://203.0.113.7/"} {
		_, err := c.ask(ctx, a, "get", "u", to)
		if err := broken(to+" from a pod", err); err != nil {
			return err
		}
	}
	// A pod address that no node has.
	unused := c.lab.Config().PodRange(15).Addr().Next()
	_, err = c.get(ctx, "http://"+unused.String()+"/")
	return failsWith("a pod address that no node has", err, "invalid argument") // what a blackhole answers
}

func (c *checker) inClusterAPI(ctx context.Context) error {
	pods, err := c.pods(ctx)
	if err != nil {
		return err
	}
	for _, p := range pods {
		text, err := c.ask(ctx, p, "pods", "", "")
		if err == nil && !strings.Contains(text, `"PodList"`) {
			err = fmt.Errorf("the API server answers %q", text)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.node, err)
		}
	}
	return nil
}

func (c *checker) kubelet(ctx context.Context) error {
	_, _, p, err := c.three(ctx)
	if err != nil {
		return err
	}
	logs, err := c.kubectl(ctx, "-n", namespace, "logs", p.name)
	if err == nil && !strings.Contains(logs, "listening on") {
		err = fmt.Errorf("unexpected logs: %q", logs)
	}
	if err != nil {
		return err
	}
	// The image has no shell; that the kubelet says so shows that exec got there.
	_, err = c.kubectl(ctx, "-n", namespace, "exec", p.name, "--", "/no-such-program")
	return failsWith("exec of a program that is not there", err, "no such file")
}

func (c *checker) readiness(ctx context.Context) error {
	_, b, _, err := c.three(ctx)
	if err != nil {
		return err
	}
	if _, err := c.ask(ctx, b, "unready", "", ""); err != nil {
		return err
	}
	if err := c.serving(ctx, 15*time.Second, b.ip, false); err != nil {
		return err
	}
	if _, err := c.ask(ctx, b, "ready", "", ""); err != nil {
		return err
	}
	return c.serving(ctx, 15*time.Second, b.ip, true)
}

func (c *checker) restart(ctx context.Context) error {
	_, b, _, err := c.three(ctx)
	if err != nil {
		return err
	}
	_, err = c.ask(ctx, b, "exit", "", "")
	if err := broken("the answer of a process that ends", err); err != nil {
		return err
	}
	return c.restarted(ctx, b)
}

// restarted waits until the kubelet has started a pod's container once more, in the same pod.
func (c *checker) restarted(ctx context.Context, before pod) error {
	err := poll.Until(ctx, 60*time.Second, func(ctx context.Context) error {
		pods, err := c.pods(ctx)
		if err != nil {
			return err
		}
		for _, p := range pods {
			if p.name == before.name && p.ready && p.restarts > before.restarts && p.ip == before.ip {
				return nil
			}
		}
		return fmt.Errorf("%s is not back: %+v", before.name, pods)
	})
	if err != nil {
		return err
	}
	return c.serving(ctx, 15*time.Second, before.ip, true)
}

func (c *checker) replace(ctx context.Context) error {
	_, _, d, err := c.three(ctx)
	if err != nil {
		return err
	}
	if _, err := c.kubectl(ctx, "-n", namespace, "delete", "pod", d.name, "--wait=false"); err != nil {
		return err
	}
	if err := c.serving(ctx, 30*time.Second, d.ip, false); err != nil {
		return err
	}
	return c.whole(ctx)
}
