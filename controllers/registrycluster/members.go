package registrycluster

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
)

// member is a live member with what its Lease says beyond the status.
type member struct {
	musterv1alpha1.Member
	podUID   types.UID
	presents string   // fingerprint of the peer certificate
	trusts   []string // fingerprints
	dirty    bool
	cleanFor time.Duration // since it last became clean
	frozen   bool
	// protection is what it holds expiries back for, "" for nothing; until when at the latest is for people.
	protection, protectionUntil string
}

// leaseClock ages Leases by the operator's own clock: a member's may be an hour off (P8). A Lease is as old as the
// time since its renewal was last seen to change. It is the only state that the reconciler keeps, and losing it at a
// restart costs one period in which a dead member still shows.
type leaseClock struct {
	mu   sync.Mutex
	seen map[types.UID]sighting // guarded by mu; by UID of the Lease
}

type sighting struct {
	renewal   string
	renewedAt time.Time
	dirtiness string
	changedAt time.Time
	owner     types.NamespacedName // the RegistryCluster, to forget by
}

// observe notes the renewals of a cluster's Leases and returns each one's sighting.
func (c *leaseClock) observe(now time.Time, owner types.NamespacedName, leases []coordinationv1.Lease) map[types.UID]sighting {
	c.mu.Lock()
	defer c.mu.Unlock()
	current := make(map[types.UID]sighting, len(leases))
	for i := range leases {
		l := &leases[i]
		before, known := c.seen[l.UID]
		s := before
		s.owner = owner
		if renewal := renewalOf(l); !known || renewal != before.renewal {
			s.renewal, s.renewedAt = renewal, now
		}
		changed := l.Annotations[wellknown.AnnotationDirtyChanged]
		dirtiness := l.Annotations[wellknown.AnnotationDirtyPeers] + changed
		switch {
		case !known:
			s.dirtiness, s.changedAt = dirtiness, claimed(changed, now)
		case dirtiness != before.dirtiness:
			s.dirtiness, s.changedAt = dirtiness, now
		}
		current[l.UID] = s
	}
	c.forget(owner)
	if c.seen == nil {
		c.seen = map[types.UID]sighting{}
	}
	for uid, s := range current {
		c.seen[uid] = s
	}
	return current
}

// drop forgets a cluster that is gone.
func (c *leaseClock) drop(owner types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(owner)
}

func (c *leaseClock) forget(owner types.NamespacedName) {
	for uid, s := range c.seen {
		if s.owner == owner {
			delete(c.seen, uid)
		}
	}
}

func renewalOf(l *coordinationv1.Lease) string {
	holder := ""
	if l.Spec.HolderIdentity != nil {
		holder = *l.Spec.HolderIdentity
	}
	if l.Spec.RenewTime == nil {
		return holder
	}
	return holder + l.Spec.RenewTime.UTC().Format(time.RFC3339Nano)
}

// claimed takes a member's word for a time at which nobody watched, but not for one that is still to come.
func claimed(changed string, now time.Time) time.Time {
	t, err := time.Parse(time.RFC3339, changed)
	if err != nil || t.After(now) {
		return now
	}
	return t
}

// liveMembers are those whose Lease is young, belongs to one of the pods, and says who holds it. The Lease of a member
// that has stopped is released: it names no holder.
func liveMembers(now time.Time, leases []coordinationv1.Lease, seen map[types.UID]sighting, pods []corev1.Pod, goneAfter time.Duration) []member {
	byPod := map[types.UID]member{}
	newest := map[types.UID]time.Time{}
	for i := range leases {
		l := &leases[i]
		s := seen[l.UID]
		pod := ownerPod(l, pods)
		if pod == nil || now.Sub(s.renewedAt) >= goneAfter || l.Spec.HolderIdentity == nil || *l.Spec.HolderIdentity == "" {
			continue
		}
		if at, twice := newest[pod.UID]; twice && !s.renewedAt.After(at) {
			continue
		}
		newest[pod.UID], byPod[pod.UID] = s.renewedAt, fromLease(l, pod, now.Sub(s.changedAt))
	}
	members := make([]member, 0, len(byPod))
	for _, m := range byPod {
		members = append(members, m)
	}
	return sortMembers(members)
}

// ownerPod finds the pod that a Lease belongs to, by owner reference and by its own word. A Lease that somebody else
// wrote with the labels of the cluster (S2) has no such pod.
func ownerPod(l *coordinationv1.Lease, pods []corev1.Pod) *corev1.Pod {
	uid := types.UID(l.Annotations[wellknown.AnnotationPodUID])
	for _, ref := range l.OwnerReferences {
		if ref.Kind != "Pod" || ref.UID != uid {
			continue
		}
		if i := slices.IndexFunc(pods, func(p corev1.Pod) bool { return p.UID == uid }); i >= 0 {
			return &pods[i]
		}
	}
	return nil
}

func fromLease(l *coordinationv1.Lease, pod *corev1.Pod, cleanFor time.Duration) member {
	a := l.Annotations
	m := member{
		Member: musterv1alpha1.Member{
			Name:        pod.Name,
			Incarnation: *l.Spec.HolderIdentity,
			Address:     a[wellknown.AnnotationPeerAddress],
			Zone:        a[wellknown.AnnotationZone],
			State:       a[wellknown.AnnotationState],
			Version:     a[wellknown.AnnotationVersion],
		},
		podUID:   pod.UID,
		presents: a[wellknown.AnnotationPresents],
		dirty:    a[wellknown.AnnotationDirtyPeers] == "true",
		frozen:   a[wellknown.AnnotationViewFrozen] == "true",
		cleanFor: cleanFor,

		protection: a[wellknown.AnnotationProtection], protectionUntil: a[wellknown.AnnotationProtectionUntil],
	}
	if t := a[wellknown.AnnotationTrusts]; t != "" {
		m.trusts = strings.Split(t, ",")
	}
	return m
}

func sortMembers(members []member) []member {
	slices.SortFunc(members, func(a, b member) int {
		return cmp.Or(cmp.Compare(a.Address, b.Address), cmp.Compare(a.Name, b.Name))
	})
	return members
}
