//go:build linux

package chaos

import (
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"

	configv1alpha1 "github.com/muster-registry/muster/api/config/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
)

// kube is an API server and etcd, in a host of their own.
type kube struct {
	*node
	set *kubernetes.Clientset
	ca  []byte
}

const (
	apiPort  = 6443
	account  = "muster"
	clusters = "chaos" // the namespaces of the members begin with it
)

// newKube starts one.
func newKube(t *testing.T, n *network) *kube {
	t.Helper()
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if _, err := os.Stat(filepath.Join(assets, "kube-apiserver")); assets == "" || err != nil {
		t.Fatalf("KUBEBUILDER_ASSETS=%q holds no kube-apiserver: run make chaos-short or make chaos, or set it to what `go run ./hack/lab assets` prints", assets)
	}
	log.SetLogger(logr.Discard())
	k := &kube{node: n.node()}
	// Nobody needs what they would write down while they stop.
	env := &envtest.Environment{BinaryAssetsDirectory: assets, ControlPlaneStartTimeout: 2 * time.Minute, ControlPlaneStopTimeout: time.Second}
	api := env.ControlPlane.GetAPIServer()
	api.Address, api.Port = k.address, strconv.Itoa(apiPort)
	env.ControlPlane.Etcd = &envtest.Etcd{URL: &url.URL{Scheme: "http", Host: k.address + ":2379"}}
	t.Cleanup(func() { _ = env.Stop() }) // the error says that it had to kill
	var config *rest.Config
	err := k.run(func() (err error) { // processes inherit the network of the thread that starts them
		config, err = env.Start()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	k.ca = config.CAData
	if k.set, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	return k
}

// namespace makes one in which a service account has rights on Leases, and puts that account where members look for it.
func (k *kube) namespace(c *cluster, name string) {
	c.t.Helper()
	ctx := c.t.Context()
	_, err := k.set.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	c.must(err)
	meta := metav1.ObjectMeta{Namespace: name, Name: account}
	_, err = k.set.CoreV1().ServiceAccounts(name).Create(ctx, &corev1.ServiceAccount{ObjectMeta: meta}, metav1.CreateOptions{})
	c.must(err)
	_, err = k.set.RbacV1().Roles(name).Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"get", "list", "watch", "create", "update"},
	}}}, metav1.CreateOptions{})
	c.must(err)
	_, err = k.set.RbacV1().RoleBindings(name).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: account},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: name, Name: account}},
	}, metav1.CreateOptions{})
	c.must(err)
	token, err := k.set.CoreV1().ServiceAccounts(name).CreateToken(ctx, account, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(7200))},
	}, metav1.CreateOptions{})
	c.must(err)
	c.must(k.mount(token.Status.Token))
}

// mount writes the files that every pod has, over the machine's /var/run, which only the test sees.
func (k *kube) mount(token string) error {
	run, err := filepath.EvalSymlinks("/var/run")
	if err != nil {
		return err
	}
	dir := filepath.Join(run, "secrets", "kubernetes.io", "serviceaccount")
	if _, err := os.Stat(dir); err != nil {
		if err := syscall.Mount("none", run, "tmpfs", 0, "size=1m"); err != nil {
			return err
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte(token), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "ca.crt"), k.ca, 0o600)
}

// newLeaseCluster makes three members by Leases in a namespace of their own.
func newLeaseCluster(t *testing.T, k *kube, n *network, name string) *cluster {
	t.Helper()
	c := prepare(t, forms[*formName], n)
	namespace := clusters + "-" + name
	k.namespace(c, namespace)
	for i := range 3 {
		pod := name + "-" + strconv.Itoa(i)
		m := c.host(pod)
		m.config.ClusterName, m.config.ClusterUID = name, "uid-of-"+name
		m.config.Membership = configv1alpha1.Membership{
			Source: configv1alpha1.SourceLease, Namespace: namespace, TLSDir: c.key, StateDir: t.TempDir(),
		}
		m.env = []string{
			wellknown.EnvPodName + "=" + pod, wellknown.EnvPodUID + "=uid-of-" + pod, wellknown.EnvPodNamespace + "=" + namespace,
			wellknown.EnvPodIP + "=" + m.address, "KUBERNETES_SERVICE_HOST=" + k.address, "KUBERNETES_SERVICE_PORT=" + strconv.Itoa(apiPort),
		}
	}
	c.launch(3)
	return c
}
