package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
	"github.com/muster-registry/muster/hack/lab/cluster"
)

// kube is the Kubernetes that the demo runs in.
type kube struct {
	kubeconfig string // as KUBECONFIG has it
	server     string
	lab        *cluster.Lab // nil in a cluster of the user's own
	objects    client.Client
	set        kubernetes.Interface // for what objects cannot: logs, and requests to pods
}

func openKube(kubeconfig string, lab *cluster.Lab) (*kube, error) {
	files := filepath.SplitList(kubeconfig)
	if !slices.ContainsFunc(files, func(f string) bool { _, err := os.Stat(f); return err == nil }) {
		return nil, fmt.Errorf("KUBECONFIG %s: there is no such file; unset it to run the demo on a Kubernetes of its own", kubeconfig)
	}
	rules := &clientcmd.ClientConfigLoadingRules{Precedence: files}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("KUBECONFIG %s: %w", kubeconfig, err)
	}
	config.QPS, config.Burst = 50, 100
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, musterv1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	k := &kube{kubeconfig: kubeconfig, server: config.Host, lab: lab}
	if k.set, err = kubernetes.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("KUBECONFIG %s: %w", kubeconfig, err)
	}
	if k.objects, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return nil, fmt.Errorf("the Kubernetes API at %s: %w", config.Host, err)
	}
	return k, nil
}

// pods are those with a label's value, the living ones, by name.
func (k *kube) pods(ctx context.Context, ns, label, value string) ([]corev1.Pod, error) {
	var list corev1.PodList
	if err := k.objects.List(ctx, &list, client.InNamespace(ns), client.MatchingLabels{label: value}); err != nil {
		return nil, err
	}
	alive := slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
	slices.SortFunc(alive, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return alive, nil
}

func (k *kube) members(ctx context.Context) ([]corev1.Pod, error) {
	return k.pods(ctx, namespace, wellknown.LabelCluster, registry)
}

// view is the part of a member's /view that the demo reads.
type view struct {
	Name      string `json:"name"`
	Ready     bool   `json:"ready"`
	Reason    string `json:"reason"`
	Dirty     bool   `json:"dirty"`
	ReadsOpen bool   `json:"readsOpen"`
	Members   []struct {
		Name string `json:"name"`
	} `json:"members"`
	Counts struct {
		Instances     int `json:"instances"`
		Unclaimed     int `json:"unclaimed"`
		Connections   int `json:"connections"`
		Subscriptions int `json:"subscriptions"`
	} `json:"counts"`
}

// views asks every member that lives what it sees. The way is that of kubectl: through the API server.
func (k *kube) views(ctx context.Context) ([]view, error) {
	pods, err := k.members(ctx)
	if err != nil {
		return nil, err
	}
	var views []view
	for _, p := range pods {
		v := view{}
		if err := k.ask(ctx, p.Name, wellknown.PortAdmin, "view", nil, &v); err != nil {
			return nil, err
		}
		v.Name = p.Name
		views = append(views, v)
	}
	return views, nil
}

// listed is how many instances of the demo's service each member answers over Nacos HTTP.
func (k *kube) listed(ctx context.Context) (map[string]int, error) {
	pods, err := k.members(ctx)
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for _, p := range pods {
		var answer struct {
			Hosts []struct{} `json:"hosts"`
		}
		err := k.ask(ctx, p.Name, wellknown.PortHTTP, "nacos/v1/ns/instance/list", map[string]string{"serviceName": service}, &answer)
		if err != nil {
			return nil, err
		}
		counts[p.Name] = len(answer.Hosts)
	}
	return counts, nil
}

func (k *kube) ask(ctx context.Context, pod string, port int, path string, query map[string]string, into any) error {
	body, err := k.set.CoreV1().Pods(namespace).ProxyGet("http", pod, strconv.Itoa(port), path, query).DoRaw(ctx)
	if err != nil {
		return fmt.Errorf("ask %s on port %d: %w", pod, port, err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("answer of %s on port %d: %w", pod, port, err)
	}
	return nil
}
