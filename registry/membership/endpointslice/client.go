package endpointslice

import (
	"fmt"
	"os"
	"strings"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/gentype"
	"k8s.io/client-go/rest"
)

const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// InCluster is the API as a pod reaches it; namespace "" = the pod's own, which is returned.
func InCluster(namespace string) (API, string, error) {
	if namespace == "" {
		data, err := os.ReadFile(namespaceFile)
		if err != nil {
			return nil, "", fmt.Errorf("membership.namespace: is not set, and the pod's own is not known: %w", err)
		}
		namespace = strings.TrimSpace(string(data))
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		return nil, "", fmt.Errorf("membership.source endpointslice: needs a pod with a service account token: %w", err)
	}
	api, err := newAPI(config, namespace)
	return api, namespace, err
}

// newAPI makes a client for EndpointSlices alone: the client set of all kinds would double the memory of a member.
func newAPI(config *rest.Config, namespace string) (API, error) {
	scheme := runtime.NewScheme()
	group := discoveryv1.SchemeGroupVersion
	if err := discoveryv1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	c := rest.CopyConfig(config)
	c.APIPath, c.GroupVersion = "/apis", &group
	c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	c.UserAgent = "muster-registry"
	// HTTP/1.1: a request that times out takes its connection with it (P4).
	c.NextProtos = []string{"http/1.1"}
	client, err := rest.RESTClientFor(c)
	if err != nil {
		return nil, fmt.Errorf("membership.source endpointslice: %w", err)
	}
	return gentype.NewClientWithList("endpointslices", client, runtime.NewParameterCodec(scheme), namespace,
		func() *discoveryv1.EndpointSlice { return &discoveryv1.EndpointSlice{} },
		func() *discoveryv1.EndpointSliceList { return &discoveryv1.EndpointSliceList{} }), nil
}
