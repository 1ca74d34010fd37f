package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/hack/lab/cluster"
	"github.com/muster-registry/muster/hack/lab/fault"
)

const (
	serverTag = "muster.local/muster:dev"
	nextTag   = "muster.local/muster:e2e-next"
	clientTag = "muster.local/muster-client:dev"
)

// clientLabels are on the pods of clients.
var clientLabels = labels.Set{"e2e": "client"}

// kubernetesCluster is a Kubernetes, with the means to look into it and to break it.
type kubernetesCluster struct {
	client.Client
	set        *kubernetes.Clientset
	kubeconfig string
	program    string // kubectl

	lab    *cluster.Lab    // nil elsewhere
	faults *fault.Injector // nil elsewhere

	image, nextImage, clientImage string

	mu         sync.Mutex // guards all below
	namespaces []string
}

// openKubernetes takes the cluster of KUBECONFIG, or else the lab.
func openKubernetes(ctx context.Context) *kubernetesCluster {
	GinkgoHelper()
	lab, err := cluster.Open(os.Getenv, GinkgoWriter)
	Expect(err).NotTo(HaveOccurred())
	k := &kubernetesCluster{
		kubeconfig: env("KUBECONFIG", lab.Config().Kubeconfig()), program: "kubectl",
		image: env("MUSTER_E2E_IMAGE", serverTag), nextImage: os.Getenv("MUSTER_E2E_NEXT_IMAGE"), clientImage: env("MUSTER_E2E_CLIENT_IMAGE", clientTag),
	}
	if k.kubeconfig == lab.Config().Kubeconfig() {
		k.useLab(ctx)
	}
	config, err := clientcmd.BuildConfigFromFlags("", k.kubeconfig)
	Expect(err).NotTo(HaveOccurred())
	config.QPS, config.Burst = 100, 200
	config.WarningHandler = rest.NoWarnings{}
	k.set, err = kubernetes.NewForConfig(config)
	Expect(err).NotTo(HaveOccurred())
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, musterv1alpha1.AddToScheme} {
		Expect(add(scheme)).To(Succeed())
	}
	k.Client, err = client.New(config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	return k
}

// useLab brings the lab up as far as it is down, and loads images of the tree as it is now. It stays up: a second run is quicker.
func (k *kubernetesCluster) useLab(ctx context.Context) {
	GinkgoHelper()
	Expect(cluster.CheckUser()).To(Succeed())
	goRun(ctx, "./hack/lab", "up", "--nodes", "3") // always: nodes may be there and not run
	lab, err := cluster.Open(os.Getenv, GinkgoWriter)
	Expect(err).NotTo(HaveOccurred())
	k.lab = lab
	k.program = lab.Config().Bin("kubectl")
	k.faults, err = fault.New(lab)
	Expect(err).NotTo(HaveOccurred())
	dist := GinkgoT().TempDir()
	goRun(ctx, "./hack/images", "build", "--version", "e2e", "--out", dist)
	Expect(lab.Load(ctx, filepath.Join(dist, "muster.tar"), filepath.Join(dist, "muster-client.tar"))).To(Succeed())
	for _, i := range lab.Nodes() {
		_, err := lab.Output(ctx, i, "", "ctr", "-n", "k8s.io", "images", "tag", "--force", serverTag, nextTag)
		Expect(err).NotTo(HaveOccurred())
	}
	k.nextImage = nextTag
}

// goRun runs a program of the tree.
func goRun(ctx context.Context, args ...string) {
	GinkgoHelper()
	cmd := exec.CommandContext(ctx, "go", append([]string{"run"}, args...)...)
	cmd.Dir = root
	cmd.Stdout, cmd.Stderr = GinkgoWriter, GinkgoWriter
	Expect(cmd.Run()).To(Succeed(), "go run %s", strings.Join(args, " "))
}

// try runs kubectl with an input and returns what it prints.
func (k *kubernetesCluster) try(ctx context.Context, input string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, k.program, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+k.kubeconfig)
	cmd.Stdin = strings.NewReader(input)
	var out, failure bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failure
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(failure.String()))
	}
	return out.String(), err
}

// kubectl runs kubectl as a user would, and fails the spec when it fails.
func (k *kubernetesCluster) kubectl(ctx context.Context, args ...string) string {
	GinkgoHelper()
	out, err := k.try(ctx, "", args...)
	Expect(err).NotTo(HaveOccurred())
	return out
}

// apply creates or changes objects.
func (k *kubernetesCluster) apply(ctx context.Context, namespace, manifest string) {
	GinkgoHelper()
	_, err := k.try(ctx, manifest, "apply", "--server-side", "-n", namespace, "-f", "-")
	Expect(err).NotTo(HaveOccurred())
}

