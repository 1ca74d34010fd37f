package registrycluster

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
	"github.com/muster-registry/muster/controllers/desired"
)

var _ = Describe("a RegistryCluster", func() {
	SetDefaultEventuallyTimeout(30 * time.Second)

	It("gets its children, all owned by it", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		c := newCluster(ctx, ns, "registry")
		k := run(ctx, c)
		for _, obj := range children("registry") {
			get(ctx, ns, obj.GetName(), obj)
			Expect(metav1.IsControlledBy(obj, c)).To(BeTrue(), "%T %s", obj, obj.GetName())
			Expect(obj.GetLabels()).To(HaveKeyWithValue(wellknown.LabelClusterUID, string(c.UID)))
		}
		d := get(ctx, ns, "registry", &appsv1.Deployment{})
		Expect(d.Spec.Template.Spec.Containers[0].Image).To(Equal(defaultImage))
		Expect(k.key(ctx).Validate()).To(Succeed())
		Eventually(reasons).WithArguments(ctx, c).Should(ContainElements("ChildrenChanged", "PeerKeyCreated"))
	})

	It("reports what runs", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		c := newCluster(ctx, ns, "registry")
		k := run(ctx, c)
		k.keepRenewing()
		Eventually(status).WithArguments(ctx, c).Should(SatisfyAll(
			HaveField("Replicas", int32(3)), HaveField("ReadyReplicas", int32(3)), HaveField("MemberCount", int32(3)),
			HaveField("Version", "v1"),
			HaveField("Selector", desired.Selector("registry")),
			HaveField("Endpoints.HTTP", "registry."+ns+".svc:8848"),
			HaveField("Endpoints.GRPC", "registry."+ns+".svc:9848"),
			HaveField("ObservedGeneration", int64(1)),
		))
		Expect(status(ctx, c).Members[0]).To(Equal(musterv1alpha1.Member{
			Name: k.pods[0].Name, Incarnation: "incarnation-" + k.pods[0].Name, Address: "10.0.0.1:9849", Zone: "a", State: "complete", Version: "v1",
		}))
		Eventually(conditions).WithArguments(ctx, c).Should(Equal(map[string]string{
			"Available": "True/MembersReady", "Progressing": "False/Settled", "Degraded": "False/AsExpected",
			"MembersConverged": "True/InSync", "ProtectionActive": "False/NothingHeld", "Paused": "False/NotPaused",
		}))
		for _, condition := range status(ctx, c).Conditions {
			Expect(condition.ObservedGeneration).To(Equal(int64(1)), condition.Type)
		}
	})

	It("says when members hold expiries back", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		c := newCluster(ctx, ns, "registry")
		k := run(ctx, c)
		Eventually(conditions).WithArguments(ctx, c).Should(HaveKeyWithValue("ProtectionActive", "False/NothingHeld"))
		k.renew(ctx, map[string]string{
			wellknown.AnnotationProtection: wellknown.ProtectionRegistry, wellknown.AnnotationProtectionUntil: "2026-01-01T12:05:00Z",
		})
		Eventually(conditions).WithArguments(ctx, c).Should(HaveKeyWithValue("ProtectionActive", "True/RegistryProtected"))
		Expect(condition(ctx, c, "ProtectionActive").Message).To(ContainSubstring("until 2026-01-01T12:05:00Z"))
		Eventually(reasons).WithArguments(ctx, c).Should(ContainElement("RegistryProtected"))
		k.renew(ctx, map[string]string{wellknown.AnnotationProtection: "", wellknown.AnnotationProtectionUntil: ""})
		Eventually(conditions).WithArguments(ctx, c).Should(HaveKeyWithValue("ProtectionActive", "False/NothingHeld"))
		Eventually(reasons).WithArguments(ctx, c).Should(ContainElement("ProtectionEnded"))
	})

	It("says when a member disagrees, is lost, or cannot start", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		c := newCluster(ctx, ns, "registry", func(c *musterv1alpha1.RegistryCluster) { c.Spec.Timeouts = quick() })
		k := run(ctx, c)
		Eventually(conditions).WithArguments(ctx, c).Should(HaveKeyWithValue("Progressing", "False/Settled"))
		k.renew(ctx, map[string]string{wellknown.AnnotationDirtyPeers: "true"})
		Eventually(conditions).WithArguments(ctx, c).Should(HaveKeyWithValue("MembersConverged", "False/DirtyPeers"))
		k.renew(ctx, map[string]string{wellknown.AnnotationDirtyPeers: "false"})
		Eventually(conditions).WithArguments(ctx, c).Should(HaveKeyWithValue("MembersConverged", "False/RecentlyDirty"))

		By("renewing no Lease any more")
		Eventually(conditions).WithArguments(ctx, c).Should(SatisfyAll(
			HaveKeyWithValue("MembersConverged", "Unknown/NoMembers"), HaveKeyWithValue("Degraded", "True/MemberSilent")))
		Expect(status(ctx, c).Members).To(BeEmpty())

		By("losing a ready pod")
		k.reportReady(ctx, 2)
		Eventually(conditions).WithArguments(ctx, c).Should(SatisfyAll(
			HaveKeyWithValue("Available", "True/MembersReady"), HaveKeyWithValue("Degraded", "True/MembersMissing"),
			HaveKeyWithValue("Progressing", "False/Settled")))

		By("a pod that cannot pull its image")
		p := k.pods[0]
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "registry", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"}},
		}}
		Expect(admin.Status().Update(ctx, p)).To(Succeed())
		Eventually(func(ctx context.Context) string { return condition(ctx, c, "Degraded").Message }).WithContext(ctx).
			Should(SatisfyAll(ContainSubstring(p.Name), ContainSubstring("ImagePullBackOff"), ContainSubstring("no such image")))

		By("losing all")
		k.reportReady(ctx, 0)
		Eventually(conditions).WithArguments(ctx, c).Should(HaveKeyWithValue("Available", "False/NoMemberReady"))
		Eventually(reasons).WithArguments(ctx, c).Should(ContainElements("Available", "Unavailable", "MemberSilent", "PodsFailing"))
	})

	It("counts only Leases of its own pods (S2)", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		c := newCluster(ctx, ns, "registry")
		k := run(ctx, c)
		stranger := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "stranger", Labels: k.pods[0].Labels},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "registry", Image: "evil"}}},
		}
		Expect(admin.Create(ctx, stranger)).To(Succeed())
		k.writeLease(ctx, stranger)
		k.renew(ctx, map[string]string{wellknown.AnnotationVersion: "v2"})
		Eventually(status).WithArguments(ctx, c).Should(HaveField("Version", "v2"))
		Expect(status(ctx, c).MemberCount).To(Equal(int32(3)))
	})

	It("writes nothing once it is settled", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		c := newCluster(ctx, ns, "registry", everything)
		k := run(ctx, c)
		k.keepRenewing()
		Eventually(conditions).WithArguments(ctx, c).Should(SatisfyAll(
			HaveKeyWithValue("Progressing", "False/Settled"), HaveKeyWithValue("MembersConverged", "True/InSync")))
		look(ctx, c) // what the cache did not know yet is known now
		before := requests.writesIn(ns)
		for range 5 {
			look(ctx, c)
		}
		Expect(requests.writesIn(ns)).To(Equal(before))
		Expect(before).NotTo(BeEmpty())
	})

	It("mends what somebody changed, and leaves alone what is not its own", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		c := newCluster(ctx, ns, "registry")
		run(ctx, c)
		s := get(ctx, ns, "registry", &corev1.Service{})
		s.Spec.Selector = map[string]string{"app": "mine"}
		s.Labels["team"] = "platform"
		Expect(admin.Update(ctx, s)).To(Succeed())
		Eventually(func(g Gomega, ctx context.Context) {
			g.Expect(admin.Get(ctx, client.ObjectKeyFromObject(s), s)).To(Succeed())
			g.Expect(s.Spec.Selector).To(Equal(desired.SelectorLabels("registry")))
		}).WithContext(ctx).Should(Succeed())
		Expect(s.Labels).To(HaveKeyWithValue("team", "platform"))

		Expect(admin.Delete(ctx, get(ctx, ns, "registry", &policyv1.PodDisruptionBudget{}))).To(Succeed())
		Eventually(func() error {
			return admin.Get(ctx, client.ObjectKeyFromObject(c), &policyv1.PodDisruptionBudget{})
		}).Should(Succeed())
	})

	It("rolls out a changed configuration, and keeps the old file as long as a pod uses it", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		c := newCluster(ctx, ns, "registry")
		k := run(ctx, c)
		Expect(configs(ctx, ns)).To(HaveLen(1))
		old := configs(ctx, ns)[0]
		change(ctx, c, func() { c.Spec.LogLevel = "debug" })
		Eventually(configs).WithArguments(ctx, ns).Should(HaveLen(2))
		Eventually(conditions).WithArguments(ctx, c).Should(HaveKeyWithValue("Progressing", "True/RollingOut"))
		look(ctx, c)
		Expect(configs(ctx, ns)).To(ContainElement(old))
		mounted := get(ctx, ns, "registry", &appsv1.Deployment{}).Spec.Template.Spec.Volumes[0].ConfigMap.Name
		Expect(mounted).NotTo(Equal(old))

		Expect(admin.Delete(ctx, k.set)).To(Succeed())
		for _, p := range k.pods {
			Expect(admin.Delete(ctx, p, client.GracePeriodSeconds(0))).To(Succeed())
		}
		Eventually(func(ctx context.Context) []string { look(ctx, c); return configs(ctx, ns) }).WithContext(ctx).Should(Equal([]string{mounted}))
	})

	It("scales through the scale subresource", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		c := newCluster(ctx, ns, "registry")
		k := run(ctx, c)
		Eventually(status).WithArguments(ctx, c).Should(HaveField("ReadyReplicas", int32(3)))
		scale := &autoscalingv1.Scale{}
		Expect(admin.SubResource("scale").Get(ctx, c, scale)).To(Succeed())
		Expect(scale.Spec.Replicas).To(Equal(int32(3)))
		Expect(scale.Status.Selector).To(Equal(desired.Selector("registry")))
		scale.Spec.Replicas = 5
		Expect(admin.SubResource("scale").Update(ctx, c, client.WithSubResourceBody(scale))).To(Succeed())
		Eventually(func(ctx context.Context) int32 { return *get(ctx, ns, "registry", &appsv1.Deployment{}).Spec.Replicas }).WithContext(ctx).Should(Equal(int32(5)))
		k.reportReady(ctx, 4)
		Eventually(conditions).WithArguments(ctx, c).Should(SatisfyAll(
			HaveKeyWithValue("Progressing", "True/MembersStarting"), HaveKeyWithValue("Degraded", "False/AsExpected")))
	})

	It("changes nothing while it is paused, and still says what it sees", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		c := newCluster(ctx, ns, "registry")
		k := run(ctx, c)
		change(ctx, c, func() { c.Annotations = map[string]string{wellknown.AnnotationPaused: "true"} })
		Eventually(conditions).WithArguments(ctx, c).Should(HaveKeyWithValue("Paused", "True/PausedByAnnotation"))
		change(ctx, c, func() { c.Spec.Replicas = new(int32(4)) })
		k.reportReady(ctx, 1)
		Eventually(status).WithArguments(ctx, c).Should(HaveField("ReadyReplicas", int32(1)))
		look(ctx, c)
		Expect(get(ctx, ns, "registry", &appsv1.Deployment{}).Spec.Replicas).To(HaveValue(Equal(int32(3))))
		Expect(status(ctx, c).ObservedGeneration).To(Equal(int64(1)))
		change(ctx, c, func() { c.Annotations = nil })
		Eventually(func(ctx context.Context) int32 { return *get(ctx, ns, "registry", &appsv1.Deployment{}).Spec.Replicas }).WithContext(ctx).Should(Equal(int32(4)))
		Eventually(reasons).WithArguments(ctx, c).Should(ContainElements("Paused", "Resumed"))
	})

	It("lives beside another one in its namespace", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		blue, green := newCluster(ctx, ns, "blue"), newCluster(ctx, ns, "green", func(c *musterv1alpha1.RegistryCluster) { c.Spec.Replicas = new(int32(1)) })
		run(ctx, blue)
		run(ctx, green)
		Eventually(status).WithArguments(ctx, blue).Should(HaveField("MemberCount", int32(3)))
		Eventually(status).WithArguments(ctx, green).Should(HaveField("MemberCount", int32(1)))
		for _, c := range []*musterv1alpha1.RegistryCluster{blue, green} {
			Expect(get(ctx, ns, c.Name, &corev1.Service{}).Spec.Selector).To(Equal(desired.SelectorLabels(c.Name)))
			for _, obj := range children(c.Name) {
				Expect(metav1.IsControlledBy(get(ctx, ns, obj.GetName(), obj), c)).To(BeTrue())
			}
		}
	})

	It("takes over nobody's object, and says which one stands in its way", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		foreign := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "registry"},
			Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "docker"}, Ports: []corev1.ServicePort{{Port: 5000, TargetPort: intstr.FromInt32(5000)}}},
		}
		Expect(admin.Create(ctx, foreign)).To(Succeed())
		c := newCluster(ctx, ns, "registry", func(c *musterv1alpha1.RegistryCluster) { c.Spec.Timeouts = quick() })
		Eventually(conditions).WithArguments(ctx, c).Should(SatisfyAll(
			HaveKeyWithValue("Degraded", "True/NameTaken"), HaveKeyWithValue("Progressing", "False/NameTaken")))
		Expect(condition(ctx, c, "Degraded").Message).To(ContainSubstring("Service registry"))
		Expect(get(ctx, ns, "registry", &corev1.Service{}).Spec.Selector).To(Equal(map[string]string{"app": "docker"}))
		Expect(admin.Delete(ctx, foreign)).To(Succeed())
		Eventually(conditions).WithArguments(ctx, c).Should(HaveKeyWithValue("Degraded", "False/AsExpected"))
	})

	It("leaves a Secret of its name alone that somebody else made", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "registry-peer"}, StringData: map[string]string{"tls.key": "theirs"}}
		Expect(admin.Create(ctx, foreign)).To(Succeed())
		c := newCluster(ctx, ns, "registry")
		Eventually(conditions).WithArguments(ctx, c).Should(HaveKeyWithValue("Degraded", "True/NameTaken"))
		Expect(get(ctx, ns, "registry-peer", &corev1.Secret{}).Data).To(Equal(map[string][]byte{"tls.key": []byte("theirs")}))
	})

	It("shows its columns to kubectl", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		c := newCluster(ctx, ns, "registry")
		run(ctx, c).keepRenewing()
		Eventually(conditions).WithArguments(ctx, c).Should(HaveKeyWithValue("MembersConverged", "True/InSync"))
		kubectl := exec.CommandContext(ctx, filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"), "--kubeconfig", kubeconfig, "-n", ns, "get", "rgc")
		out, err := kubectl.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), string(out))
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		Expect(strings.Fields(lines[0])).To(Equal([]string{"NAME", "READY", "DESIRED", "MEMBERS", "CONVERGED", "VERSION", "AGE"}))
		Expect(strings.Fields(lines[1])[:6]).To(Equal([]string{"registry", "3", "3", "3", "True", "v1"}))
	})

	It("takes its members from the pods where they write no Leases", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		c := newCluster(ctx, ns, "registry", func(c *musterv1alpha1.RegistryCluster) {
			c.Spec.Membership.Source = musterv1alpha1.MembershipEndpointSlice
		})
		k := run(ctx, c)
		Eventually(status).WithArguments(ctx, c).Should(SatisfyAll(
			HaveField("MemberCount", int32(3)), HaveField("Version", "v1"),
			HaveField("Members", ContainElement(musterv1alpha1.Member{Name: k.pods[1].Name, Address: "10.0.0.2:9849", State: "complete", Version: "v1"}))))
		Expect(conditions(ctx, c)).To(HaveKeyWithValue("MembersConverged", "Unknown/NotReported"))
		Expect(get(ctx, ns, "registry", &rbacv1.Role{}).Rules[0].Resources).To(Equal([]string{"endpointslices"}))
	})

	It("is stalled when a change is refused, and says which field", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		c := newCluster(ctx, ns, "registry", func(c *musterv1alpha1.RegistryCluster) {
			c.Spec.PodTemplate.Labels = map[string]string{"team": "not a label value"}
		})
		Eventually(conditions).WithArguments(ctx, c).Should(HaveKeyWithValue("Degraded", "True/Refused"))
		Expect(condition(ctx, c, "Degraded").Message).To(SatisfyAll(ContainSubstring("labels"), ContainSubstring("not a label value")))
	})
})

