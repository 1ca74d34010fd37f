package registrycluster

import (
	"os"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	configv1alpha1 "github.com/muster-registry/muster/api/config/v1alpha1"
	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/controllers/desired"
)

// object is a RegistryCluster as somebody types it.
func object(name, spec string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	Expect(yaml.Unmarshal([]byte(spec), &u.Object)).To(Succeed())
	u.SetGroupVersionKind(musterv1alpha1.GroupVersion.WithKind(musterv1alpha1.KindRegistryCluster))
	u.SetName(name)
	u.SetNamespace("default")
	return u
}

var _ = Describe("admission", func() {
	// dry runs: the operator sees nothing of them
	create := func(ctx SpecContext, name, spec string) error {
		return client.WithFieldValidation(admin, metav1.FieldValidationStrict).Create(ctx, object(name, spec), client.DryRunAll)
	}

	DescribeTable("refuses what cannot be, and names the field",
		func(ctx SpecContext, spec string, says ...string) {
			err := create(ctx, "registry", spec)
			Expect(err).To(Satisfy(func(err error) bool { return apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) }))
			for _, s := range says {
				Expect(err.Error()).To(ContainSubstring(s))
			}
		},
		Entry("negative replicas", `spec: {replicas: -1}`, "spec.replicas"),
		Entry("no replicas", `spec: {replicas: 0}`, "spec.replicas"),
		Entry("an empty image", `spec: {image: ""}`, "spec.image"),
		Entry("an unknown pull policy", `spec: {imagePullPolicy: Sometimes}`, "spec.imagePullPolicy"),
		Entry("an unknown field", `spec: {replicsa: 3}`, "spec.replicsa"),
		Entry("an unknown field deep inside", `spec: {timeouts: {pushWindows: 1s}}`, "spec.timeouts.pushWindows"),
		Entry("a single copy", `spec: {replicationFactor: 1}`, "spec.replicationFactor", "at least 2"),
		Entry("less than no copy", `spec: {replicationFactor: -2}`, "spec.replicationFactor", "at least 2"),
		Entry("an unknown source", `spec: {membership: {source: gossip}}`, "spec.membership.source"),
		Entry("an unknown log level", `spec: {logLevel: loud}`, "spec.logLevel"),
		Entry("no duration", `spec: {timeouts: {pushWindow: soon}}`, "spec.timeouts.pushWindow"),
		Entry("a negative duration", `spec: {timeouts: {pushWindow: -1s}}`, "spec.timeouts.pushWindow"),
		Entry("a timeout out of its range", `spec: {timeouts: {drainGrace: 2h}}`, "spec.timeouts.drainGrace", "between 5s and 1h"),
		Entry("a grace longer than its timeout", `spec: {timeouts: {silentConnectionGrace: 41s}}`, "timeouts.silentConnectionGrace", "timeouts.connectionGrace"),
		Entry("a refuted grace longer than the other", `spec: {timeouts: {refutedGrace: 6m}}`, "timeouts.refutedGrace", "timeouts.memberLossGrace"),
		Entry("removal before unhealthiness", `spec: {timeouts: {beatRemoveAfter: 15s}}`, "timeouts.beatUnhealthyAfter", "timeouts.beatRemoveAfter"),
		Entry("renewals too rare", `spec: {timeouts: {memberGoneAfter: 5s}}`, "timeouts.leaseRenewInterval", "timeouts.memberGoneAfter"),
		Entry("a loss before it is noticed", `spec: {timeouts: {memberGoneAfter: 5m, memberLossGrace: 1m}}`, "timeouts.memberGoneAfter", "timeouts.memberLossGrace"),
		Entry("a cold start that is quiet too long", `spec: {timeouts: {coldStartQuiet: 36s}}`, "timeouts.coldStartQuiet", "timeouts.coldStartLimit"),
		Entry("node ports that clients cannot compute", `spec: {service: {type: NodePort, nodePorts: {http: 30848, grpc: 31849}}}`, "spec.service.nodePorts", "nodePorts.grpc must be service.nodePorts.http + 1000"),
		Entry("node ports left to chance", `spec: {service: {type: NodePort}}`, "service.nodePorts is required"),
		Entry("node ports without nodes", `spec: {service: {nodePorts: {http: 30848}}}`, "service.nodePorts needs service.type"),
		Entry("an external name", `spec: {service: {type: ExternalName}}`, "spec.service.type"),
		Entry("no CIDR", `spec: {probing: {deny: [10.0.0.0]}}`, "spec.probing.deny"),
		Entry("no probe at all a second", `spec: {probing: {perSecond: 0}}`, "spec.probing.perSecond"),
		Entry("nothing may be lost", `spec: {protection: {servicePercent: 0}}`, "spec.protection.servicePercent"),
		Entry("more than everything", `spec: {protection: {registryPercent: 101}}`, "spec.protection.registryPercent"),
		Entry("nobody is enough", `spec: {protection: {minInstances: 0}}`, "spec.protection.minInstances"),
		Entry("no window", `spec: {protection: {window: 0s}}`, "protection.window must be between 1s and 1h"),
		Entry("a rate of nothing", `spec: {protection: {perSecond: 0}}`, "spec.protection.perSecond"),
		Entry("held for ever", `spec: {protection: {maxHold: 25h}}`, "protection.maxHold"),
		Entry("nobody asked a second", `spec: {rebalancing: {perSecond: 0}}`, "spec.rebalancing.perSecond"),
		Entry("the operator's labels", `spec: {podTemplate: {labels: {app.kubernetes.io/name: x}}}`, "podTemplate.labels"),
	)

	DescribeTable("refuses names of which no Service can be made",
		func(ctx SpecContext, name string) {
			Expect(create(ctx, name, "")).To(MatchError(ContainSubstring("metadata.name")))
		},
		Entry("a dot", "my.registry"),
		Entry("a digit first", "1registry"),
		Entry("too long", "a123456789a123456789a123456789a123456789a123456789abc"),
		Entry("that of an internal Service", "registry-internal"),
	)

	DescribeTable("takes",
		func(ctx SpecContext, spec string) { Expect(create(ctx, "registry", spec)).To(Succeed()) },
		Entry("nothing at all", ``),
		Entry("node ports with both", `spec: {service: {type: NodePort, nodePorts: {http: 30848, grpc: 31848}}}`),
		Entry("node ports with one", `spec: {service: {type: LoadBalancer, nodePorts: {http: 30848}}}`),
		Entry("a fraction of a second", `spec: {timeouts: {pushWindow: 0.5s}}`),
		Entry("no push window", `spec: {timeouts: {pushWindow: 0s}}`),
	)

	It("takes the samples", func(ctx SpecContext) {
		for _, file := range []string{"registrycluster.yaml", "registrycluster_full.yaml"} {
			data, err := os.ReadFile("../../config/samples/" + file)
			Expect(err).NotTo(HaveOccurred())
			Expect(create(ctx, "registry", string(data))).To(Succeed(), file)
		}
	})

	It("fills in the defaults of the design", func(ctx SpecContext) {
		for _, spec := range []string{"", "spec: {}", "spec: {timeouts: {}, probing: {}, protection: {}, rebalancing: {}, membership: {}}"} {
			u := object("registry", spec)
			Expect(admin.Create(ctx, u, client.DryRunAll)).To(Succeed())
			data, err := u.MarshalJSON()
			Expect(err).NotTo(HaveOccurred())
			c := &musterv1alpha1.RegistryCluster{}
			Expect(yaml.Unmarshal(data, c)).To(Succeed())
			Expect(c.Spec.Timeouts).To(Equal(configv1alpha1.DefaultTimeouts()), spec)
			Expect(desired.ServerConfig(c).Protection).To(Equal(configv1alpha1.DefaultProtection()), spec)
			Expect(c.Spec.Protection.ServicePercent).NotTo(BeZero(), spec)
			Expect(c.Spec.Replicas).To(HaveValue(Equal(desired.Replicas(&musterv1alpha1.RegistryCluster{}))))
			// What members of an object without defaults read is the same as with them.
			bare := &musterv1alpha1.RegistryCluster{ObjectMeta: c.ObjectMeta}
			Expect(desired.ServerConfig(c)).To(Equal(desired.ServerConfig(bare)))
			built, err := desired.Build(c, desired.Decision{Image: "i"})
			Expect(err).NotTo(HaveOccurred())
			Expect(desired.Build(bare, desired.Decision{Image: "i"})).To(Equal(built))
		}
	})

	It("does not let the source of membership change", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		c := newCluster(ctx, ns, "registry")
		c.Spec.Membership.Source = musterv1alpha1.MembershipEndpointSlice
		Expect(admin.Update(ctx, c)).To(MatchError(SatisfyAll(
			ContainSubstring("spec.membership.source"), ContainSubstring("cannot be changed"))))
	})
})
