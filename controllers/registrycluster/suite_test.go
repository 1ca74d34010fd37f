package registrycluster

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	configv1alpha1 "github.com/muster-registry/muster/api/config/v1alpha1"
	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/controllers/desired"
)

// The suite runs the operator, with exactly the rights of config/rbac/role.yaml, against a real API server and etcd.
// There is no controller-manager and no kubelet: kubelet_test.go plays them.

const defaultImage = "registry.example.com/muster:v1"

var (
	admin client.Client
	// kubeconfig is the administrator's, for kubectl.
	kubeconfig string
	requests   = &counter{}
)

func TestRegistryCluster(t *testing.T) {
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	for _, program := range []string{"kube-apiserver", "etcd", "kubectl"} {
		if _, err := os.Stat(filepath.Join(assets, program)); assets == "" || err != nil {
			t.Fatalf("KUBEBUILDER_ASSETS=%q holds no %s: run `make test`, or set it to what `go run ./hack/lab assets` prints", assets, program)
		}
	}
	RegisterFailHandler(Fail)
	RunSpecs(t, "RegistryCluster")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	scheme := runtime.NewScheme()
	ctrl.SetLogger(GinkgoLogr)
	Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	Expect(musterv1alpha1.AddToScheme(scheme)).To(Succeed())
	env := &envtest.Environment{
		Scheme:                   scheme,
		BinaryAssetsDirectory:    os.Getenv("KUBEBUILDER_ASSETS"),
		CRDDirectoryPaths:        []string{"../../config/crd/bases"},
		ErrorIfCRDPathMissing:    true,
		ControlPlaneStartTimeout: 2 * time.Minute,
	}
	DeferCleanup(env.Stop) // before the start: one that fails half way leaves processes too
	config, err := env.Start()
	Expect(err).NotTo(HaveOccurred())
	admin, err = client.New(config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	kubeconfig = filepath.Join(GinkgoT().TempDir(), "kubeconfig")
	Expect(os.WriteFile(kubeconfig, env.KubeConfig, 0o600)).To(Succeed())
	startOperator(operatorConfig(ctx, env), scheme)
})

// operatorConfig is a user with the generated role and nothing else.
func operatorConfig(ctx context.Context, env *envtest.Environment) *rest.Config {
	GinkgoHelper()
	data, err := os.ReadFile("../../config/rbac/role.yaml")
	Expect(err).NotTo(HaveOccurred())
	role := &rbacv1.ClusterRole{}
	Expect(yaml.Unmarshal(data, role)).To(Succeed())
	Expect(admin.Create(ctx, role)).To(Succeed())
	Expect(admin.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "operator"}},
	})).To(Succeed())
	user, err := env.AddUser(envtest.User{Name: "operator"}, nil)
	Expect(err).NotTo(HaveOccurred())
	config := user.Config()
	config.WrapTransport = requests.wrap
	return config
}

func startOperator(config *rest.Config, scheme *runtime.Scheme) {
	GinkgoHelper()
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                 scheme,
		Cache:                  CacheOptions(nil),
		Metrics:                metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress: "0",
		Logger:                 GinkgoLogr,
	})
	Expect(err).NotTo(HaveOccurred())
	Expect(Setup(mgr, prometheus.NewRegistry(), Options{RegistryImage: defaultImage})).To(Succeed())
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	DeferCleanup(func() {
		stop()
		Expect(<-done).To(Succeed())
	})
}

// counter sees every request of the operator.
type counter struct {
	mu     sync.Mutex
	writes []string       // guarded by mu
	reads  map[string]int // guarded by mu: requests of a Secret, of which each reconcile makes one, by path
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (c *counter) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		c.mu.Lock()
		switch {
		case r.Method != http.MethodGet:
			c.writes = append(c.writes, r.Method+" "+r.URL.Path)
		case strings.Contains(r.URL.Path, "/secrets/"):
			if c.reads == nil {
				c.reads = map[string]int{}
			}
			c.reads[r.URL.Path]++
		}
		c.mu.Unlock()
		return next.RoundTrip(r)
	})
}

// writesIn are the writes so far in a namespace.
func (c *counter) writesIn(namespace string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var in []string
	for _, w := range c.writes {
		if strings.Contains(w, "/namespaces/"+namespace+"/") {
			in = append(in, w)
		}
	}
	return in
}

// reconciles counts the operator's looks at a cluster.
func (c *counter) reconciles(cluster *musterv1alpha1.RegistryCluster) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reads["/api/v1/namespaces/"+cluster.Namespace+"/secrets/"+desired.SecretName(cluster.Name)]
}

// newNamespace makes one for a test.
func newNamespace(ctx context.Context) string {
	GinkgoHelper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	Expect(admin.Create(ctx, ns)).To(Succeed())
	return ns.Name
}

// newCluster makes a RegistryCluster and waits for its Deployment.
func newCluster(ctx context.Context, namespace, name string, change ...func(*musterv1alpha1.RegistryCluster)) *musterv1alpha1.RegistryCluster {
	GinkgoHelper()
	c := &musterv1alpha1.RegistryCluster{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	for _, f := range change {
		f(c)
	}
	Expect(admin.Create(ctx, c)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) {
		Expect(client.IgnoreNotFound(admin.Delete(ctx, c))).To(Succeed())
	})
	return c
}

// get reads an object anew.
func get[T client.Object](ctx context.Context, namespace, name string, obj T) T {
	GinkgoHelper()
	Expect(admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, obj)).To(Succeed())
	return obj
}

// quick are timeouts in which a member is gone after 3 s.
func quick() configv1alpha1.Timeouts {
	t := configv1alpha1.DefaultTimeouts()
	t.LeaseRenewInterval.Duration, t.MemberGoneAfter.Duration = time.Second, 3*time.Second
	return t
}

// everything sets all there is to set, in spellings that the API server stores in another way.
func everything(c *musterv1alpha1.RegistryCluster) {
	data, err := os.ReadFile("../../config/samples/registrycluster_full.yaml")
	Expect(err).NotTo(HaveOccurred())
	full := &musterv1alpha1.RegistryCluster{}
	Expect(yaml.UnmarshalStrict(data, full)).To(Succeed())
	full.Spec.Image = defaultImage
	full.Spec.Resources.Limits = corev1.ResourceList{
		corev1.ResourceMemory: resource.MustParse("0.5Gi"), corev1.ResourceCPU: resource.MustParse("1500m"),
	}
	full.Spec.PodTemplate.PriorityClassName = "system-node-critical"
	full.Spec.PodTemplate.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "disk", Operator: corev1.NodeSelectorOpIn, Values: []string{"b", "a"}}},
		}}},
	}}
	c.Spec = full.Spec
}