// children are the objects that a cluster of this name has, but for the ConfigMap.
func children(name string) []client.Object {
	named := metav1.ObjectMeta{Name: name}
	return []client.Object{
		&corev1.ServiceAccount{ObjectMeta: named}, &rbacv1.Role{ObjectMeta: named}, &rbacv1.RoleBinding{ObjectMeta: named},
		&corev1.Service{ObjectMeta: named}, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name + "-internal"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name + "-peer"}},
		&policyv1.PodDisruptionBudget{ObjectMeta: named}, &appsv1.Deployment{ObjectMeta: named},
	}
}

func configs(ctx context.Context, ns string) []string {
	GinkgoHelper()
	var list corev1.ConfigMapList
	Expect(admin.List(ctx, &list, client.InNamespace(ns), client.HasLabels{wellknown.LabelCluster})).To(Succeed())
	var names []string
	for _, c := range list.Items {
		names = append(names, c.Name)
	}
	return names
}

func status(ctx context.Context, c *musterv1alpha1.RegistryCluster) musterv1alpha1.RegistryClusterStatus {
	GinkgoHelper()
	return get(ctx, c.Namespace, c.Name, &musterv1alpha1.RegistryCluster{}).Status
}

func condition(ctx context.Context, c *musterv1alpha1.RegistryCluster, t string) metav1.Condition {
	GinkgoHelper()
	if found := meta.FindStatusCondition(status(ctx, c).Conditions, t); found != nil {
		return *found
	}
	return metav1.Condition{}
}

