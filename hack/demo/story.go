package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-registry/muster/hack/lab/fault"
)

const (
	wantConsumers = 3
	mostConsumers = 9 // the Service's choice is random: that all of so many meet at one member is next to impossible

	// watchAfter is how long the consumers are watched at least after the death: longer than a Lease lives (10 s).
	watchAfter     = 15 * time.Second
	eventPatience  = time.Minute
	settlePatience = 3 * time.Minute
)

// story is what is shown on the registry that runs.
type story struct {
	*demo
	nodes     map[string]string // member -> node
	consumers []string          // pods
	holder    string            // member with the provider's connection
}

func newStory(d *demo) *story {
	return &story{demo: d, nodes: map[string]string{}}
}

func (s *story) tell(ctx context.Context) error {
	if err := s.removeClients(ctx); err != nil {
		return err
	}
	if err := s.noteNodes(ctx); err != nil {
		return err
	}
	s.say.sayf("they know the registry as %s, the Service; which member one meets is chance", address)
	if err := s.subscribe(ctx); err != nil {
		return err
	}
	if err := s.register(ctx); err != nil {
		return err
	}
	s.say.title("A member dies: the one that holds the registration")
	if err := s.kill(ctx); err != nil {
		return err
	}
	if err := s.recover(ctx); err != nil {
		return err
	}
	return s.conclude(ctx)
}

func (s *story) noteNodes(ctx context.Context) error {
	pods, err := s.kube.members(ctx)
	if err != nil {
		return err
	}
	for _, p := range pods {
		s.nodes[p.Name] = p.Spec.NodeName
	}
	return nil
}

func (s *story) where(member string) string {
	if member == "" {
		return "a member (which one is not to be told: other clients come and go)"
	}
	return fmt.Sprintf("%s (%s)", member, s.nodes[member])
}

// subscribe starts consumers one by one, until some are at another member than others: then one is at another member than
// the provider, wherever that goes.
func (s *story) subscribe(ctx context.Context) error {
	met := map[string]bool{}
	for len(s.consumers) < wantConsumers || len(met) < 2 {
		if len(s.consumers) == mostConsumers {
			return fmt.Errorf("all of %d consumers are at one member: does the Service %s/%s balance? kubectl -n %s get endpointslices", mostConsumers, namespace, registry, namespace)
		}
		before, err := s.kube.views(ctx)
		if err != nil {
			return err
		}
		name, err := s.addConsumer(ctx)
		if err != nil {
			return err
		}
		after, err := s.kube.views(ctx)
		if err != nil {
			return err
		}
		member := rose(before, after, subscriptions)
		if member != "" {
			met[member] = true
		}
		s.ledger.at[name] = member
		s.say.sayf("%s subscribes to %q at %s", name, service, s.where(member))
	}
	return nil
}

func (s *story) addConsumer(ctx context.Context) (name string, err error) {
	pod, err := s.startClient(ctx, consumer, s.consumers)
	if err != nil {
		return "", err
	}
	s.consumers = append(s.consumers, pod)
	name = fmt.Sprintf("%s %d", consumer, len(s.consumers))
	s.ledger.meet(pod, name)
	return name, s.until(ctx, name+" to subscribe", eventPatience, func() bool { return s.ledger.seen[name].listening })
}

// until waits for something in the ledger.
func (s *story) until(ctx context.Context, what string, patience time.Duration, done func() bool) error {
	return s.await(ctx, awaited{what, patience, func(context.Context) (string, bool, error) { return "not yet", done(), nil }})
}

func (s *story) register(ctx context.Context) error {
	before, err := s.kube.views(ctx)
	if err != nil {
		return err
	}
	s.holding = true
	pod, err := s.startClient(ctx, provider, nil)
	if err != nil {
		return err
	}
	s.ledger.meet(pod, provider)
	err = s.until(ctx, "the provider to register", eventPatience, func() bool { return s.ledger.registered })
	if err != nil {
		return err
	}
	after, err := s.kube.views(ctx)
	if err != nil {
		return err
	}
	s.holder = rose(before, after, connections)
	s.say.sayf("provider registers %d instances of %q at %s", instances, service, s.where(s.holder))
	s.release()
	err = s.until(ctx, "every consumer to be told", eventPatience, func() bool { return s.ledger.complete() == len(s.consumers) })
	if err != nil {
		return err
	}
	if s.holder == "" {
		return fmt.Errorf("cannot tell which member holds the registration: other clients than the demo's connect to %s; end them, and run it again", address)
	}
	return nil
}

