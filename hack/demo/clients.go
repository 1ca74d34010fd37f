package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-registry/muster/hack/images/pack"
)

// The clients: what they are called, what they publish, and at which address they find the registry.
const (
	provider  = "provider"
	consumer  = "consumer"
	service   = "shop"
	instances = 3
	labelRole = "demo.muster.dev/client"
	address   = registry + "." + namespace + ":8848"
)

// event is the part of a line of test/clients/go that the demo reads.
type event struct {
	Event     string    `json:"event"`
	Time      time.Time `json:"time"`
	Do        string    `json:"do"`
	OK        *bool     `json:"ok"`
	Error     string    `json:"error"`
	TookMS    int64     `json:"took_ms"`
	Connected *bool     `json:"connected"`
	Count     *int      `json:"count"`
	Healthy   *int      `json:"healthy"`
	DelayMS   *int64    `json:"delay_ms"`
}

// note is an event and the pod that told it, or the reason why it tells no more.
type note struct {
	pod   string
	event event
	err   error
}

// clientArgs are those of the two roles.
func clientArgs(role string) []string {
	args := []string{"--servers", address, "--service", service}
	if role == provider {
		args = append(args, "--instances", fmt.Sprint(instances), "--listen")
	}
	return append(args, role)
}

// clientDeployment runs a role under the restricted Pod Security standard.
func clientDeployment(role, image string) *appsv1.Deployment {
	yes, no, one, soon := true, false, int32(1), int64(5)
	labels := map[string]string{labelRole: role}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: role, Labels: labels},
		Spec: appsv1.DeploymentSpec{
			Replicas: &one,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					TerminationGracePeriodSeconds: &soon,
					AutomountServiceAccountToken:  &no,
					SecurityContext: &corev1.PodSecurityContext{
						RunAsNonRoot: &yes, RunAsUser: new(int64(pack.User)),
						SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
					},
					Containers: []corev1.Container{{
						Name: "client", Image: image, ImagePullPolicy: corev1.PullIfNotPresent, Args: clientArgs(role),
						Env: []corev1.EnvVar{{Name: "POD_IP", ValueFrom: &corev1.EnvVarSource{
							FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"},
						}}},
						Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
							corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi"),
						}},
						SecurityContext: &corev1.SecurityContext{
							AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
							Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
						},
					}},
				},
			},
		},
	}
}

// removeClients ends those of an earlier run, and waits until their instances have left every list.
func (d *demo) removeClients(ctx context.Context) error {
	found := false
	for _, role := range []string{consumer, provider} {
		dep := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: role}}
		err := d.kube.objects.Delete(ctx, dep, client.PropagationPolicy(metav1.DeletePropagationBackground))
		switch {
		case err == nil:
			found = true
		case !apierrors.IsNotFound(err):
			return err
		}
	}
	if found {
		d.say.sayf("the clients of an earlier run end first")
	}
	return d.await(ctx, awaited{"the end of earlier clients", 2 * time.Minute, func(ctx context.Context) (string, bool, error) {
		var pods corev1.PodList
		if err := d.kube.objects.List(ctx, &pods, client.InNamespace(namespace), client.HasLabels{labelRole}); err != nil {
			return "", false, err
		}
		if len(pods.Items) > 0 {
			return fmt.Sprintf("%d pods are left", len(pods.Items)), false, nil
		}
		listed, err := d.kube.listed(ctx)
		if err != nil {
			return "", false, err
		}
		for member, n := range listed {
			if n > 0 {
				return fmt.Sprintf("%s still lists %d instances of %s", member, n, service), false, nil
			}
		}
		return "", true, nil
	}})
}

// startClient adds one pod to a role, follows it, and waits until it prints that it is there.
func (d *demo) startClient(ctx context.Context, role string, known []string) (string, error) {
	if len(known) == 0 {
		if err := d.kube.objects.Create(ctx, clientDeployment(role, d.images.client)); err != nil {
			return "", fmt.Errorf("create the %s: %w", role, err)
		}
	} else {
		dep := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: role}}
		patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, len(known)+1))
		if err := d.kube.objects.Patch(ctx, dep, patch); err != nil {
			return "", fmt.Errorf("one more %s: %w", role, err)
		}
	}
	name := ""
	err := d.await(ctx, awaited{fmt.Sprintf("%s %d", role, len(known)+1), startPatience, func(ctx context.Context) (string, bool, error) {
		pods, err := d.kube.pods(ctx, namespace, labelRole, role)
		if err != nil {
			return "", false, err
		}
		for _, p := range pods {
			if !slices.Contains(known, p.Name) && started(p) {
				name = p.Name
				return "", true, nil
			}
		}
		return d.notUp(ctx, namespace, "its pod starts")
	}})
	if err == nil {
		go d.follow(ctx, name) // ends with ctx, or when the pod's log does for good
	}
	return name, err
}

func started(p corev1.Pod) bool {
	for _, c := range p.Status.ContainerStatuses {
		if c.State.Running != nil {
			return true
		}
	}
	return false
}

// follow reads a client's log from its beginning and passes each event on once, also when the stream breaks.
func (d *demo) follow(ctx context.Context, pod string) {
	var read time.Time
	for failures := 0; ctx.Err() == nil; failures++ {
		last, err := d.readLog(ctx, pod, read)
		if last.After(read) {
			read, failures = last, 0
		}
		if failures > 20 || apierrors.IsNotFound(err) {
			d.send(ctx, note{pod: pod, err: fmt.Errorf("the log of %s ends: %w", pod, err)})
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(askEvery):
		}
	}
}

var errEnded = errors.New("the stream ended")

// readLog passes on what is younger than read, until the stream ends. It returns the time of the last event.
func (d *demo) readLog(ctx context.Context, pod string, read time.Time) (time.Time, error) {
	stream, err := d.kube.set.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{Follow: true}).Stream(ctx)
	if err != nil {
		return read, err
	}
	defer stream.Close()
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil || !e.Time.After(read) {
			continue // what the SDK prints by itself, or known
		}
		read = e.Time
		d.send(ctx, note{pod: pod, event: e})
	}
	return read, errors.Join(lines.Err(), errEnded)
}

func (d *demo) send(ctx context.Context, n note) {
	select {
	case d.feed <- n:
	case <-ctx.Done():
	}
}
