package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-registry/muster/api/wellknown"
)

// inventory names every object of a namespace, of every kind that the cluster has, apart from Events: they tell what was.
func inventory(ctx context.Context, namespace string) map[string]string {
	GinkgoHelper()
	objects := map[string]string{}
	lists, err := kube.set.Discovery().ServerPreferredNamespacedResources()
	Expect(err).NotTo(HaveOccurred())
	for _, list := range lists {
		for _, kind := range list.APIResources {
			if kind.Kind == "Event" || !slices.Contains(kind.Verbs, "list") {
				continue
			}
			found := &metav1.PartialObjectMetadataList{}
			path := "/apis/" + list.GroupVersion
			if !strings.Contains(list.GroupVersion, "/") {
				path = "/api/" + list.GroupVersion
			}
			raw, err := kube.set.RESTClient().Get().AbsPath(path, "namespaces", namespace, kind.Name).
				SetHeader("Accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1").DoRaw(ctx)
			Expect(err).NotTo(HaveOccurred())
			Expect(json.Unmarshal(raw, found)).To(Succeed())
			for _, o := range found.Items {
				objects[kind.Name+"/"+o.Name] = o.ResourceVersion
			}
		}
	}
	return objects
}

// own are the objects of an inventory that Kubernetes does not put into every namespace by itself.
func own(objects map[string]string) []string {
	names := slices.Sorted(maps.Keys(objects))
	return slices.DeleteFunc(names, func(name string) bool {
		return name == "configmaps/kube-root-ca.crt" || name == "serviceaccounts/default"
	})
}

func podNames(pods []corev1.Pod) []string {
	var names []string
	for _, p := range pods {
		names = append(names, p.Name)
	}
	return names
}

// direct is the server address of one member.
func direct(p corev1.Pod) string { return fmt.Sprintf("%s:%d", p.Status.PodIP, wellknown.PortHTTP) }
