package e2e

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
)

const (
	providers, each       = 5, 10 // pods, and instances of each: 50
	consumers, subscriber = 4, 5  // pods, and SDK clients of each: 20
	subscribers           = consumers * subscriber
)

// load is a registry of three members with 50 instances that 20 subscribers watch. Each of the 25 clients has a connection
// of its own, by way of the Service.
type load struct {
	registry
	*clients
	late int
}

func newLoad(ctx SpecContext, source musterv1alpha1.MembershipSource) *load {
	GinkgoHelper()
	ns := kube.namespace(ctx, "load")
	l := &load{
		registry: newRegistry(ctx, ns, "registry", "{membership: {source: "+string(source)+"}}"),
		clients:  newClients(ns),
	}
	l.settled(ctx, 3)
	var pods []*corev1.Pod
	for i := range providers {
		pods = append(pods, l.startProvider(ctx, fmt.Sprintf("provider-%d", i), l.server(), "demo", each))
	}
	var registered []string
	for _, p := range pods {
		registered = append(registered, l.instances(ctx, p, each)...)
	}
	l.holds(ctx, "demo", len(registered))
	l.Hold(registered...) // before anybody subscribes: the very first lists are judged too
	for i := range consumers {
		l.consumer(ctx, fmt.Sprintf("consumer-%d", i), l.server(), "demo", subscriber)
	}
	l.told(ctx, subscribers, registered...)
	return l
}

// unharmed shows that no list lacked anything, and that this is not because nothing is told any more: a further instance
// is, to everybody.
func (l *load) unharmed(ctx SpecContext, watchers int) {
	GinkgoHelper()
	l.late++
	further := l.provider(ctx, fmt.Sprintf("late-%d", l.late), l.server(), "demo", 1)
	registered := append(l.Held(), further...)
	l.told(ctx, watchers, registered...)
	l.Hold(registered...)
	l.holds(ctx, "demo", len(registered))
	GinkgoWriter.Printf("%d lists were told so far, %d connections made, %d lost\n", l.Lists(), l.Connected(), l.Lost())
	Expect(l.Violations()).To(BeEmpty())
}

// loses does something that a member does not survive, and waits until its clients are elsewhere.
func (l *load) loses(ctx SpecContext, p corev1.Pod, how func(SpecContext, corev1.Pod)) {
	GinkgoHelper()
	m, err := metrics(ctx, p)
	Expect(err).NotTo(HaveOccurred())
	before := l.Connected()
	GinkgoWriter.Printf("%s goes, with %v connections\n", p.Name, m["muster_session_connections"])
	how(ctx, p)
	if m["muster_session_connections"] > 0 {
		Eventually(ctx, l.Connected).Should(BeNumerically(">", before))
	}
}

var _ = Describe("while 50 instances are registered and 20 subscribers watch, no subscriber sees fewer", func() {
	for _, source := range []musterv1alpha1.MembershipSource{musterv1alpha1.MembershipLease, musterv1alpha1.MembershipEndpointSlice} {
		Context("membership by "+string(source), Ordered, ContinueOnFailure, func() {
			short := Label()
			if source == musterv1alpha1.MembershipLease {
				short = Label(labelShort)
			}
			var l *load
			BeforeAll(func(ctx SpecContext) { l = newLoad(ctx, source) }, NodeTimeout(10*time.Minute))

			It("when each member is killed in turn", short, func(ctx SpecContext) {
				for _, p := range l.settled(ctx, 3) {
					l.loses(ctx, p, l.kill)
					l.settled(ctx, 3)
				}
				l.unharmed(ctx, subscribers)
			}, SpecTimeout(12*time.Minute))

			It("when each member's pod is deleted in turn, with no grace period", func(ctx SpecContext) {
				for _, p := range l.settled(ctx, 3) {
					l.loses(ctx, p, l.wipe)
					l.settled(ctx, 3)
				}
				l.unharmed(ctx, subscribers)
			}, SpecTimeout(12*time.Minute))

			It("when it is scaled from 3 to 5 to 2", short, func(ctx SpecContext) {
				for _, n := range []int{5, 2} {
					kube.kubectl(ctx, "-n", l.registry.namespace, "scale", "rgc/registry", fmt.Sprintf("--replicas=%d", n))
					l.settled(ctx, n)
				}
				l.unharmed(ctx, subscribers)
				kube.kubectl(ctx, "-n", l.registry.namespace, "scale", "rgc/registry", "--replicas=3")
				l.settled(ctx, 3)
			}, SpecTimeout(12*time.Minute))

			It("when a timeout is changed", func(ctx SpecContext) {
				before := podNames(l.settled(ctx, 3))
				kube.kubectl(ctx, "-n", l.registry.namespace, "patch", "rgc/registry", "--type=merge", "-p", `{"spec":{"timeouts":{"refutedGrace":"50s"}}}`)
				l.replaced(ctx, before, subscribers)
			}, SpecTimeout(12*time.Minute))

			It("when the replication factor is changed to 2, a member dies, and it is changed back", func(ctx SpecContext) {
				for _, factor := range []int{2, 0} {
					before := podNames(l.settled(ctx, 3))
					kube.kubectl(ctx, "-n", l.registry.namespace, "patch", "rgc/registry", "--type=merge", "-p",
						fmt.Sprintf(`{"spec":{"replicationFactor":%d}}`, factor))
					pods := l.replaced(ctx, before, subscribers)
					if factor > 0 {
						l.loses(ctx, pods[0], l.kill)
						l.settled(ctx, 3)
						l.unharmed(ctx, subscribers)
					}
				}
			}, SpecTimeout(12*time.Minute))

			It("when the image is changed", func(ctx SpecContext) {
				if kube.nextImage == "" {
					Skip("MUSTER_E2E_NEXT_IMAGE names no image to change to")
				}
				before := podNames(l.settled(ctx, 3))
				kube.kubectl(ctx, "-n", l.registry.namespace, "patch", "rgc/registry", "--type=merge", "-p", `{"spec":{"image":"`+kube.nextImage+`"}}`)
				for _, p := range l.replaced(ctx, before, subscribers) {
					Expect(p.Spec.Containers[0].Image).To(Equal(kube.nextImage))
				}
			}, SpecTimeout(12*time.Minute))

			It("when the operator is stopped, and a member dies meanwhile", func(ctx SpecContext) {
				pods := l.settled(ctx, 3)
				scaleOperator(ctx, 0)
				DeferCleanup(scaleOperator, 1)
				lost := l.Lost()
				l.unharmed(ctx, subscribers)
				Expect(l.Lost()).To(Equal(lost), "connections lost because the operator stopped")
				l.loses(ctx, pods[0], l.wipe)
				l.unharmed(ctx, subscribers)
				scaleOperator(ctx, 1)
				l.settled(ctx, 3)
				Expect(l.Violations()).To(BeEmpty())
			}, SpecTimeout(12*time.Minute))
		})
	}
})

// replaced waits until all members run in other pods than before, nothing being harmed.
func (l *load) replaced(ctx SpecContext, before []string, watchers int) []corev1.Pod {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		pods, err := l.pods(ctx)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(pods).To(HaveLen(3))
		for _, name := range podNames(pods) {
			g.Expect(before).NotTo(ContainElement(name))
		}
	}).Should(Succeed())
	pods := l.settled(ctx, 3)
	l.unharmed(ctx, watchers)
	return pods
}
