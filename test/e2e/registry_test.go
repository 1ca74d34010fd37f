package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
	"github.com/muster-registry/muster/hack/lab/fault"
)

// registry is one RegistryCluster.
type registry struct{ namespace, name string }

// newRegistry creates one; spec is YAML in one line, such as {replicas: 3}.
func newRegistry(ctx SpecContext, namespace, name, spec string) registry {
	GinkgoHelper()
	r := registry{namespace, name}
	r.set(ctx, spec)
	return r
}

func (r registry) set(ctx SpecContext, spec string) {
	GinkgoHelper()
	kube.apply(ctx, r.namespace, manifest(r.name, spec))
}

func manifest(name, spec string) string {
	return fmt.Sprintf("{apiVersion: registry.muster.dev/v1alpha1, kind: RegistryCluster, metadata: {name: %s}, spec: %s}", name, spec)
}

// server is the address that clients are given.
func (r registry) server() string {
	return r.name + "." + r.namespace + ":" + strconv.Itoa(wellknown.PortHTTP)
}

func (r registry) get(ctx context.Context) (*musterv1alpha1.RegistryCluster, error) {
	found := &musterv1alpha1.RegistryCluster{}
	return found, kube.Get(ctx, client.ObjectKey{Namespace: r.namespace, Name: r.name}, found)
}

// pods are its pods by name, without those that are going.
func (r registry) pods(ctx context.Context) ([]corev1.Pod, error) {
	list := &corev1.PodList{}
	err := kube.List(ctx, list, client.InNamespace(r.namespace), client.MatchingLabels{wellknown.LabelCluster: r.name})
	pods := slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return pods, err
}

// settled waits until the operator and every member say that it has n members which agree, and returns their pods.
func (r registry) settled(ctx SpecContext, n int) []corev1.Pod {
	GinkgoHelper()
	began := time.Now()
	var pods []corev1.Pod
	Eventually(ctx, func(g Gomega) {
		r.asked(ctx, g, n)
		var err error
		pods, err = r.pods(ctx)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(pods).To(HaveLen(n))
		for _, p := range pods {
			m, err := metrics(ctx, p)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(m).To(HaveKeyWithValue("muster_member_view_members", float64(n)), p.Name)
			g.Expect(m).To(HaveKeyWithValue("muster_member_peers_connected", float64(n-1)), p.Name)
			g.Expect(m).To(HaveKeyWithValue("muster_member_dirty", 0.0), p.Name)
			g.Expect(m).To(HaveKeyWithValue("muster_member_ready", 1.0), p.Name)
		}
	}).Should(Succeed())
	step(began, "%s has %d members that agree", r.name, n)
	return pods
}

// asked checks that the status says of the newest spec that n members are there.
func (r registry) asked(ctx context.Context, g Gomega, n int) {
	c, err := r.get(ctx)
	g.Expect(err).NotTo(HaveOccurred())
	says := func(condition string) bool { return meta.IsStatusConditionTrue(c.Status.Conditions, condition) }
	g.Expect(c.Status.ObservedGeneration).To(Equal(c.Generation))
	g.Expect(says(musterv1alpha1.ConditionAvailable)).To(BeTrue(), "%+v", c.Status.Conditions)
	g.Expect(says(musterv1alpha1.ConditionProgressing)).To(BeFalse(), "%+v", c.Status.Conditions)
	g.Expect(says(musterv1alpha1.ConditionDegraded)).To(BeFalse(), "%+v", c.Status.Conditions)
	g.Expect(*c.Spec.Replicas).To(BeEquivalentTo(n))
	g.Expect(c.Status.ReadyReplicas).To(BeEquivalentTo(n))
	g.Expect(c.Status.Members).To(HaveLen(n))
	for _, m := range c.Status.Members {
		g.Expect(m.State).To(Equal(musterv1alpha1.MemberComplete), m.Name)
	}
}

