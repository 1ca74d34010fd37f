package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/hack/helm"
	"github.com/muster-registry/muster/hack/lab/cluster"
)

// Names that users meet in what the demo leaves behind.
const (
	operatorNamespace = "muster-system"
	operatorRelease   = "muster"
	namespace         = "muster-demo"
	registry          = "registry" // release, RegistryCluster and Service
	replicas          = 3

	// imageAnnotation on pods makes a new build of the same tag a change of the pods.
	imageAnnotation = "demo.muster.dev/image"
)

const startPatience = 5 * time.Minute // a slow machine that pulls images

// connect brings the lab up, or takes the cluster that the user points at.
func (d *demo) connect(ctx context.Context) error {
	if _, err := os.Stat("hack/tools/go.mod"); err != nil {
		return errors.New("run it at the top of the repository: make demo")
	}
	lab, err := cluster.Open(os.Getenv, d.say)
	if err != nil {
		return err
	}
	kubeconfig, labs := os.Getenv("KUBECONFIG"), lab.Config().Kubeconfig()
	if kubeconfig == "" || kubeconfig == labs {
		if err := d.labUp(ctx); err != nil {
			return err
		}
		if lab, err = cluster.Open(os.Getenv, d.say); err != nil { // with the ranges that it has now
			return err
		}
		kubeconfig = labs
	} else {
		lab = nil
	}
	k, err := openKube(kubeconfig, lab)
	if err != nil {
		return err
	}
	var nodes corev1.NodeList
	if err := k.objects.List(ctx, &nodes); err != nil {
		return fmt.Errorf("list the nodes at %s (KUBECONFIG %s): %w", k.server, kubeconfig, err)
	}
	d.kube, d.images.arch = k, architecture(nodes.Items)
	d.say.sayf("%d nodes at %s", len(nodes.Items), d.kube.server)
	return nil
}

func (d *demo) labUp(ctx context.Context) error {
	if err := cluster.CheckUser(); err != nil {
		text := strings.ReplaceAll(err.Error(), "make lab-up", "make demo")
		return fmt.Errorf("KUBECONFIG is not set, so the demo would bring up a Kubernetes of its own: %s", text)
	}
	d.say.sayf("the lab: a Kubernetes on this machine. Its programs are built once, for some minutes")
	if err := d.show(ctx, d.say.out, "go", "run", "./hack/lab", "up"); err != nil {
		return fmt.Errorf("the lab does not come up (its lines are above; `make lab-down` clears up a broken one): %w", err)
	}
	return nil
}

// show runs a command that tells its own progress; to a terminal it does so in its own way.
func (d *demo) show(ctx context.Context, out io.Writer, argv ...string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	return nil
}

func architecture(nodes []corev1.Node) string {
	for _, n := range nodes {
		if a := n.Status.NodeInfo.Architecture; a != "" {
			return a
		}
	}
	return runtime.GOARCH
}

func (d *demo) helm(ctx context.Context, release, chart, ns string, values map[string]any) error {
	args := []string{"upgrade", "--install", release, chart, "--namespace", ns, "--create-namespace"}
	if d.kube.lab != nil { // whatever else was installed in the lab before may go on under our name
		args = append(args, "--take-ownership")
	}
	for key, value := range values {
		text, err := json.Marshal(value)
		if err != nil {
			return err
		}
		args = append(args, "--set-json", key+"="+string(text))
	}
	what := "helm " + strings.Join(args[:4], " ")
	err := d.during(what, func() error {
		_, err := helm.Runner{Root: ".", Kubeconfig: d.kube.kubeconfig}.Run(ctx, args...)
		return err
	})
	if err != nil && strings.Contains(err.Error(), "cannot be imported into the current release") {
		return fmt.Errorf("the cluster has Muster already, under another release or without Helm; the demo does not take it over: remove it, or use another cluster: %w", err)
	}
	return err
}

func (d *demo) installOperator(ctx context.Context) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if err := d.kube.objects.Create(ctx, ns); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace %s: %w", namespace, err)
	}
	at := strings.LastIndexByte(d.images.server, ':')
	err := d.helm(ctx, operatorRelease, "charts/muster", operatorNamespace, map[string]any{
		"image":          map[string]string{"repository": d.images.server[:at], "tag": d.images.server[at+1:]},
		"podAnnotations": map[string]string{imageAnnotation: d.images.digest},
		"namespaces":     []string{namespace}, // two operators that watch everything, the end-to-end tests' too, would be at odds
	})
	if err != nil {
		return err
	}
	name := operatorRelease + "-operator"
	err = d.await(ctx, awaited{"the operator", startPatience, func(ctx context.Context) (string, bool, error) {
		var dep appsv1.Deployment
		if err := d.kube.objects.Get(ctx, client.ObjectKey{Namespace: operatorNamespace, Name: name}, &dep); err != nil {
			return "", false, err
		}
		if rolledOut(dep) {
			return "", true, nil
		}
		return d.notUp(ctx, operatorNamespace, fmt.Sprintf("%d of %d ready", dep.Status.ReadyReplicas, *dep.Spec.Replicas))
	}})
	if err == nil {
		d.say.sayf("the operator runs: deployment %s/%s", operatorNamespace, name)
	}
	return err
}

