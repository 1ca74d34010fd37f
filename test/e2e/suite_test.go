// Package e2e shows the product on a real Kubernetes with the real Nacos client inside it: on the lab of hack/lab, which it
// brings up when it is down, or on the cluster of KUBECONFIG. The operator is installed by Kustomize from config/.
//
// Environment, for a cluster that is not the lab: MUSTER_E2E_IMAGE, MUSTER_E2E_NEXT_IMAGE and MUSTER_E2E_CLIENT_IMAGE name
// images that its nodes can pull (the next one is rolled out over the first). Faults need the lab; without it pods are
// deleted instead of killed.
package e2e

import (
	"fmt"
	"os"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

const (
	root = "../.."
	// labelShort marks what CI runs.
	labelShort = "short"
)

// kube is the Kubernetes that the suite runs on. BeforeSuite sets it once.
var kube *kubernetesCluster

func TestE2E(t *testing.T) {
	if testing.Short() {
		t.Skip("the end-to-end tests need a Kubernetes and minutes: make e2e-short")
	}
	RegisterFailHandler(Fail)
	// Two slow cores run all of it: deadlines are generous, and nothing depends on how fast something is.
	SetDefaultEventuallyTimeout(3 * time.Minute)
	EnforceDefaultTimeoutsWhenUsingContexts()
	SetDefaultEventuallyPollingInterval(500 * time.Millisecond)
	RunSpecs(t, "End to end")
	for _, f := range failures { // once more, where a log that was cut still has them
		t.Log(f)
	}
}

// failures are the specs that failed, and why. Written by the goroutine that runs the specs.
var failures []string

var _ = ReportAfterEach(func(r SpecReport) {
	if r.Failed() {
		failure := fmt.Sprintf("%s, at %s: %s", r.FullText(), r.FailureLocation(), r.FailureMessage())
		for _, e := range r.ReportEntries {
			failure += "\n" + e.StringRepresentation()
		}
		failures = append(failures, failure)
	}
})

var _ = BeforeSuite(func(ctx SpecContext) {
	began := time.Now()
	kube = openKubernetes(ctx)
	step(began, "Kubernetes answers, images are there")
	installOperator(ctx)
	step(began, "the operator is ready")
}, NodeTimeout(30*time.Minute))

// What broke is told before cleanups take it away.
var _ = JustAfterEach(func(ctx SpecContext) {
	if CurrentSpecReport().Failed() {
		AddReportEntry("clients", kube.clients(ctx))
		kube.tell(ctx)
	}
}, NodeTimeout(3*time.Minute))

// step tells how long something took; nothing is decided by it.
func step(began time.Time, format string, args ...any) {
	GinkgoWriter.Printf("%6.1fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}
