package registrycluster

import (
	"fmt"
	"slices"
	"time"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
	"github.com/muster-registry/muster/controllers/apply"
	"github.com/muster-registry/muster/controllers/desired"
)

// A rotation of the peer key has three steps, and members that are a step apart still trust each other:
// announce (the new key is trusted), switch (it is presented), finish (the old one is trusted no more).
// A step is taken only when every live Lease reports that the one before has arrived.

const (
	// rotateAtAge is the age at which the operator rotates a key by itself.
	rotateAtAge = desired.PeerKeyLifetime / 2
	// silentStep stands for the reports where members write no Leases: the kubelet brings a changed Secret into its
	// pods within about two minutes.
	silentStep = 5 * time.Minute
)

// rotation is the outcome of rotate: the key to have now, the step that this is, or what the next one waits for.
type rotation struct {
	key     desired.PeerKey
	step    string
	waiting string
}

// Steps of a rotation, as in the Events.
const (
	stepCreated   = "Created"
	stepAnnounced = "Announced"
	stepSwitched  = "Switched"
	stepFinished  = "Finished"
)

// rotate decides the next state of the peer key. make is called when a new one is needed.
func rotate(c *musterv1alpha1.RegistryCluster, in inputs, makeKey func(time.Time) (desired.Certificate, error)) (rotation, error) {
	requested := c.Annotations[wellknown.AnnotationRotatePeerKey]
	if in.secret == nil {
		fresh, err := makeKey(in.now)
		return rotation{key: desired.NewPeerKey(fresh, requested), step: stepCreated}, err
	}
	key := desired.ReadPeerKey(in.secret)
	if err := key.Validate(); err != nil {
		return rotation{key: key}, apply.Stalled{
			Reason:  musterv1alpha1.ReasonBrokenSecret,
			Message: fmt.Sprintf("Secret %s: %v; delete it to get a new key", in.secret.Name, err),
		}
	}
	switch {
	case key.Announced():
		next, err := key.NextFingerprint()
		return advance(c, in, key, err, transition{
			step: stepSwitched, to: func() desired.PeerKey { return key.Switch(in.now) },
			done: func(m member) bool { return slices.Contains(m.trusts, next) }, what: "trust the new peer key",
		})
	case key.Switched():
		current, err := key.Fingerprint()
		return advance(c, in, key, err, transition{
			step: stepFinished, to: key.Finish,
			done: func(m member) bool { return m.presents == current }, what: "present the new peer key",
		})
	}
	born, err := key.Born()
	if err != nil || key.RotatedFor == requested && in.now.Sub(born) < rotateAtAge {
		return rotation{key: key}, err
	}
	fresh, err := makeKey(in.now)
	return rotation{key: key.Announce(fresh, in.now, requested), step: stepAnnounced}, err
}

// transition is a step that waits for the members.
type transition struct {
	step string
	to   func() desired.PeerKey
	done func(member) bool
	what string // what members must do first
}

// advance takes the step if every live member is ready for it. Where nobody is alive nobody has reported.
func advance(c *musterv1alpha1.RegistryCluster, in inputs, key desired.PeerKey, err error, t transition) (rotation, error) {
	if err != nil {
		return rotation{key: key}, err
	}
	if c.Spec.Membership.Source == musterv1alpha1.MembershipEndpointSlice {
		since, err := time.Parse(time.RFC3339, key.Since)
		if err == nil && in.now.Sub(since) < silentStep {
			return rotation{key: key, waiting: fmt.Sprintf("%s until all pods must %s", silentStep, t.what)}, nil
		}
		t.done = func(m member) bool { return m.State == musterv1alpha1.MemberComplete }
	}
	if len(in.members) == 0 {
		return rotation{key: key, waiting: "a live member to " + t.what}, nil
	}
	for _, m := range in.members {
		if !t.done(m) {
			return rotation{key: key, waiting: fmt.Sprintf("member %s to %s", m.Name, t.what)}, nil
		}
	}
	return rotation{key: t.to(), step: t.step}, nil
}
