package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	mebibyte = 1 << 20
	// window is how long a steady state is looked at. Everything that comes back at all in it comes back far more often:
	// members renew every 2 s, the operator looks again after seconds.
	window = 30 * time.Second
)

var _ = Describe("a registry that nobody changes", Ordered, func() {
	var r registry
	BeforeAll(func(ctx SpecContext) {
		ns := kube.namespace(ctx, "idle")
		r = newRegistry(ctx, ns, "registry", "{}")
		r.settled(ctx, 3)
		Eventually(ctx, func(g Gomega) { // the last of its conditions to come true
			c, err := r.get(ctx)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(condition(c, "MembersConverged")).To(Equal("True"))
		}).Should(Succeed())
	}, NodeTimeout(5*time.Minute))

	It("makes no write to the API apart from renewals of Leases", func(ctx SpecContext) {
		// Others may write at the same time, so a quiet window is waited for; what writes all the time has none.
		Eventually(ctx, func(g Gomega) {
			objects, requests, operator := inventory(ctx, r.namespace), writes(ctx), operatorRequests(ctx)
			select {
			case <-time.After(window):
			case <-ctx.Done():
			}
			moved := changed(objects, inventory(ctx, r.namespace))
			renewed, others := split(moved, func(name string) bool { return strings.HasPrefix(name, "leases/") })
			g.Expect(renewed).To(HaveLen(3), "renewals that were seen")
			g.Expect(others).To(BeEmpty(), "objects of the namespace that changed")
			g.Expect(grown(requests, writes(ctx))).To(BeEmpty(), "requests that the API server counted")
			g.Expect(grown(operator, operatorRequests(ctx))).To(BeEmpty(), "requests that the operator counted")
		}).WithTimeout(10 * time.Minute).Should(Succeed())
	}, SpecTimeout(12*time.Minute))

	It("is small in memory, and so is its operator", func(ctx SpecContext) {
		pods, err := r.pods(ctx)
		Expect(err).NotTo(HaveOccurred())
		for _, p := range pods {
			Eventually(ctx, anonymous).WithArguments(ctx, p).Should(And(BeNumerically(">", 1*mebibyte), BeNumerically("<", 25*mebibyte)), p.Name)
		}
		list := &corev1.PodList{}
		Expect(kube.List(ctx, list, client.InNamespace(operatorNamespace))).To(Succeed())
		Expect(list.Items).To(HaveLen(1))
		Eventually(ctx, anonymous).WithArguments(ctx, list.Items[0]).Should(And(BeNumerically(">", 1*mebibyte), BeNumerically("<", 50*mebibyte)), "operator")
	}, SpecTimeout(5*time.Minute))
})

// changed are the objects that came, went, or are of another version.
func changed(before, after map[string]string) []string {
	var names []string
	for name := range before {
		if _, there := after[name]; !there {
			names = append(names, name)
		}
	}
	for name, version := range after {
		if before[name] != version {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func split(names []string, wanted func(string) bool) (in, out []string) {
	for _, name := range names {
		if wanted(name) {
			in = append(in, name)
		} else {
			out = append(out, name)
		}
	}
	return in, out
}

// written are the resources that the operator and the members may write, and Events; not Leases.
var written = []string{
	"registryclusters", "deployments", "services", "configmaps", "secrets", "serviceaccounts", "roles", "rolebindings",
	"poddisruptionbudgets", "events", "pods", "endpointslices", "replicasets",
}

// writes are the API server's counts of writing requests for these resources, also of those that changed nothing.
func writes(ctx context.Context) map[string]float64 {
	GinkgoHelper()
	body, err := kube.set.RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	Expect(err).NotTo(HaveOccurred())
	return samples(body, "apiserver_request_total", func(labels map[string]string) bool {
		return slices.Contains(written, labels["resource"]) && slices.Contains([]string{"POST", "PUT", "PATCH", "APPLY", "DELETE"}, labels["verb"])
	})
}

// operatorRequests are the operator's own counts of what it wrote. The leader's Lease is renewed by PUT; it uses PUT for nothing else.
func operatorRequests(ctx context.Context) map[string]float64 {
	GinkgoHelper()
	list := &corev1.PodList{}
	Expect(kube.List(ctx, list, client.InNamespace(operatorNamespace))).To(Succeed())
	Expect(list.Items).To(HaveLen(1))
	body, err := ask(ctx, list.Items[0], 8080, "/metrics", nil)
	Expect(err).NotTo(HaveOccurred())
	counts := samples(body, "rest_client_requests_total", func(labels map[string]string) bool {
		return slices.Contains([]string{"POST", "PATCH", "DELETE"}, labels["method"])
	})
	Expect(counts).NotTo(BeEmpty(), "the operator has made everything and counted nothing")
	return counts
}

// samples are those of one metric whose labels are wanted.
func samples(body []byte, name string, wanted func(map[string]string) bool) map[string]float64 {
	found := map[string]float64{}
	for line := range strings.SplitSeq(string(body), "\n") {
		text, ok := strings.CutPrefix(line, name+"{")
		end := strings.LastIndex(text, "} ")
		if !ok || end < 0 {
			continue
		}
		labels := map[string]string{}
		for pair := range strings.SplitSeq(text[:end], ",") {
			key, value, _ := strings.Cut(pair, "=")
			labels[key] = strings.Trim(value, `"`)
		}
		var value float64
		if _, err := fmt.Sscan(text[end+2:], &value); err == nil && wanted(labels) {
			found[text[:end]] = value
		}
	}
	return found
}

func grown(before, after map[string]float64) []string {
	var names []string
	for name, n := range after {
		if d := n - before[name]; d != 0 {
			names = append(names, fmt.Sprintf("%+.0f %s", d, name))
		}
	}
	slices.Sort(names)
	return names
}

// anonymous is the anonymous memory of a pod's container as its kubelet reports it.
func anonymous(ctx context.Context, p corev1.Pod) (int64, error) {
	raw, err := kube.set.RESTClient().Get().AbsPath("/api/v1/nodes", p.Spec.NodeName, "proxy/stats/summary").DoRaw(ctx)
	if err != nil {
		return 0, err
	}
	var summary struct {
		Pods []struct {
			PodRef     struct{ UID string }
			Containers []struct{ Memory struct{ RSSBytes int64 } }
		}
	}
	if err := json.Unmarshal(raw, &summary); err != nil {
		return 0, err
	}
	for _, found := range summary.Pods {
		if found.PodRef.UID != string(p.UID) {
			continue
		}
		var sum int64
		for _, c := range found.Containers {
			sum += c.Memory.RSSBytes
		}
		GinkgoWriter.Printf("%s: %.1f MiB of anonymous memory\n", p.Name, float64(sum)/mebibyte)
		return sum, nil
	}
	return 0, fmt.Errorf("the kubelet of %s says nothing about %s", p.Spec.NodeName, p.Name)
}
