package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
)

const (
	// The suite's operator has a place and a name of its own: an operator that somebody else installed stays as it is.
	operatorNamespace = "muster-e2e"
	operatorName      = "e2e-muster-operator"
	crdName           = "registryclusters.registry.muster.dev"
)

// overlay is what a user writes to install config/default under another name, with an image of his own.
const overlay = `resources: [%s]
namespace: %s
namePrefix: e2e-
images:
  - name: muster
    newName: %s
    newTag: %s
`

// installOperator installs it by Kustomize, and takes away at the end what was not there before.
func installOperator(ctx SpecContext) {
	GinkgoHelper()
	key := client.ObjectKey{Name: crdName}
	before := kube.Get(ctx, key, &apiextensionsv1.CustomResourceDefinition{})
	Expect(client.IgnoreNotFound(before)).To(Succeed())

	dir := GinkgoT().TempDir()
	base, err := filepath.Abs(filepath.Join(root, "config/default"))
	Expect(err).NotTo(HaveOccurred())
	relative, err := filepath.Rel(dir, base)
	Expect(err).NotTo(HaveOccurred())
	colon := strings.LastIndex(kube.image, ":")
	Expect(colon).To(BeNumerically(">", 0), "MUSTER_E2E_IMAGE needs a tag")
	text := fmt.Sprintf(overlay, relative, operatorNamespace, kube.image[:colon], kube.image[colon+1:])
	Expect(os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600)).To(Succeed())
	manifest := kube.kubectl(ctx, "kustomize", dir)

	DeferCleanup(func(ctx SpecContext) { removeOperator(ctx, manifest, apierrors.IsNotFound(before)) }, NodeTimeout(5*time.Minute))
	_, err = kube.try(ctx, manifest, "apply", "--server-side", "--force-conflicts", "-f", "-")
	Expect(err).NotTo(HaveOccurred())
	// A deployment that was there runs the image of an earlier load.
	kube.kubectl(ctx, "-n", operatorNamespace, "delete", "pods", "--all", "--ignore-not-found")
	operatorRuns(ctx)
}

// removeOperator removes what the manifest made; the CRD only when this suite brought it and nobody uses it.
func removeOperator(ctx SpecContext, manifest string, withCRD bool) {
	var keep []string
	for document := range strings.SplitSeq(manifest, "\n---\n") {
		if !strings.Contains(document, "kind: CustomResourceDefinition") {
			keep = append(keep, document)
		}
	}
	_, err := kube.try(ctx, strings.Join(keep, "\n---\n"), "delete", "--ignore-not-found", "-f", "-")
	Expect(err).NotTo(HaveOccurred())
	list := &musterv1alpha1.RegistryClusterList{}
	if !withCRD || kube.List(ctx, list) != nil || len(list.Items) > 0 {
		return
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	crd.Name = crdName
	Expect(client.IgnoreNotFound(kube.Delete(ctx, crd))).To(Succeed())
}

// operatorRuns waits until the suite's operator is ready and the API serves its kind.
func operatorRuns(ctx SpecContext) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		d := &appsv1.Deployment{}
		g.Expect(kube.Get(ctx, client.ObjectKey{Namespace: operatorNamespace, Name: operatorName}, d)).To(Succeed())
		g.Expect(d.Status.ObservedGeneration).To(Equal(d.Generation))
		g.Expect(d.Status.ReadyReplicas).To(BeEquivalentTo(1))
		g.Expect(d.Status.Replicas).To(BeEquivalentTo(1))
		g.Expect(kube.List(ctx, &musterv1alpha1.RegistryClusterList{})).To(Succeed())
	}).Should(Succeed())
}

// scaleOperator stops the suite's operator (0) or starts it (1), and waits until that is so.
func scaleOperator(ctx SpecContext, replicas int) {
	GinkgoHelper()
	kube.kubectl(ctx, "-n", operatorNamespace, "scale", "deployment/"+operatorName, fmt.Sprintf("--replicas=%d", replicas))
	if replicas > 0 {
		operatorRuns(ctx)
		return
	}
	Eventually(ctx, func(g Gomega) {
		pods := &corev1.PodList{}
		g.Expect(kube.List(ctx, pods, client.InNamespace(operatorNamespace))).To(Succeed())
		g.Expect(pods.Items).To(BeEmpty())
	}).Should(Succeed())
}
