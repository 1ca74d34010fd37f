package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/muster-registry/muster/hack/lab/fault"
	"github.com/muster-registry/muster/hack/lab/poll"
)

// pod is one probe.
type pod struct {
	name, ip, node string
	ready          bool
	restarts       int
}

func (p pod) ref() fault.Pod { return fault.Pod{Namespace: namespace, Name: p.name} }

// podList is the part of a list of pods that is looked at.
type podList struct {
	Items []struct {
		Metadata struct {
			Name              string
			DeletionTimestamp *string
		}
		Spec   struct{ NodeName string }
		Status struct {
			PodIP             string
			ContainerStatuses []struct {
				Ready        bool
				RestartCount int
			}
		}
	}
}

func (c *checker) kubectl(ctx context.Context, args ...string) (string, error) {
	cfg := c.lab.Config()
	cmd := exec.CommandContext(ctx, cfg.Bin("kubectl"), append([]string{"--kubeconfig", cfg.Kubeconfig()}, args...)...)
	if args[0] == "apply" {
		cmd.Stdin = strings.NewReader(manifest)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// pods lists the probes that are not on their way out, by name.
func (c *checker) pods(ctx context.Context) ([]pod, error) {
	out, err := c.kubectl(ctx, "-n", namespace, "get", "pods", "-l", "app=probe", "-o", "json")
	if err != nil {
		return nil, err
	}
	var list podList
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, err
	}
	var pods []pod
	for _, i := range list.Items {
		if i.Metadata.DeletionTimestamp != nil {
			continue
		}
		p := pod{name: i.Metadata.Name, ip: i.Status.PodIP, node: i.Spec.NodeName}
		for _, s := range i.Status.ContainerStatuses {
			p.ready, p.restarts = s.Ready, s.RestartCount
		}
		pods = append(pods, p)
	}
	return pods, nil
}

// on returns two probes of a node.
func (c *checker) on(ctx context.Context, node string) (a, b pod, err error) {
	pods, err := c.pods(ctx)
	if err != nil {
		return a, b, err
	}
	pods = slices.DeleteFunc(pods, func(p pod) bool { return p.node != node })
	if len(pods) < perNode {
		return a, b, fmt.Errorf("%d probes on %s, want %d", len(pods), node, perNode)
	}
	return pods[0], pods[1], nil
}

// three returns a probe of each of the first three nodes.
func (c *checker) three(ctx context.Context) (a, b, d pod, err error) {
	var errs [3]error
	a, _, errs[0] = c.on(ctx, "node1")
	b, _, errs[1] = c.on(ctx, "node2")
	d, _, errs[2] = c.on(ctx, "node3")
	return a, b, d, errors.Join(errs[:]...)
}

// endpoints are the addresses that the Service sends to.
func (c *checker) endpoints(ctx context.Context) ([]string, error) {
	out, err := c.kubectl(ctx, "-n", namespace, "get", "endpointslices", "-l", "kubernetes.io/service-name=probe", "-o",
		`jsonpath={range .items[*].endpoints[?(@.conditions.ready==true)]}{.addresses[0]}{"\n"}{end}`)
	return strings.Fields(out), err
}

// serving waits until the Service sends to the address, or no longer does.
func (c *checker) serving(ctx context.Context, patience time.Duration, ip string, want bool) error {
	return poll.Until(ctx, patience, func(ctx context.Context) error {
		list, err := c.endpoints(ctx)
		if err == nil && slices.Contains(list, ip) != want {
			err = fmt.Errorf("endpoints %v: %s among them, want %v", list, ip, want)
		}
		return err
	})
}

// whole waits until all probes serve.
func (c *checker) whole(ctx context.Context) error {
	return poll.Until(ctx, 90*time.Second, func(ctx context.Context) error {
		list, err := c.endpoints(ctx)
		if err == nil && len(list) != replicas {
			err = fmt.Errorf("%d endpoints, want %d", len(list), replicas)
		}
		return err
	})
}

// get fetches a URL from this machine.
func (c *checker) get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, resp.Status, strings.TrimSpace(string(text)))
	}
	return string(text), err
}

// ask asks a probe, by a path and one parameter.
func (c *checker) ask(ctx context.Context, p pod, path, key, value string) (string, error) {
	return c.get(ctx, fmt.Sprintf("http://%s:8080/%s?%s=%s", p.ip, path, key, url.QueryEscape(value)))
}

// reaches fetches one probe's page from inside another.
func (c *checker) reaches(ctx context.Context, from, to pod) error {
	text, err := c.ask(ctx, from, "get", "u", "http://"+to.ip+":8080/")
	if err == nil && !strings.Contains(text, to.name) {
		err = fmt.Errorf("%s answers %q to %s", to.name, text, from.name)
	}
	return err
}

// broken turns an error that should be there around.
func broken(what string, err error) error {
	if err == nil {
		return fmt.Errorf("%s works, and should not", what)
	}
	return nil
}

// failsWith checks that an error is there, and why.
func failsWith(what string, err error, text string) error {
	if err == nil {
		return broken(what, nil)
	}
	if !strings.Contains(err.Error(), text) {
		return fmt.Errorf("%s fails with another reason than %q: %w", what, text, err)
	}
	return nil
}

// nodeReady waits until a node has that Ready condition.
func (c *checker) nodeReady(ctx context.Context, node, want string) error {
	return poll.Until(ctx, 60*time.Second, func(ctx context.Context) error {
		got, err := c.kubectl(ctx, "get", "node", node, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`)
		if err == nil && got != want {
			err = fmt.Errorf("%s is Ready=%s, want %s", node, got, want)
		}
		return err
	})
}
