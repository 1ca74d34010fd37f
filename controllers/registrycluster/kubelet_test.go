package registrycluster

import (
	"context"
	"fmt"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
	"github.com/muster-registry/muster/controllers/desired"
)

// kubelet plays what makes pods of a Deployment, runs them, and what the registry in them would write.
type kubelet struct {
	cluster *musterv1alpha1.RegistryCluster
	set     *appsv1.ReplicaSet
	pods    []*corev1.Pod
	leases  []*coordinationv1.Lease
}

// run makes the pods of the Deployment's present template, with a Lease each, and says that they are ready.
func run(ctx context.Context, c *musterv1alpha1.RegistryCluster) *kubelet {
	GinkgoHelper()
	k := &kubelet{cluster: c}
	d := &appsv1.Deployment{}
	Eventually(func() error { return admin.Get(ctx, client.ObjectKeyFromObject(c), d) }).Should(Succeed())
	k.set = &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{GenerateName: c.Name + "-", Namespace: c.Namespace, Labels: d.Spec.Template.Labels},
		Spec:       appsv1.ReplicaSetSpec{Replicas: d.Spec.Replicas, Selector: d.Spec.Selector, Template: d.Spec.Template},
	}
	k.set.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(d, appsv1.SchemeGroupVersion.WithKind("Deployment"))}
	Expect(admin.Create(ctx, k.set)).To(Succeed())
	for i := range int(*d.Spec.Replicas) {
		k.pods = append(k.pods, k.startPod(ctx, i))
		k.leases = append(k.leases, k.writeLease(ctx, k.pods[i]))
	}
	k.reportReady(ctx, *d.Spec.Replicas)
	return k
}

func (k *kubelet) startPod(ctx context.Context, i int) *corev1.Pod {
	GinkgoHelper()
	p := &corev1.Pod{ObjectMeta: k.set.Spec.Template.ObjectMeta, Spec: k.set.Spec.Template.Spec}
	p.Namespace, p.Name = k.cluster.Namespace, fmt.Sprintf("%s-%d", k.set.Name, i)
	p.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(k.set, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))}
	Expect(admin.Create(ctx, p)).To(Succeed())
	p.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: "10.0.0." + strconv.Itoa(i+1), PodIPs: []corev1.PodIP{{IP: "10.0.0." + strconv.Itoa(i+1)}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}},
	}
	Expect(admin.Status().Update(ctx, p)).To(Succeed())
	return p
}

func (k *kubelet) writeLease(ctx context.Context, p *corev1.Pod) *coordinationv1.Lease {
	GinkgoHelper()
	l := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: p.Namespace, Name: p.Name,
			Labels: map[string]string{wellknown.LabelCluster: k.cluster.Name, wellknown.LabelClusterUID: string(k.cluster.UID)},
			Annotations: map[string]string{
				wellknown.AnnotationPodUID:      string(p.UID),
				wellknown.AnnotationPeerAddress: p.Status.PodIP + ":9849",
				wellknown.AnnotationZone:        "a",
				wellknown.AnnotationVersion:     "v1",
				wellknown.AnnotationState:       musterv1alpha1.MemberComplete,
			},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: p.Name, UID: p.UID}},
		},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: new("incarnation-" + p.Name), RenewTime: &metav1.MicroTime{Time: time.Now()}},
	}
	Expect(admin.Create(ctx, l)).To(Succeed())
	return l
}

// renew renews all Leases, with a change of the annotations if there is one.
func (k *kubelet) renew(ctx context.Context, annotations map[string]string) {
	GinkgoHelper()
	for _, l := range k.leases {
		old := l.DeepCopy()
		for name, value := range annotations {
			l.Annotations[name] = value
		}
		l.Annotations[wellknown.AnnotationSignature] = strconv.FormatInt(time.Now().UnixNano(), 36)
		l.Spec.RenewTime = &metav1.MicroTime{Time: time.Now()}
		Expect(admin.Patch(ctx, l, client.MergeFrom(old))).To(Succeed())
	}
}

// keepRenewing renews until the test is over.
func (k *kubelet) keepRenewing() {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				for _, l := range k.leases {
					patch := fmt.Sprintf(`{"spec":{"renewTime":%q}}`, time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"))
					err := admin.Patch(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: l.Namespace, Name: l.Name}},
						client.RawPatch("application/merge-patch+json", []byte(patch)))
					if err != nil && ctx.Err() == nil && !apierrors.IsNotFound(err) {
						return
					}
				}
			}
		}
	}()
	DeferCleanup(func() { stop(); <-done })
}

// reportReady writes the status that the Deployment controller would.
func (k *kubelet) reportReady(ctx context.Context, ready int32) {
	GinkgoHelper()
	d := get(ctx, k.cluster.Namespace, k.cluster.Name, &appsv1.Deployment{})
	n := *d.Spec.Replicas
	d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: n, UpdatedReplicas: n, ReadyReplicas: ready, AvailableReplicas: ready}
	Expect(admin.Status().Update(ctx, d)).To(Succeed())
}

// secret of the cluster with the peer key.
func (k *kubelet) key(ctx context.Context) desired.PeerKey {
	GinkgoHelper()
	return desired.ReadPeerKey(get(ctx, k.cluster.Namespace, desired.SecretName(k.cluster.Name), &corev1.Secret{}))
}
