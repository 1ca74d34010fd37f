package e2e

import (
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-registry/muster/api/wellknown"
)

var _ = Describe("a pod without the cluster's certificate is never in the view (S2)", func() {
	It("when it runs the members' program with their configuration and rights", Label(labelShort), func(ctx SpecContext) {
		ns := kube.namespace(ctx, "intruder")
		r := newRegistry(ctx, ns, "registry", "{}")
		newRegistry(ctx, ns, "other", "{replicas: 1}") // whose key the intruder has
		pods := r.settled(ctx, 3)

		By("writing a Lease with the cluster's labels and UID")
		p := intruder(ctx, "leaseholder", pods[0])
		Expect(kube.Create(ctx, p)).To(Succeed())
		for _, m := range pods {
			Eventually(ctx, logs).WithArguments(ctx, m).Should(SatisfyAll(ContainSubstring("a Lease is ignored"), ContainSubstring(p.Name)))
		}
		stillThree(ctx, r, p)

		By("connecting to 9849 of every member, trusting their certificate and presenting its own")
		Expect(kube.Create(ctx, members(ns, pods))).To(Succeed())
		c := caller(ns, pods[0])
		Expect(kube.Create(ctx, c)).To(Succeed())
		for _, m := range pods {
			said := fmt.Sprintf(`"peer cannot be reached","address":"%s:%d","outcome":"rejected"`, m.Status.PodIP, wellknown.PortPeer)
			Eventually(ctx, logs).WithArguments(ctx, *c).Should(ContainSubstring(said))
		}
		text, err := logs(ctx, *c)
		Expect(err).NotTo(HaveOccurred())
		GinkgoWriter.Println(text)
		stillThree(ctx, r, p, c)
	}, SpecTimeout(10*time.Minute))
})

// intruder is a copy of a member that presents another cluster's certificate, and is not behind the Service.
func intruder(ctx SpecContext, name string, like corev1.Pod) *corev1.Pod {
	GinkgoHelper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: like.Namespace, Name: name}, Spec: *like.Spec.DeepCopy()}
	p.Spec.NodeName = ""
	swapped := false
	for i, v := range p.Spec.Volumes {
		if v.Secret != nil && v.Secret.SecretName == "registry-peer" {
			p.Spec.Volumes[i].Secret.SecretName, swapped = "other-peer", true
		}
	}
	Expect(swapped).To(BeTrue(), "the member's key is where it is looked for")
	return p
}

// members is the list of addresses that the caller reads.
func members(namespace string, pods []corev1.Pod) *corev1.ConfigMap {
	var list strings.Builder
	for _, p := range pods {
		fmt.Fprintf(&list, "%s:%d\n", p.Status.PodIP, wellknown.PortPeer)
	}
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "members"}, Data: map[string]string{"members": list.String()}}
}

// caller is a member by file, of the same list of members, that presents another cluster's certificate.
func caller(namespace string, like corev1.Pod) *corev1.Pod {
	c := *like.Spec.Containers[0].DeepCopy()
	c.Args = []string{"--members-file", "/members/members", "--tls-dir", wellknown.PeerTLSDir, "--log-level", "debug"}
	c.Lifecycle, c.ReadinessProbe, c.LivenessProbe = nil, nil, nil
	c.VolumeMounts = []corev1.VolumeMount{{Name: "members", MountPath: "/members"}, {Name: "peer", MountPath: wellknown.PeerTLSDir}}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "caller"},
		Spec: corev1.PodSpec{
			SecurityContext: like.Spec.SecurityContext, Containers: []corev1.Container{c},
			Volumes: []corev1.Volume{
				{Name: "members", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "members"}}}},
				{Name: "peer", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
					DefaultMode: ptr(int32(0o440)),
					Sources: []corev1.VolumeProjection{
						fromSecret("other-peer", wellknown.PeerCertFile, wellknown.PeerKeyFile), fromSecret("registry-peer", wellknown.PeerTrustedFile),
					},
				}}},
			},
		},
	}
}

func fromSecret(name string, keys ...string) corev1.VolumeProjection {
	s := &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: name}}
	for _, key := range keys {
		s.Items = append(s.Items, corev1.KeyToPath{Key: key, Path: key})
	}
	return corev1.VolumeProjection{Secret: s}
}

// stillThree shows that neither the members nor the operator count the intruders, and that these reach nobody.
func stillThree(ctx SpecContext, r registry, intruders ...*corev1.Pod) {
	GinkgoHelper()
	for _, p := range r.settled(ctx, 3) {
		Expect(restarts(p)).To(BeZero())
	}
	for _, i := range intruders {
		Eventually(ctx, metrics).WithArguments(ctx, *i).Should(HaveKeyWithValue("muster_member_peers_connected", 0.0), i.Name)
	}
	c, err := r.get(ctx)
	Expect(err).NotTo(HaveOccurred())
	for _, m := range c.Status.Members {
		for _, i := range intruders {
			Expect(m.Name).NotTo(Equal(i.Name))
		}
	}
}

// logs are what a pod's container has printed since it was started.
func logs(ctx SpecContext, p corev1.Pod) (string, error) {
	text, err := kube.set.CoreV1().Pods(p.Namespace).GetLogs(p.Name, &corev1.PodLogOptions{}).DoRaw(ctx)
	return string(text), client.IgnoreNotFound(err)
}