// namespace makes one that lasts as long as the spec, or the container of specs, that asks. It takes restricted pods only.
func (k *kubernetesCluster) namespace(ctx context.Context, name string) string {
	GinkgoHelper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "e2e-" + name + "-", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	Expect(k.Create(ctx, ns)).To(Succeed())
	k.mu.Lock()
	k.namespaces = append(k.namespaces, ns.Name)
	k.mu.Unlock()
	DeferCleanup(func(ctx SpecContext) {
		k.mu.Lock()
		k.namespaces = slices.DeleteFunc(k.namespaces, func(n string) bool { return n == ns.Name })
		k.mu.Unlock()
		// A drain that nobody waits for is no business of a namespace that goes.
		Expect(k.DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(ns.Name), client.GracePeriodSeconds(1))).To(Succeed())
		Expect(client.IgnoreNotFound(k.Delete(ctx, ns))).To(Succeed())
		Eventually(ctx, func() error { return k.Get(ctx, client.ObjectKeyFromObject(ns), &corev1.Namespace{}) }).
			Should(MatchError(ContainSubstring("not found")))
	}, NodeTimeout(5*time.Minute))
	return ns.Name
}

// tell prints what a reader of a failure wants to see of every namespace.
func (k *kubernetesCluster) tell(ctx context.Context) {
	show := func(args ...string) {
		out, err := k.try(ctx, "", args...)
		GinkgoWriter.Printf("--- kubectl %s\n%s", strings.Join(args, " "), out)
		if err != nil && !errors.Is(err, context.Canceled) {
			GinkgoWriter.Println(err)
		}
	}
	for _, ns := range k.made() {
		show("-n", ns, "get", "rgc,pods,leases", "-o", "wide")
		show("-n", ns, "get", "rgc", "-o", "yaml")
		show("-n", ns, "get", "events", "--sort-by=.lastTimestamp")
		show("-n", ns, "logs", "--prefix", "--tail=150", "--max-log-requests=20", "--ignore-errors", "-l", "app.kubernetes.io/name=muster-registry")
		show("-n", ns, "logs", "--prefix", "--tail=20", "--max-log-requests=20", "--ignore-errors", "-l", clientLabels.String())
	}
	show("-n", operatorNamespace, "get", "pods", "-o", "wide")
	show("-n", operatorNamespace, "logs", "--tail=100", "--ignore-errors", "-l", "app.kubernetes.io/name=muster-operator")
}

// made are the namespaces that specs have made.
func (k *kubernetesCluster) made() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.namespaces)
}

// clients is where the clients run and what they said last, in few words.
func (k *kubernetesCluster) clients(ctx context.Context) string {
	var said strings.Builder
	for _, ns := range k.made() {
		for _, args := range [][]string{{"get", "pods", "--no-headers", "-o", "wide"}, {"logs", "--prefix", "--timestamps", "--tail=4", "--max-log-requests=20", "--ignore-errors"}} {
			out, err := k.try(ctx, "", append([]string{"-n", ns, "-l", clientLabels.String()}, args...)...)
			for line := range strings.Lines(out) {
				fmt.Fprintf(&said, "%.300s\n", strings.TrimSuffix(line, "\n"))
			}
			if err != nil {
				fmt.Fprintln(&said, err)
			}
		}
	}
	return said.String()
}

// restricted is a pod that the namespaces admit. One that ends is seen to end.
func restricted(namespace, name string, c corev1.Container) *corev1.Pod {
	c.SecurityContext = &corev1.SecurityContext{AllowPrivilegeEscalation: ptr(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyNever,
			TerminationGracePeriodSeconds: ptr(int64(10)),
			AutomountServiceAccountToken:  ptr(false),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: ptr(true), RunAsUser: ptr(int64(65532)), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{c},
		},
	}
}

// occupy asks for so much of one node that the scheduler would rather put two pods on another. Its own pod never starts.
func occupy(ctx SpecContext) {
	GinkgoHelper()
	var nodes corev1.NodeList
	Expect(kube.List(ctx, &nodes)).To(Succeed())
	p := restricted(kube.namespace(ctx, "busy"), "large", corev1.Container{
		Name: "none", Image: "none.invalid/none", ImagePullPolicy: corev1.PullNever,
		Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: resource.MustParse("4Gi"),
		}},
	})
	p.Spec.NodeName = nodes.Items[0].Name
	Expect(kube.Create(ctx, p)).To(Succeed())
}
