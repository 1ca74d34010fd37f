package registrycluster

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
	"github.com/muster-registry/muster/controllers/apply"
	"github.com/muster-registry/muster/controllers/desired"
)

// mount is the Secret as one member has it.
type mount struct{ key desired.PeerKey }

// reports is what a member with this mount writes into its Lease.
func (m mount) reports(name string) member {
	presents, err := m.key.Fingerprint()
	if err != nil {
		panic(err)
	}
	trusts, err := desired.Fingerprints(m.key.Trusted)
	if err != nil {
		panic(err)
	}
	return member{Member: musterv1alpha1.Member{Name: name, State: musterv1alpha1.MemberComplete}, presents: presents, trusts: trusts}
}

func secretOf(key desired.PeerKey) *corev1.Secret {
	objects, err := desired.Build(&musterv1alpha1.RegistryCluster{ObjectMeta: metav1.ObjectMeta{Name: "registry"}}, desired.Decision{PeerKey: key})
	if err != nil {
		panic(err)
	}
	for _, obj := range objects {
		if s, ok := obj.(*corev1.Secret); ok {
			return s
		}
	}
	return nil
}

// Whatever the order in which kubelets bring the Secret into the pods, members come and go, and the operator looks:
// any two members trust each other at any time, and when all is quiet a requested rotation is over.
func TestRotationNeverParts(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		c := &musterv1alpha1.RegistryCluster{ObjectMeta: metav1.ObjectMeta{Name: "registry", Annotations: map[string]string{}}}
		first, err := rotate(c, inputs{now: start}, newCertificate)
		if err != nil {
			t.Fatal(err)
		}
		secret := secretOf(first.key)
		members := map[string]*mount{}
		now, born, asked := start, 0, 0
		look := func() {
			in := inputs{now: now, secret: secret}
			for name, m := range members {
				in.members = append(in.members, m.reports(name))
			}
			r, err := rotate(c, in, newCertificate)
			if err != nil {
				t.Fatal(err)
			}
			secret = secretOf(r.key)
		}
		name := func() string {
			var names []string
			for n := range members {
				names = append(names, n)
			}
			slices.Sort(names)
			return rapid.SampledFrom(names).Draw(t, "member")
		}
		t.Repeat(map[string]func(*rapid.T){
			"look":  func(*rapid.T) { look() },
			"age":   func(*rapid.T) { now = now.Add(60 * 24 * time.Hour) },
			"ask":   func(*rapid.T) { asked++; c.Annotations[wellknown.AnnotationRotatePeerKey] = fmt.Sprint(asked) },
			"start": func(*rapid.T) { born++; members[fmt.Sprint(born)] = &mount{desired.ReadPeerKey(secret)} },
			"mount": func(t *rapid.T) {
				if len(members) > 0 {
					members[name()].key = desired.ReadPeerKey(secret)
				}
			},
			"stop": func(t *rapid.T) {
				if len(members) > 1 {
					delete(members, name())
				}
			},
			"": func(t *rapid.T) {
				for n, one := range members {
					for o, other := range members {
						if !slices.Contains(other.reports(o).trusts, one.reports(n).presents) {
							t.Fatalf("member %s does not trust member %s", o, n)
						}
					}
				}
			},
		})
		members["last"] = &mount{desired.ReadPeerKey(secret)}
		for range 8 {
			for _, m := range members {
				m.key = desired.ReadPeerKey(secret)
			}
			look()
		}
		key := desired.ReadPeerKey(secret)
		if key.Announced() || key.Switched() || key.RotatedFor != c.Annotations[wellknown.AnnotationRotatePeerKey] {
			t.Fatalf("the rotation does not end: announced %v, switched %v, done for %q of %q", key.Announced(), key.Switched(), key.RotatedFor, c.Annotations)
		}
	})
}

