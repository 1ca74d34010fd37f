// Package kubeclient makes a client for one kind of Kubernetes object in one namespace, as a pod reaches the API: the
// client set of all kinds would double the memory of a member.
package kubeclient

import (
	"fmt"
	"os"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/gentype"
	"k8s.io/client-go/rest"
)

const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// Object is a pointer to an API object.
type Object interface {
	runtime.Object
	metav1.Object
}

// Kind is a kind of objects O, which come in lists L.
type Kind[O Object, L runtime.Object] struct {
	// Resource as the API's paths name it: "leases".
	Resource string
	Group    schema.GroupVersion
	// Add puts the kind into a scheme.
	Add       func(*runtime.Scheme) error
	NewObject func() O
	NewList   func() L
}

// InCluster makes a client from the pod's service account; namespace "" = the pod's own, which is returned.
func InCluster[O Object, L runtime.Object](k Kind[O, L], namespace string) (*gentype.ClientWithList[O, L], string, error) {
	if namespace == "" {
		data, err := os.ReadFile(namespaceFile)
		if err != nil {
			return nil, "", fmt.Errorf("membership.namespace: is not set, and the pod's own is not known: %w", err)
		}
		namespace = strings.TrimSpace(string(data))
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		return nil, "", fmt.Errorf("membership.source: %s need a pod with a service account token: %w", k.Resource, err)
	}
	client, err := New(k, config, namespace)
	return client, namespace, err
}

// New makes a client.
func New[O Object, L runtime.Object](k Kind[O, L], config *rest.Config, namespace string) (*gentype.ClientWithList[O, L], error) {
	scheme := runtime.NewScheme()
	if err := k.Add(scheme); err != nil {
		return nil, fmt.Errorf("membership.source: %w", err)
	}
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	c := rest.CopyConfig(config)
	c.APIPath, c.GroupVersion = "/apis", &k.Group
	c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	c.UserAgent = "muster-registry"
	c.QPS, c.Burst = 20, 40
	// HTTP/1.1: a request that times out takes its connection with it. One HTTP/2 connection for all would stay dead for
	// most of a minute after a cut has healed (P4).
	c.NextProtos = []string{"http/1.1"}
	client, err := rest.RESTClientFor(c)
	if err != nil {
		return nil, fmt.Errorf("membership.source: %w", err)
	}
	return gentype.NewClientWithList(k.Resource, client, runtime.NewParameterCodec(scheme), namespace, k.NewObject, k.NewList), nil
}
