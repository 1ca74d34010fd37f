package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-registry/muster/test/e2e/witness"
)

// firstPort is that of a provider's first instance.
const firstPort = 8080

// clients are pods of the real nacos-sdk-go, all of them seen by one witness.
type clients struct {
	namespace string
	*witness.Witness
}

// newClients watches its pods until the spec, or the container of specs, that asks is over.
func newClients(namespace string) *clients {
	return &clients{namespace: namespace, Witness: witness.New()}
}

// provider registers n instances of a service as one batch, waits until they were accepted, and returns their addresses.
func (c *clients) provider(ctx SpecContext, name, server, service string, n int) []string {
	GinkgoHelper()
	return c.instances(ctx, c.startProvider(ctx, name, server, service, n), n)
}

// startProvider is provider without the wait.
func (c *clients) startProvider(ctx SpecContext, name, server, service string, n int) *corev1.Pod {
	GinkgoHelper()
	return c.start(ctx, name, "--servers", server, "--service", service, "--instances", strconv.Itoa(n),
		"--port", strconv.Itoa(firstPort), "--listen", "provider")
}

func (c *clients) instances(ctx SpecContext, p *corev1.Pod, n int) []string {
	GinkgoHelper()
	Eventually(ctx, c.Done).WithArguments(p.Name).Should(Equal(n), "instances that %s registered", p.Name)
	Expect(kube.Get(ctx, client.ObjectKeyFromObject(p), p)).To(Succeed())
	addresses := make([]string, n)
	for i := range addresses {
		addresses[i] = fmt.Sprintf("%s:%d", p.Status.PodIP, firstPort+i)
	}
	return addresses
}

// consumer subscribes n times, each over a connection of its own.
func (c *clients) consumer(ctx SpecContext, name, server, service string, n int) *corev1.Pod {
	GinkgoHelper()
	return c.start(ctx, name, "--servers", server, "--service", service, "--clients", strconv.Itoa(n), "consumer")
}

func (c *clients) start(ctx SpecContext, name string, args ...string) *corev1.Pod {
	GinkgoHelper()
	p := restricted(c.namespace, name, corev1.Container{
		Name: "client", Image: kube.clientImage, Args: args,
		Env:          []corev1.EnvVar{{Name: "POD_IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}}},
		VolumeMounts: []corev1.VolumeMount{{Name: "tmp", MountPath: "/tmp"}},
	})
	p.Labels = maps.Clone(clientLabels) // what the API answers is read into it
	p.Spec.Volumes = []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	Expect(kube.Create(ctx, p)).To(Succeed())
	c.follow(p)
	return p
}

// stop ends a client as Kubernetes does: SIGTERM, upon which a provider deregisters.
func (c *clients) stop(ctx SpecContext, name string) {
	GinkgoHelper()
	Expect(kube.Delete(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name}})).To(Succeed())
}

// follow reads what a pod prints as it prints it, and goes on where it was when the connection to the API breaks.
func (c *clients) follow(p *corev1.Pod) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		defer GinkgoRecover()
		last := ""
		for ctx.Err() == nil {
			// An error means that the pod has not started, or that the API is away.
			if stream, err := kube.set.CoreV1().Pods(p.Namespace).GetLogs(p.Name, logsSince(last)).Stream(ctx); err == nil {
				last = c.read(p.Name, stream, last)
				_ = stream.Close()
			}
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	})
	DeferCleanup(func() { cancel(); done.Wait() })
}

// logsSince asks for the lines from the second of a time stamp on.
func logsSince(last string) *corev1.PodLogOptions {
	o := &corev1.PodLogOptions{Follow: true, Timestamps: true}
	if at, err := time.Parse(time.RFC3339Nano, last); err == nil {
		o.SinceTime = &metav1.Time{Time: at.Truncate(time.Second)}
	}
	return o
}

// read takes the lines that are newer than last and returns the time stamp of the newest. The kubelet stamps each line,
// in the order in which they were written.
func (c *clients) read(pod string, stream io.Reader, last string) string {
	was, _ := time.Parse(time.RFC3339Nano, last)
	lines := bufio.NewReaderSize(stream, 1<<20)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return last // half a line comes again
		}
		stamp, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil || !at.After(was) {
			continue
		}
		last = stamp
		if err := c.Take(pod, []byte(text)); err != nil {
			GinkgoWriter.Println(err)
		}
	}
}

// told waits until n subscribers have exactly these instances as their last list.
func (c *clients) told(ctx SpecContext, n int, addresses ...string) {
	GinkgoHelper()
	Eventually(ctx, func() int { return c.Told(addresses...) }).Should(Equal(n), func() string {
		return fmt.Sprintf("subscribers that know all %d instances\n%s", len(addresses), strings.Join(c.Differs(addresses...), "\n"))
	})
}

func ptr[T any](v T) *T { return &v }

// remove ends all clients at once, without a goodbye.
func (c *clients) remove(ctx SpecContext) {
	GinkgoHelper()
	Expect(kube.DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(c.namespace), client.MatchingLabels(clientLabels), client.GracePeriodSeconds(0))).To(Succeed())
}