func TestRotate(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	certificate, err := newCertificate(now)
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := newCertificate(now)
	if err != nil {
		t.Fatal(err)
	}
	settled := desired.NewPeerKey(certificate, "")
	announced := settled.Announce(fresh, now, "")
	switched := announced.Switch(now)
	broken := settled
	broken.Key = fresh.Key
	untrusting := settled
	untrusting.Trusted = fresh.Cert
	live := func(keys ...desired.PeerKey) []member {
		var all []member
		for i, k := range keys {
			all = append(all, mount{k}.reports(fmt.Sprint("m", i)))
		}
		return all
	}
	for name, tc := range map[string]struct {
		key       *desired.PeerKey
		after     time.Duration
		asked     string
		slices    bool
		members   []member
		step      string
		stalled   bool
		isWaiting bool
	}{
		"no key yet":                            {step: stepCreated},
		"a request before there is a key":       {asked: "now", step: stepCreated},
		"nothing to do":                         {key: &settled, members: live(settled)},
		"asked":                                 {key: &settled, asked: "now", step: stepAnnounced},
		"half a year old":                       {key: &settled, after: rotateAtAge, step: stepAnnounced},
		"nearly half a year old":                {key: &settled, after: rotateAtAge - time.Minute},
		"one does not trust it yet":             {key: &announced, members: live(announced, settled), isWaiting: true},
		"all trust it":                          {key: &announced, members: live(announced, announced), step: stepSwitched},
		"nobody there to trust it":              {key: &announced, isWaiting: true},
		"one does not present it yet":           {key: &switched, members: live(switched, announced), isWaiting: true},
		"all present it":                        {key: &switched, members: live(switched), step: stepFinished},
		"no Leases, too early":                  {key: &announced, slices: true, after: silentStep - time.Second, members: live(settled), isWaiting: true},
		"no Leases, after the kubelet's time":   {key: &announced, slices: true, after: silentStep, members: live(settled), step: stepSwitched},
		"a key that is not the certificate's":   {key: &broken, stalled: true},
		"a certificate that is trusted by none": {key: &untrusting, stalled: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := &musterv1alpha1.RegistryCluster{}
			if tc.asked != "" {
				c.Annotations = map[string]string{wellknown.AnnotationRotatePeerKey: tc.asked}
			}
			if tc.slices {
				c.Spec.Membership.Source = musterv1alpha1.MembershipEndpointSlice
			}
			in := inputs{now: now.Add(tc.after), members: tc.members}
			if tc.key != nil {
				in.secret = secretOf(*tc.key)
			}
			got, err := rotate(c, in, newCertificate)
			if stalled := (apply.Stalled{}); errors.As(err, &stalled) != tc.stalled {
				t.Fatalf("error %v, stalled wanted: %v", err, tc.stalled)
			}
			if err == nil && got.key.Validate() != nil {
				t.Error(got.key.Validate())
			}
			if got.step != tc.step || (got.waiting != "") != tc.isWaiting {
				t.Errorf("step %q, waiting for %q; want step %q, waiting %v", got.step, got.waiting, tc.step, tc.isWaiting)
			}
		})
	}
}

var _ = Describe("the peer key", func() {
	It("is rotated when it is asked for, a step when all Leases report the one before", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		c := newCluster(ctx, ns, "registry")
		k := run(ctx, c)
		report := func() {
			GinkgoHelper()
			m := mount{k.key(ctx)}.reports("")
			slices.Sort(m.trusts)
			trusts := m.trusts[0]
			if len(m.trusts) > 1 {
				trusts += "," + m.trusts[1]
			}
			k.renew(ctx, map[string]string{wellknown.AnnotationPresents: m.presents, wellknown.AnnotationTrusts: trusts})
		}
		report()
		old := k.key(ctx)

		change(ctx, c, func() { c.Annotations = map[string]string{wellknown.AnnotationRotatePeerKey: "2026"} })
		Eventually(func() bool { return k.key(ctx).Announced() }).Should(BeTrue())
		announced := k.key(ctx)
		Expect(announced.Cert).To(Equal(old.Cert))
		look(ctx, c)
		Expect(k.key(ctx)).To(Equal(announced))

		report()
		Eventually(func() bool { return k.key(ctx).Switched() }).Should(BeTrue())
		Expect(k.key(ctx).Cert).To(Equal(announced.NextCert))
		report()
		Eventually(func() []byte { return k.key(ctx).Trusted }).Should(Equal(announced.NextCert))
		Eventually(reasons).WithArguments(ctx, c).Should(ContainElements("PeerKeyAnnounced", "PeerKeySwitched", "PeerKeyFinished"))

		By("not having rolled out anything")
		Expect(configs(ctx, ns)).To(HaveLen(1))
		Expect(conditions(ctx, c)).To(HaveKeyWithValue("Progressing", "False/Settled"))
	})

	It("stays as it is when it is broken, until somebody deletes it", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		c := newCluster(ctx, ns, "registry")
		run(ctx, c)
		s := &corev1.Secret{}
		Expect(admin.Get(ctx, client.ObjectKey{Namespace: ns, Name: desired.SecretName("registry")}, s)).To(Succeed())
		s.Data[wellknown.PeerKeyFile] = []byte("not a key")
		Expect(admin.Update(ctx, s)).To(Succeed())
		look(ctx, c)
		Eventually(conditions).WithArguments(ctx, c).Should(HaveKeyWithValue("Degraded", "True/BrokenSecret"))
		Expect(admin.Delete(ctx, s)).To(Succeed())
		look(ctx, c)
		Eventually(conditions).WithArguments(ctx, c).Should(HaveKeyWithValue("Degraded", "False/AsExpected"))
	})
})
