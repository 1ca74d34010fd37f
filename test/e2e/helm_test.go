package e2e

import (
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-registry/muster/hack/helm"
)

var _ = Describe("the charts", func() {
	It("install, upgrade and uninstall, and the registry outlives the operator's", Label(labelShort), func(ctx SpecContext) {
		scaleOperator(ctx, 0) // the chart's does its work meanwhile
		DeferCleanup(scaleOperator, 1)
		system, ns := kube.namespace(ctx, "helm-system"), kube.namespace(ctx, "helm")
		run := helmRunner()
		colon := strings.LastIndex(kube.image, ":")
		operator := []string{
			"charts/muster", "--namespace", system, crds(ctx), "--wait", "--timeout", "5m",
			"--set", "image.repository=" + kube.image[:colon], "--set", "image.tag=" + kube.image[colon+1:], "--set", "namespaces={" + ns + "}",
		}
		DeferCleanup(func(ctx SpecContext) { // what is not in a namespace, when a step fails
			run(ctx, "uninstall", "e2e-helm", "--namespace", system, "--ignore-not-found")
		})
		run(ctx, append([]string{"install", "e2e-helm"}, operator...)...)
		run(ctx, "install", "registry", "charts/muster-cluster", "--namespace", ns)
		r := registry{ns, "registry"}
		r.settled(ctx, 3)

		c := newClients(ns)
		registered := c.provider(ctx, "provider", r.server(), "demo", 5)
		r.holds(ctx, "demo", len(registered))
		c.Hold(registered...)
		c.consumer(ctx, "consumer", r.server(), "demo", 3)
		c.told(ctx, 3, registered...)

		By("upgrading the operator's chart: it is another pod, the registry stays as it is")
		before := podNames(r.settled(ctx, 3))
		run(ctx, append(append([]string{"upgrade", "e2e-helm"}, operator...), "--set", "logLevel=debug")...)
		Expect(podNames(r.settled(ctx, 3))).To(Equal(before))
		Expect(c.Lost()).To(BeZero())

		By("upgrading the registry's chart: the members are replaced")
		run(ctx, "upgrade", "registry", "charts/muster-cluster", "--namespace", ns, "--set", "timeouts.refutedGrace=50s")
		l := &load{registry: r, clients: c}
		l.replaced(ctx, before, 3)

		By("uninstalling the operator's chart: the registry goes on")
		before, lost := podNames(r.settled(ctx, 3)), c.Lost()
		run(ctx, "uninstall", "e2e-helm", "--namespace", system, "--wait")
		err := kube.Get(ctx, client.ObjectKey{Namespace: system, Name: "e2e-helm-operator"}, &appsv1.Deployment{})
		Expect(err).To(MatchError(ContainSubstring("not found")))
		Expect(kube.Get(ctx, client.ObjectKey{Name: crdName}, &apiextensionsv1.CustomResourceDefinition{})).To(Succeed())
		l.unharmed(ctx, 3)
		pods, err := r.pods(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(podNames(pods)).To(Equal(before))
		Expect(c.Lost()).To(Equal(lost))

		By("uninstalling the registry's chart: with no operator there, nothing is left of it either")
		run(ctx, "uninstall", "registry", "--namespace", ns)
		c.remove(ctx)
		Eventually(ctx, func() []string { return own(inventory(ctx, ns)) }).Should(BeEmpty())
	}, SpecTimeout(15*time.Minute))
})

// crds says what to do about the CRD that is there: one that another release of the chart has stays with it.
func crds(ctx SpecContext) string {
	GinkgoHelper()
	crd := &apiextensionsv1.CustomResourceDefinition{}
	Expect(kube.Get(ctx, client.ObjectKey{Name: crdName}, crd)).To(Succeed())
	if crd.Annotations["meta.helm.sh/release-name"] != "" {
		return "--set=crds.install=false"
	}
	return "--take-ownership"
}

// helmRunner runs the pinned Helm and fails the spec when it fails.
func helmRunner() func(ctx SpecContext, args ...string) {
	GinkgoHelper()
	top, err := filepath.Abs(root)
	Expect(err).NotTo(HaveOccurred())
	runner := helm.Runner{Root: top, Kubeconfig: kube.kubeconfig}
	return func(ctx SpecContext, args ...string) {
		GinkgoHelper()
		out, err := runner.Run(ctx, args...)
		Expect(err).NotTo(HaveOccurred(), out)
	}
}