// kill ends the member's process without a word. In the lab that is SIGKILL; elsewhere, where nobody reaches a process from
// outside, a deletion without grace comes closest. Both end with the pod gone.
func (s *story) kill(ctx context.Context) error {
	how := "its pod is deleted without grace"
	if s.kube.lab != nil {
		how = "SIGKILL, and its pod is deleted without grace"
	}
	s.say.sayf("%s: %s", s.where(s.holder), how)
	s.ledger.dead = s.holder
	if s.kube.lab != nil {
		faults, err := fault.New(s.kube.lab)
		if err != nil {
			return err
		}
		if err := faults.Kill(ctx, fault.Pod{Namespace: namespace, Name: s.holder}, ""); err != nil {
			return fmt.Errorf("kill %s: %w", s.holder, err)
		}
	}
	now := int64(0)
	err := s.kube.set.CoreV1().Pods(namespace).Delete(ctx, s.holder, metav1.DeleteOptions{GracePeriodSeconds: &now})
	if err != nil {
		return fmt.Errorf("delete %s: %w", s.holder, err)
	}
	return nil
}

// recover watches until everything is as before, and starts one more consumer in the middle of it, which has to be told by a
// member that the provider never spoke to.
func (s *story) recover(ctx context.Context) error {
	died := time.Now()
	for name := range s.ledger.at {
		s.ledger.at[name] = "" // those that move, move by chance
	}
	s.say.sayf("%s %d starts only now", consumer, len(s.consumers)+1)
	late, err := s.addConsumer(ctx)
	if err != nil {
		return err
	}
	err = s.until(ctx, late+" to be told", eventPatience, func() bool { return s.ledger.seen[late].complete })
	if err != nil {
		return err
	}
	err = s.await(ctx, awaited{"a new member, and everything as before", settlePatience, func(ctx context.Context) (string, bool, error) {
		if state, done, err := s.registrySettled(ctx); !done {
			return state, false, err
		}
		return s.held(ctx)
	}})
	if err != nil {
		return err
	}
	if err := s.newMember(ctx, died); err != nil {
		return err
	}
	return s.await(ctx, awaited{"watching the consumers a little longer", 2 * watchAfter, func(context.Context) (string, bool, error) {
		return "no shorter list", time.Since(died) >= watchAfter, nil
	}})
}

// held is true when every member lists all instances and the provider's new connection stands for them.
func (s *story) held(ctx context.Context) (string, bool, error) {
	if p := s.ledger.seen[provider]; !p.connected {
		return "the provider is not connected", false, nil
	}
	listed, err := s.kube.listed(ctx)
	if err != nil {
		return "", false, err
	}
	for member, n := range listed {
		if n != instances {
			return fmt.Sprintf("%s lists %d of %d instances", member, n, instances), false, nil
		}
	}
	views, err := s.kube.views(ctx)
	if err != nil {
		return "", false, err
	}
	for _, v := range views {
		if v.Counts.Unclaimed > 0 {
			return fmt.Sprintf("%s holds %d records that nobody stands for", v.Name, v.Counts.Unclaimed), false, nil
		}
	}
	return "", true, nil
}

func (s *story) newMember(ctx context.Context, died time.Time) error {
	old := s.nodes
	s.nodes = map[string]string{}
	if err := s.noteNodes(ctx); err != nil {
		return err
	}
	for member := range s.nodes {
		if old[member] == "" {
			s.say.sayf("%s takes its place and has all of it; every member agrees, %s after the death", s.where(member), time.Since(died).Round(100*time.Millisecond))
		}
	}
	return nil
}

func (s *story) conclude(ctx context.Context) error {
	if err := s.sameClients(ctx); err != nil {
		return err
	}
	s.say.title("What the consumers saw, from the registration on")
	s.say.plain(s.ledger.summary())
	if err := s.ledger.verdict(); err != nil {
		return err
	}
	s.say.plain("        No consumer saw an empty list, or one with an instance missing.")
	return nil
}

// sameClients makes sure that no client was restarted: what it had told before would not be in the ledger's sums.
func (s *story) sameClients(ctx context.Context) error {
	var restarted []string
	for _, role := range []string{provider, consumer} {
		pods, err := s.kube.pods(ctx, namespace, labelRole, role)
		if err != nil {
			return err
		}
		for _, p := range pods {
			if restarts(p) > 0 {
				restarted = append(restarted, p.Name)
			}
		}
	}
	if len(restarted) > 0 {
		return fmt.Errorf("clients crashed and were started again: %s", strings.Join(restarted, ", "))
	}
	return nil
}

func restarts(p corev1.Pod) int {
	n := 0
	for _, c := range p.Status.ContainerStatuses {
		n += int(c.RestartCount)
	}
	return n
}
