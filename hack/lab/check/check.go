// Package check proves that a lab works: pods, Services, names, rollouts of the kubelet's duties, and that every fault breaks what
// it says, nothing else, and heals. It runs pods of its own in a namespace of its own, on a lab with at least three nodes.
package check

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/muster-registry/muster/hack/lab/cluster"
	"github.com/muster-registry/muster/hack/lab/fault"
)

//go:embed probe.yaml
var manifest string

const (
	namespace = "lab-check"
	replicas  = 6
	perNode   = 2 // of the first three nodes
)

// checker holds what the steps share.
type checker struct {
	lab    *cluster.Lab
	faults *fault.Injector
	http   *http.Client
	image  string
	out    io.Writer
}

// step is one thing to prove.
type step struct {
	name string
	run  func(ctx context.Context) error
}

// Run proves everything, and tells each step's time. image is the tar of the probe. It heals and cleans up after itself.
func Run(ctx context.Context, lab *cluster.Lab, image string, out io.Writer) (err error) {
	if n := len(lab.Nodes()); n < 3 {
		return fmt.Errorf("the checks need a lab of 3 nodes, and this one has %d: lab up --nodes 3", n)
	}
	faults, err := fault.New(lab)
	if err != nil {
		return err
	}
	c := &checker{
		lab: lab, faults: faults, image: image, out: out,
		http: &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	defer func() { err = errors.Join(err, c.cleanUp(context.WithoutCancel(ctx))) }()
	steps := append(c.basics(), c.faultSteps()...)
	start, failed := time.Now(), 0
	for i, s := range steps {
		began := time.Now()
		err := s.run(ctx)
		took := time.Since(began).Round(100 * time.Millisecond)
		if err == nil {
			fmt.Fprintf(out, "ok    %2d/%d %s (%s)\n", i+1, len(steps), s.name, took)
			continue
		}
		failed++
		fmt.Fprintf(out, "FAIL  %2d/%d %s (%s): %v\n", i+1, len(steps), s.name, took, err)
		if ctx.Err() != nil || i == 0 {
			break // without the pods nothing else can be tried
		}
		if err := c.faults.HealAll(ctx); err != nil {
			fmt.Fprintf(out, "      heal: %v\n", err)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(steps))
	}
	fmt.Fprintf(out, "%d checks passed in %s\n", len(steps), time.Since(start).Round(time.Second))
	return nil
}

func (c *checker) cleanUp(ctx context.Context) error {
	if err := c.faults.HealAll(ctx); err != nil {
		return err
	}
	_, err := c.kubectl(ctx, "delete", "namespace", namespace, "--ignore-not-found", "--timeout=60s")
	return err
}