// holds waits until every member lists n instances of a service, over HTTP.
func (r registry) holds(ctx SpecContext, service string, n int) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		pods, err := r.pods(ctx)
		g.Expect(err).NotTo(HaveOccurred())
		for _, p := range pods {
			got, err := instances(ctx, p, service)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(got).To(HaveLen(n), p.Name)
		}
	}).Should(Succeed())
}

// instances asks one member for a service by HTTP v1.
func instances(ctx context.Context, p corev1.Pod, service string) ([]string, error) {
	body, err := ask(ctx, p, wellknown.PortHTTP, "/nacos/v1/ns/instance/list", map[string]string{"serviceName": service})
	if err != nil {
		return nil, err
	}
	var list struct {
		Hosts []struct {
			IP   string
			Port int
		}
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("%w: %s", err, body)
	}
	var out []string
	for _, h := range list.Hosts {
		out = append(out, fmt.Sprintf("%s:%d", h.IP, h.Port))
	}
	return out, nil
}

// ask sends a GET to a pod through the API server.
func ask(ctx context.Context, p corev1.Pod, port int, path string, query map[string]string) ([]byte, error) {
	return kube.set.CoreV1().Pods(p.Namespace).ProxyGet("http", p.Name, strconv.Itoa(port), path, query).DoRaw(ctx)
}

// metrics reads a member's metrics and adds up those of one name.
func metrics(ctx context.Context, p corev1.Pod) (map[string]float64, error) {
	body, err := ask(ctx, p, wellknown.PortAdmin, wellknown.PathMetrics, nil)
	if err != nil {
		return nil, err
	}
	return sums(body), nil
}

func sums(body []byte) map[string]float64 {
	sum := map[string]float64{}
	for lines := bufio.NewScanner(bytes.NewReader(body)); lines.Scan(); {
		line := lines.Text()
		space := strings.LastIndex(line, " ")
		if strings.HasPrefix(line, "#") || space < 0 {
			continue
		}
		value, err := strconv.ParseFloat(line[space+1:], 64)
		if err != nil {
			continue
		}
		name, _, _ := strings.Cut(line[:space], "{")
		sum[name] += value
	}
	return sum
}

// kill ends a member without warning, and waits until it is replaced: in the same pod on the lab, by another pod elsewhere.
func (r registry) kill(ctx SpecContext, p corev1.Pod) {
	GinkgoHelper()
	if kube.faults == nil {
		r.wipe(ctx, p)
		return
	}
	Expect(kube.faults.Kill(ctx, fault.Pod{Namespace: p.Namespace, Name: p.Name}, "")).To(Succeed())
	Eventually(ctx, func(g Gomega) {
		now := &corev1.Pod{}
		g.Expect(kube.Get(ctx, client.ObjectKeyFromObject(&p), now)).To(Succeed())
		g.Expect(restarts(*now)).To(BeNumerically(">", restarts(p)))
	}).Should(Succeed())
}

// wipe deletes a pod with no grace, and waits until it is gone.
func (r registry) wipe(ctx SpecContext, p corev1.Pod) {
	GinkgoHelper()
	Expect(kube.Delete(ctx, &p, client.GracePeriodSeconds(0))).To(Succeed())
	Eventually(ctx, func(g Gomega) {
		now := &corev1.Pod{}
		err := kube.Get(ctx, client.ObjectKeyFromObject(&p), now)
		g.Expect(client.IgnoreNotFound(err)).To(Succeed())
		g.Expect(err == nil && now.UID == p.UID).To(BeFalse(), "the pod is still there")
	}).Should(Succeed())
}

func restarts(p corev1.Pod) int32 {
	var n int32
	for _, c := range p.Status.ContainerStatuses {
		n += c.RestartCount
	}
	return n
}

func condition(c *musterv1alpha1.RegistryCluster, kind string) string {
	if found := meta.FindStatusCondition(c.Status.Conditions, kind); found != nil {
		return string(found.Status)
	}
	return ""
}
