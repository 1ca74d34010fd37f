// The operator carries out RegistryClusters. The registries run without it: it is needed to change them, not to serve.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
	"github.com/muster-registry/muster/controllers/registrycluster"
)

func main() {
	o, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "operator:", err)
		os.Exit(2)
	}
	if err := run(ctrl.SetupSignalHandler(), o); err != nil {
		fmt.Fprintln(os.Stderr, "operator:", err)
		os.Exit(1)
	}
}

// run is the composition root: everything that the operator consists of is put together here.
func run(ctx context.Context, o options) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the Kubernetes API (in a pod, or by KUBECONFIG): %w", err)
	}
	log := logr.FromSlogHandler(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: o.logLevel}))
	ctrl.SetLogger(log)
	klog.SetLogger(log) // client-go's, among them the leader election
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, musterv1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	image, err := registryImage(ctx, o, config, scheme)
	if err != nil {
		return err
	}
	mgr, err := newManager(config, scheme, o)
	if err != nil {
		return err
	}
	if err := registrycluster.Setup(mgr, metrics.Registry, registrycluster.Options{RegistryImage: image}); err != nil {
		return fmt.Errorf("set up the RegistryCluster controller: %w", err)
	}
	log.Info("starting", "registryImage", image, "namespaces", o.namespaces)
	return mgr.Start(ctx)
}

func newManager(config *rest.Config, scheme *runtime.Scheme, o options) (ctrl.Manager, error) {
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                  scheme,
		Cache:                   registrycluster.CacheOptions(o.namespaces),
		LeaderElection:          o.leaderElection,
		LeaderElectionID:        wellknown.ManagedBy,
		LeaderElectionNamespace: o.electionNS,
		// The process ends with the manager, so the next one need not wait for the Lease to run out.
		LeaderElectionReleaseOnCancel: true,
		Metrics:                       metricsserver.Options{BindAddress: o.metricsAddress},
		HealthProbeBindAddress:        o.probeAddress,
	})
	if err != nil {
		return nil, fmt.Errorf("make manager: %w", err)
	}
	if err := errors.Join(mgr.AddHealthzCheck("ping", healthz.Ping), mgr.AddReadyzCheck("ping", healthz.Ping)); err != nil {
		return nil, fmt.Errorf("add probes: %w", err)
	}
	return mgr, nil
}

// registryImage is the default for members. One image holds both programs, so without a flag the operator looks up
// what it was started from itself.
func registryImage(ctx context.Context, o options, config *rest.Config, scheme *runtime.Scheme) (string, error) {
	if o.registryImage != "" {
		return o.registryImage, nil
	}
	name, ns := os.Getenv(wellknown.EnvPodName), os.Getenv(wellknown.EnvPodNamespace)
	if name == "" || ns == "" {
		return "", nil // then every RegistryCluster has to name one, and one that does not says so
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return "", fmt.Errorf("find out the operator's own image: %w", err)
	}
	pod := &corev1.Pod{}
	if err := c.Get(ctx, client.ObjectKey{Namespace: ns, Name: name}, pod); err != nil {
		return "", fmt.Errorf("find out the operator's own image (or give --registry-image): %w", err)
	}
	for _, container := range pod.Spec.Containers {
		if container.Name == containerName {
			return container.Image, nil
		}
	}
	return "", fmt.Errorf("pod %s/%s has no container %s to take the image from: give --registry-image", ns, name, containerName)
}

// containerName of the operator in its pod.
const containerName = "operator"
