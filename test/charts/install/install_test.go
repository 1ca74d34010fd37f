// Package install takes the charts through their lives against a real API server: installed, upgraded from an older
// chart, removed, installed again. There is no kubelet, so no pod runs; test/e2e shows that.
package install

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/hack/helm"
)

const root = "../../.."

var (
	admin client.Client
	runs  helm.Runner
)

func TestInstall(t *testing.T) {
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if _, err := os.Stat(filepath.Join(assets, "kube-apiserver")); assets == "" || err != nil {
		t.Fatalf("KUBEBUILDER_ASSETS=%q holds no kube-apiserver: run `make test`, or set it to what `go run ./hack/lab assets` prints", assets)
	}
	RegisterFailHandler(Fail)
	RunSpecs(t, "Charts")
}

var _ = BeforeSuite(func() {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, musterv1alpha1.AddToScheme} {
		Expect(add(scheme)).To(Succeed())
	}
	env := &envtest.Environment{BinaryAssetsDirectory: os.Getenv("KUBEBUILDER_ASSETS"), ControlPlaneStartTimeout: 2 * time.Minute}
	config, err := env.Start()
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(env.Stop)
	admin, err = client.New(config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	kubeconfig := filepath.Join(GinkgoT().TempDir(), "kubeconfig")
	Expect(os.WriteFile(kubeconfig, env.KubeConfig, 0o600)).To(Succeed())
	runs = helm.Runner{Root: root, Kubeconfig: kubeconfig}
})

func run(ctx SpecContext, args ...string) {
	GinkgoHelper()
	out, err := runs.Run(ctx, args...)
	Expect(err).NotTo(HaveOccurred(), out)
}

func refused(ctx SpecContext, why string, args ...string) {
	GinkgoHelper()
	_, err := runs.Run(ctx, args...)
	Expect(err).To(MatchError(ContainSubstring(why)))
}

func find(ctx SpecContext, namespace, name string, into client.Object) error {
	return admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, into)
}

const crdName = "registryclusters.registry.muster.dev"

// older is the operator's chart of some day before, whose CRD had no printer columns.
func older() string {
	GinkgoHelper()
	dir := filepath.Join(GinkgoT().TempDir(), "muster")
	Expect(os.CopyFS(dir, os.DirFS(filepath.Join(root, "charts/muster")))).To(Succeed())
	file := filepath.Join(dir, "templates/crd-registryclusters.yaml")
	data, err := os.ReadFile(file)
	Expect(err).NotTo(HaveOccurred())
	before, rest, ok := strings.Cut(string(data), "  - additionalPrinterColumns:\n")
	Expect(ok).To(BeTrue())
	_, after, ok := strings.Cut(rest, "    name: v1alpha1\n")
	Expect(ok).To(BeTrue())
	Expect(os.WriteFile(file, []byte(before+"  - name: v1alpha1\n"+after), 0o600)).To(Succeed())
	return dir
}

var _ = Describe("the charts", Ordered, func() {
	crd := func(ctx SpecContext) *apiextensionsv1.CustomResourceDefinition {
		GinkgoHelper()
		found := &apiextensionsv1.CustomResourceDefinition{}
		Expect(find(ctx, "", crdName, found)).To(Succeed())
		return found
	}
	registry := func(ctx SpecContext) *musterv1alpha1.RegistryCluster {
		GinkgoHelper()
		found := &musterv1alpha1.RegistryCluster{}
		Expect(find(ctx, "prod", "registry", found)).To(Succeed())
		return found
	}

	It("upgrade the CRDs with the operator", func(ctx SpecContext) {
		run(ctx, "install", "muster", older(), "--namespace", "system", "--create-namespace")
		Expect(crd(ctx).Spec.Versions[0].AdditionalPrinterColumns).To(BeEmpty())
		run(ctx, "upgrade", "muster", "charts/muster", "--namespace", "system")
		Expect(crd(ctx).Spec.Versions[0].AdditionalPrinterColumns).NotTo(BeEmpty())
		Expect(find(ctx, "system", "muster-operator", &appsv1.Deployment{})).To(Succeed())
	})

	It("make a RegistryCluster with the defaults of the API", func(ctx SpecContext) {
		// The API server takes a moment to serve a new CRD.
		Eventually(func() error {
			return admin.List(ctx, &musterv1alpha1.RegistryClusterList{})
		}).WithContext(ctx).WithTimeout(time.Minute).Should(Succeed())
		run(ctx, "install", "registry", "charts/muster-cluster", "--namespace", "prod", "--create-namespace")
		Expect(*registry(ctx).Spec.Replicas).To(BeEquivalentTo(3))
	})

	It("leave replicas alone that somebody else has set", func(ctx SpecContext) {
		scale := &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: 7}}
		Expect(admin.SubResource("scale").Update(ctx, registry(ctx), client.WithSubResourceBody(scale))).To(Succeed())
		run(ctx, "upgrade", "registry", "charts/muster-cluster", "--namespace", "prod", "--set", "logLevel=debug")
		Expect(registry(ctx).Spec.LogLevel).To(Equal("debug"))
		Expect(*registry(ctx).Spec.Replicas).To(BeEquivalentTo(7))
	})

	It("take every value", func(ctx SpecContext) {
		run(ctx, "install", "all", "charts/muster-cluster", "--namespace", "prod", "--values", "test/charts/testdata/cluster/everything.values.yaml",
			"--set", "name=all", "--dry-run=server")
	})

	It("pass on in words what only the API server can refuse", func(ctx SpecContext) {
		refused(ctx, "timeouts.silentConnectionGrace must not be longer than timeouts.connectionGrace",
			"upgrade", "registry", "charts/muster-cluster", "--namespace", "prod", "--set", "timeouts.silentConnectionGrace=1h")
	})

	It("keep the registries when the operator goes", func(ctx SpecContext) {
		before := registry(ctx)
		run(ctx, "uninstall", "muster", "--namespace", "system")
		Expect(apierrors.IsNotFound(find(ctx, "system", "muster-operator", &appsv1.Deployment{}))).To(BeTrue())
		Expect(crd(ctx).DeletionTimestamp).To(BeNil())
		Expect(registry(ctx).UID).To(Equal(before.UID))
		Expect(registry(ctx).DeletionTimestamp).To(BeNil())
	})

	It("come back under the same name, and under another when told to", func(ctx SpecContext) {
		before := registry(ctx)
		run(ctx, "install", "muster", "charts/muster", "--namespace", "system")
		run(ctx, "uninstall", "muster", "--namespace", "system")
		refused(ctx, "invalid ownership metadata", "install", "other", "charts/muster", "--namespace", "elsewhere", "--create-namespace")
		run(ctx, "install", "other", "charts/muster", "--namespace", "elsewhere", "--create-namespace", "--take-ownership")
		Expect(registry(ctx).UID).To(Equal(before.UID))
	})

	It("delete a registry with its release", func(ctx SpecContext) {
		run(ctx, "uninstall", "registry", "--namespace", "prod")
		list := &musterv1alpha1.RegistryClusterList{}
		Expect(admin.List(ctx, list, client.InNamespace(metav1.NamespaceAll))).To(Succeed())
		Expect(list.Items).To(BeEmpty())
	})
})