func rolledOut(dep appsv1.Deployment) bool {
	s, want := dep.Status, *dep.Spec.Replicas
	return s.ObservedGeneration >= dep.Generation && s.UpdatedReplicas == want && s.Replicas == want && s.AvailableReplicas == want
}

func (d *demo) installRegistry(ctx context.Context) error {
	began := time.Now()
	err := d.helm(ctx, registry, "charts/muster-cluster", namespace, map[string]any{
		"image":       d.images.server, // whichever operator is there: another one's default would be another image
		"podTemplate": map[string]any{"annotations": map[string]string{imageAnnotation: d.images.digest}},
	})
	if err != nil {
		return err
	}
	if err := d.scaleBack(ctx); err != nil {
		return err
	}
	if err := d.await(ctx, awaited{"the registry", startPatience, d.registrySettled}); err != nil {
		return err
	}
	d.say.sayf("RegistryCluster %s/%s is Available, %s after helm: its members found each other through Leases", namespace, registry,
		time.Since(began).Round(100*time.Millisecond))
	pods, err := d.kube.members(ctx)
	if err != nil {
		return err
	}
	for _, p := range pods {
		d.say.sayf("  member %s on %s", p.Name, p.Spec.NodeName)
	}
	return d.coldStart(ctx)
}

// coldStart waits until the members answer lists. One that starts with nothing cannot know what clients still hold.
func (d *demo) coldStart(ctx context.Context) error {
	told := false
	return d.await(ctx, awaited{"the end of the cold start", startPatience, func(ctx context.Context) (string, bool, error) {
		views, err := d.kube.views(ctx)
		if err != nil {
			return "", false, err
		}
		for _, v := range views {
			if v.ReadsOpen {
				continue
			}
			if !told {
				told = true
				d.say.sayf("it is new and knows nothing, so for up to 35 s it waits for registrations before it answers a list: nobody is told an empty one")
			}
			return "no lists yet", false, nil
		}
		return "", true, nil
	}})
}

// scaleBack undoes a `kubectl scale` that an earlier run invited to: with one member its death would be an outage.
func (d *demo) scaleBack(ctx context.Context) error {
	rc, err := d.registryCluster(ctx)
	if err != nil {
		return err
	}
	if rc.Spec.Replicas == nil || *rc.Spec.Replicas >= replicas {
		return nil
	}
	d.say.sayf("it was scaled to %d: scaling it to %d", *rc.Spec.Replicas, replicas)
	patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas))
	return d.kube.objects.Patch(ctx, rc, patch)
}

func (d *demo) registryCluster(ctx context.Context) (*musterv1alpha1.RegistryCluster, error) {
	rc := &musterv1alpha1.RegistryCluster{}
	err := d.kube.objects.Get(ctx, client.ObjectKey{Namespace: namespace, Name: registry}, rc)
	return rc, err
}

// registrySettled is true when the members that the spec asks for run, see each other and agree.
func (d *demo) registrySettled(ctx context.Context) (string, bool, error) {
	rc, err := d.registryCluster(ctx)
	if err != nil {
		return "", false, err
	}
	want := replicas
	if rc.Spec.Replicas != nil {
		want = int(*rc.Spec.Replicas)
	}
	if state := unsettled(rc, want); state != "" {
		return d.notUp(ctx, namespace, state)
	}
	views, err := d.kube.views(ctx)
	if err != nil {
		return "", false, err
	}
	state := disagreement(views, want)
	return state, state == "", nil
}

// unsettled says what the status of a RegistryCluster still lacks.
func unsettled(rc *musterv1alpha1.RegistryCluster, want int) string {
	s := rc.Status
	if s.ObservedGeneration < rc.Generation {
		return "the operator has not seen it yet"
	}
	text := fmt.Sprintf("%d of %d ready, %d members", s.ReadyReplicas, want, s.MemberCount)
	for _, c := range []struct {
		kind string
		want metav1.ConditionStatus
	}{{musterv1alpha1.ConditionAvailable, metav1.ConditionTrue}, {musterv1alpha1.ConditionProgressing, metav1.ConditionFalse}} {
		if found := meta.FindStatusCondition(s.Conditions, c.kind); found == nil {
			return text
		} else if found.Status != c.want {
			return text + ": " + found.Message
		}
	}
	if int(s.ReadyReplicas) != want || int(s.MemberCount) != want {
		return text
	}
	return ""
}

// disagreement says which member does not see all others, or differs from one.
func disagreement(views []view, want int) string {
	if len(views) != want {
		return fmt.Sprintf("%d of %d members answer", len(views), want)
	}
	for _, v := range views {
		switch {
		case !v.Ready:
			return v.Name + " is not ready: " + v.Reason
		case len(v.Members) != want:
			return fmt.Sprintf("%s sees %d of %d members", v.Name, len(v.Members), want)
		case v.Dirty:
			return v.Name + " does not agree with a peer yet"
		}
	}
	return ""
}
