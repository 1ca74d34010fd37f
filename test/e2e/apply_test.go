package e2e

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
)

var _ = Describe("a RegistryCluster", func() {
	for _, source := range []musterv1alpha1.MembershipSource{musterv1alpha1.MembershipLease, musterv1alpha1.MembershipEndpointSlice} {
		labels := Label()
		if source == musterv1alpha1.MembershipLease {
			labels = Label(labelShort)
		}
		It("is applied, becomes Available, is used, and leaves nothing when it is deleted, with membership by "+string(source), labels, func(ctx SpecContext) {
			ns := kube.namespace(ctx, "apply")
			occupy(ctx)
			began := time.Now()
			r := newRegistry(ctx, ns, "registry", "{membership: {source: "+string(source)+"}}")
			pods := r.settled(ctx, 3)
			step(began, "from apply to 3 members that agree")
			nodes := map[string]bool{}
			for _, p := range pods {
				nodes[p.Spec.NodeName] = true
			}
			Expect(nodes).To(HaveLen(3), "each member is on a node of its own")

			By("registering through one pod: the others push it")
			c := newClients(ns)
			for i, p := range pods {
				c.consumer(ctx, "consumer-"+p.Name, direct(p), "demo", i+1)
			}
			for i, p := range pods {
				name := "provider-" + p.Name
				addresses := c.provider(ctx, name, direct(p), "demo", 1+i%2)
				c.told(ctx, 6, addresses...)
				c.stop(ctx, name)
				c.told(ctx, 6)
			}

			By("deleting it")
			removed, err := r.get(ctx)
			Expect(err).NotTo(HaveOccurred())
			Expect(kube.Delete(ctx, removed)).To(Succeed())
			c.remove(ctx)
			Eventually(ctx, func() []string { return own(inventory(ctx, ns)) }).Should(BeEmpty())
		}, SpecTimeout(12*time.Minute))
	}

	It("lives beside another one in its namespace", Label(labelShort), func(ctx SpecContext) {
		ns := kube.namespace(ctx, "two")
		a := newRegistry(ctx, ns, "a", "{replicas: 2}")
		b := newRegistry(ctx, ns, "b", "{replicas: 2, membership: {source: endpointslice}}")
		a.settled(ctx, 2)
		podsOfB := b.settled(ctx, 2)

		atA, atB := newClients(ns), newClients(ns)
		ofA := atA.provider(ctx, "provider-a", a.server(), "demo", 1)
		ofB := atB.provider(ctx, "provider-b", b.server(), "demo", 2)
		atA.consumer(ctx, "consumer-a", a.server(), "demo", 2)
		atB.consumer(ctx, "consumer-b", b.server(), "demo", 2)
		atA.told(ctx, 2, ofA...)
		atB.told(ctx, 2, ofB...)
		atB.Hold(ofB...)

		By("deleting one: the other does not notice")
		kube.kubectl(ctx, "-n", ns, "delete", "rgc", "a")
		Eventually(ctx, func() ([]string, error) {
			pods, err := a.pods(ctx)
			return podNames(pods), err
		}).Should(BeEmpty())
		Expect(podNames(b.settled(ctx, 2))).To(Equal(podNames(podsOfB)))
		Expect(atB.Violations()).To(BeEmpty())
		Expect(atB.Lost()).To(BeZero())
	}, SpecTimeout(10*time.Minute))
})

var _ = DescribeTable("bad input is refused at admission, and the field is named",
	Label(labelShort),
	func(ctx SpecContext, spec, says string) {
		_, err := kube.try(ctx, manifest("bad", spec), "apply", "--dry-run=server", "-n", "default", "-f", "-")
		Expect(err).To(MatchError(ContainSubstring(says)))
	},
	Entry("replicas below zero", "{replicas: -1}", "spec.replicas"),
	Entry("an empty image", `{image: ""}`, "spec.image"),
	Entry("a grace longer than its timeout", "{timeouts: {silentConnectionGrace: 1h}}", "timeouts.silentConnectionGrace must not be longer than timeouts.connectionGrace"),
	Entry("an unknown field", "{replica: 3}", `unknown field "spec.replica"`),
	Entry("a node port without its pair", "{service: {type: NodePort, nodePorts: {http: 30000, grpc: 30001}}}", "service.nodePorts.grpc must be service.nodePorts.http + 1000"),
)
