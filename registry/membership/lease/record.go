package lease

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-registry/muster/api/wellknown"
	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/membership/peerkey"
	"github.com/muster-registry/muster/registry/model"
)

// signedAnnotations are all that a member writes, in the order in which the signature covers them.
var signedAnnotations = [...]string{
	wellknown.AnnotationPodUID, wellknown.AnnotationPeerAddress, wellknown.AnnotationClientPort, wellknown.AnnotationZone,
	wellknown.AnnotationVersion, wellknown.AnnotationState, wellknown.AnnotationPresents, wellknown.AnnotationTrusts,
	wellknown.AnnotationDirtyPeers, wellknown.AnnotationDirtyChanged, wellknown.AnnotationViewFrozen,
	wellknown.AnnotationProtection, wellknown.AnnotationProtectionUntil,
}

// signedText is what the signature is over. Each part goes with its length, so that no two Leases have the same text;
// namespace and name are in it, so that a copy under another name is worth nothing.
func signedText(l *coordinationv1.Lease, clusterUID string) []byte {
	parts := []string{"muster member lease 1", l.Namespace, l.Name, clusterUID, holder(l), strconv.FormatInt(renewal(l), 10)}
	for _, a := range signedAnnotations {
		parts = append(parts, l.Annotations[a])
	}
	var text []byte
	for _, p := range parts {
		text = binary.BigEndian.AppendUint32(text, uint32(len(p)))
		text = append(text, p...)
	}
	return text
}

func sign(l *coordinationv1.Lease, clusterUID string, k *peerkey.Key) error {
	signature, err := k.Sign(signedText(l, clusterUID))
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	l.Annotations[wellknown.AnnotationSignature] = base64.StdEncoding.EncodeToString(signature)
	return nil
}

func genuine(l *coordinationv1.Lease, clusterUID string, k *peerkey.Key) bool {
	signature, err := base64.StdEncoding.DecodeString(l.Annotations[wellknown.AnnotationSignature])
	return err == nil && k.Verify(signedText(l, clusterUID), signature)
}

// holder is the incarnation in hexadecimal; "" when the Lease is released.
func holder(l *coordinationv1.Lease) string {
	if l.Spec.HolderIdentity == nil {
		return ""
	}
	return *l.Spec.HolderIdentity
}

// renewal is the renew time in microseconds, which is all that the API keeps of it.
func renewal(l *coordinationv1.Lease) int64 {
	if l.Spec.RenewTime == nil {
		return 0
	}
	return l.Spec.RenewTime.UnixMicro()
}

var errNotGenuine = errors.New("is not signed by a member of this cluster")

// parse reads a member's Lease. An error concerns that Lease alone.
func parse(l *coordinationv1.Lease, clusterUID string, k *peerkey.Key) (membership.Lease, error) {
	if !genuine(l, clusterUID, k) {
		return membership.Lease{}, errNotGenuine
	}
	a := l.Annotations
	m := model.Member{
		Name: l.Name, UID: a[wellknown.AnnotationPodUID], Address: a[wellknown.AnnotationPeerAddress],
		Zone: a[wellknown.AnnotationZone], Version: a[wellknown.AnnotationVersion],
	}
	var err error
	if h := holder(l); h != "" {
		if m.Incarnation, err = model.ParseIncarnation(h); err != nil {
			return membership.Lease{}, err
		}
	}
	if m.State, err = model.ParseMemberState(a[wellknown.AnnotationState]); err != nil {
		return membership.Lease{}, err
	}
	if m.ClientPort, err = strconv.Atoi(a[wellknown.AnnotationClientPort]); err != nil {
		return membership.Lease{}, fmt.Errorf("client port %q is no number", a[wellknown.AnnotationClientPort])
	}
	if _, _, err := net.SplitHostPort(m.Address); err != nil {
		return membership.Lease{}, fmt.Errorf("peer address %q is no host:port", m.Address)
	}
	if m.UID == "" {
		return membership.Lease{}, errors.New("pod UID is missing")
	}
	return membership.Lease{Name: l.Name, Member: m, Renewal: renewal(l)}, nil
}

// said is what a member announces.
type said struct {
	self         model.Member
	dirty        bool
	dirtyChanged time.Time
	frozen       bool
	left         bool
}

// fill writes all of the member's own fields into its Lease and signs it. The renew time always rises, also when the
// clock does not (P8).
func (s *Source) fill(l *coordinationv1.Lease, w said, k *peerkey.Key, now time.Time) error {
	if now = now.Truncate(time.Microsecond); now.UnixMicro() <= renewal(l) {
		now = time.UnixMicro(renewal(l) + 1)
	}
	l.Labels = merge(l.Labels, map[string]string{
		wellknown.LabelName: wellknown.AppName, wellknown.LabelInstance: s.o.Cluster, wellknown.LabelComponent: wellknown.ComponentMember,
		wellknown.LabelCluster: s.o.Cluster, wellknown.LabelClusterUID: s.o.ClusterUID,
	})
	l.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: s.o.PodName, UID: s.o.podUID()}}
	l.Annotations = merge(merge(l.Annotations, annotations(w, k)), s.protection(now))
	seconds := int32(max(s.o.GoneAfter.Seconds(), 1))
	l.Spec.LeaseDurationSeconds = &seconds
	l.Spec.RenewTime = &metav1.MicroTime{Time: now}
	identity := w.self.Incarnation.String()
	if holder(l) != identity {
		l.Spec.AcquireTime = &metav1.MicroTime{Time: now}
	}
	if l.Spec.HolderIdentity = &identity; w.left {
		l.Spec.HolderIdentity = nil
	}
	return sign(l, s.o.ClusterUID, k)
}

// protection is read at every renewal: what is held back changes all the time, and who reads of it needs no more. The end
// is in full minutes, so that the Lease says something new only rarely.
func (s *Source) protection(now time.Time) map[string]string {
	scope, until := "", ""
	if s.o.Protection != nil {
		var release time.Duration
		if scope, release = s.o.Protection(); scope != "" && release > 0 {
			until = now.Add(release + time.Minute - 1).Truncate(time.Minute).UTC().Format(time.RFC3339)
		}
	}
	return map[string]string{wellknown.AnnotationProtection: scope, wellknown.AnnotationProtectionUntil: until}
}

func annotations(w said, k *peerkey.Key) map[string]string {
	out := map[string]string{
		wellknown.AnnotationPodUID:      w.self.UID,
		wellknown.AnnotationPeerAddress: w.self.Address,
		wellknown.AnnotationClientPort:  strconv.Itoa(w.self.ClientPort),
		wellknown.AnnotationZone:        w.self.Zone,
		wellknown.AnnotationVersion:     w.self.Version,
		wellknown.AnnotationState:       w.self.State.String(),
		wellknown.AnnotationPresents:    k.Presents(),
		wellknown.AnnotationTrusts:      join(k.Trusts()),
		wellknown.AnnotationDirtyPeers:  strconv.FormatBool(w.dirty),
		wellknown.AnnotationViewFrozen:  strconv.FormatBool(w.frozen),
	}
	if !w.dirtyChanged.IsZero() {
		out[wellknown.AnnotationDirtyChanged] = w.dirtyChanged.UTC().Format(time.RFC3339)
	}
	return out
}