// conditions as status/reason by type.
func conditions(ctx context.Context, c *musterv1alpha1.RegistryCluster) map[string]string {
	GinkgoHelper()
	out := map[string]string{}
	for _, condition := range status(ctx, c).Conditions {
		out[condition.Type] = string(condition.Status) + "/" + condition.Reason
	}
	return out
}

// reasons of the Events of a cluster.
func reasons(ctx context.Context, c *musterv1alpha1.RegistryCluster) []string {
	GinkgoHelper()
	var list eventsv1.EventList
	Expect(admin.List(ctx, &list, client.InNamespace(c.Namespace))).To(Succeed())
	var out []string
	for _, e := range list.Items {
		if e.Regarding.Name == c.Name {
			out = append(out, e.Reason)
		}
	}
	return out
}

// change updates the object, again if the operator came in between.
func change(ctx context.Context, c *musterv1alpha1.RegistryCluster, f func()) {
	GinkgoHelper()
	Eventually(func() error {
		if err := admin.Get(ctx, client.ObjectKeyFromObject(c), c); err != nil {
			return err
		}
		f()
		return admin.Update(ctx, c)
	}).Should(Succeed())
}

// look makes the operator reconcile the cluster, and waits until it has. The first of the two may have begun before
// the change that asked for it.
func look(ctx context.Context, c *musterv1alpha1.RegistryCluster) {
	GinkgoHelper()
	for range 2 {
		before := requests.reconciles(c)
		change(ctx, c, func() {
			if c.Annotations == nil {
				c.Annotations = map[string]string{}
			}
			c.Annotations["test/look"] = strconv.Itoa(before)
		})
		Eventually(requests.reconciles).WithArguments(c).Should(BeNumerically(">", before))
	}
}
