package desired

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	configv1alpha1 "github.com/muster-registry/muster/api/config/v1alpha1"
	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func cluster(change ...func(*musterv1alpha1.RegistryCluster)) *musterv1alpha1.RegistryCluster {
	c := &musterv1alpha1.RegistryCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "registry", UID: "uid-1"}}
	for _, f := range change {
		f(c)
	}
	return c
}

func TestBuildGolden(t *testing.T) {
	key := PeerKey{Cert: []byte("cert"), Key: []byte("key"), Trusted: []byte("cert"), ResourceVersion: "7"}
	for name, tc := range map[string]struct {
		cluster  *musterv1alpha1.RegistryCluster
		decision Decision
	}{
		"defaults": {cluster(), Decision{Image: "muster:v1", PeerKey: key}},
		"endpointslice": {cluster(func(c *musterv1alpha1.RegistryCluster) {
			c.Spec.Membership.Source = musterv1alpha1.MembershipEndpointSlice
			c.Spec.Replicas = new(int32(1))
		}), Decision{Image: "muster:v1", PeerKey: key}},
		"everything": {sample(t), Decision{Image: "muster:v2", PeerKey: PeerKey{
			Cert: []byte("cert"), Key: []byte("key"), Trusted: []byte("cert next"), NextCert: []byte("next"), NextKey: []byte("next key"),
			RotatedFor: "please", Since: "2026-01-02T03:04:05Z", ResourceVersion: "8",
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			objects, err := Build(tc.cluster, tc.decision)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".yaml", render(t, objects))
		})
	}
}

// sample is the one in config/samples that sets every field.
func sample(t *testing.T) *musterv1alpha1.RegistryCluster {
	t.Helper()
	data, err := os.ReadFile("../../config/samples/registrycluster_full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := &musterv1alpha1.RegistryCluster{}
	if err := yaml.UnmarshalStrict(data, c); err != nil {
		t.Fatal(err)
	}
	c.Namespace, c.UID = "prod", "uid-2"
	return c
}

func render(t *testing.T, objects []Object) []byte {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, rbacv1.AddToScheme, policyv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	for _, obj := range objects {
		kinds, _, err := scheme.ObjectKinds(obj)
		if err != nil {
			t.Fatal(err)
		}
		obj.GetObjectKind().SetGroupVersionKind(kinds[0])
		data, err := yaml.Marshal(obj)
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString("---\n")
		out.Write(data)
	}
	return out.Bytes()
}

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs, -update rewrites it (-want +got):\n%s", path, diff)
	}
}

// Members keep to different nodes, and to different zones where nodes have one: by two means, as a soft constraint leaves out a
// node that lacks the label of another one. Who says how they spread is taken at their word.
func TestSpread(t *testing.T) {
	own := &corev1.PodAntiAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{Weight: 1}}}
	nodes := &corev1.NodeAffinity{}
	constraint := corev1.TopologySpreadConstraint{TopologyKey: "rack"}
	for name, tc := range map[string]struct {
		podTemplate    musterv1alpha1.PodTemplate
		overNodes      bool
		overZones      bool
		keepsOffOthers *corev1.PodAntiAffinity // when it is not ours
		keepsToNodes   *corev1.NodeAffinity
	}{
		"nothing is said":     {musterv1alpha1.PodTemplate{}, true, true, nil, nil},
		"which nodes to take": {musterv1alpha1.PodTemplate{Affinity: &corev1.Affinity{NodeAffinity: nodes}}, true, true, nil, nodes},
		"how far to keep off": {musterv1alpha1.PodTemplate{Affinity: &corev1.Affinity{PodAntiAffinity: own}}, true, false, own, nil},
		"how to spread": {
			musterv1alpha1.PodTemplate{TopologySpreadConstraints: []corev1.TopologySpreadConstraint{constraint}, Affinity: &corev1.Affinity{NodeAffinity: nodes}},
			false, false, nil, nodes,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := cluster()
			c.Spec.PodTemplate = tc.podTemplate
			before := tc.podTemplate.DeepCopy()
			over := spread(c)
			if len(over) != 1 || (over[0].TopologyKey == corev1.LabelHostname) != tc.overNodes || over[0].WhenUnsatisfiable == corev1.DoNotSchedule {
				t.Errorf("spread over %+v", over)
			}
			a := affinity(c)
			if diff := cmp.Diff(tc.keepsToNodes, a.NodeAffinity); diff != "" {
				t.Errorf("node affinity (-want +got):\n%s", diff)
			}
			if !tc.overZones {
				if diff := cmp.Diff(tc.keepsOffOthers, a.PodAntiAffinity); diff != "" {
					t.Errorf("pod anti-affinity (-want +got):\n%s", diff)
				}
			} else if terms := a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution; len(terms) != 1 ||
				terms[0].PodAffinityTerm.TopologyKey != corev1.LabelTopologyZone || len(a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution) > 0 {
				t.Errorf("keeps off %+v", a.PodAntiAffinity)
			}
			if diff := cmp.Diff(before, &c.Spec.PodTemplate); diff != "" {
				t.Errorf("the spec was changed (-want +got):\n%s", diff)
			}
		})
	}
}

// What the members read must be a file that they accept.
func TestServerConfigIsValid(t *testing.T) {
	for name, c := range map[string]*musterv1alpha1.RegistryCluster{"defaults": cluster(), "everything": sample(t)} {
		t.Run(name, func(t *testing.T) {
			config := ServerConfig(c)
			if err := config.Validate(); err != nil {
				t.Fatal(err)
			}
			file, err := configv1alpha1.Render(config)
			if err != nil {
				t.Fatal(err)
			}
			back, err := configv1alpha1.Parse(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(config, back); diff != "" {
				t.Errorf("read back (-want +got):\n%s", diff)
			}
		})
	}
}

// Only what the members read changes the name of their ConfigMap, and with it the rollout.
func TestWhatRollsOut(t *testing.T) {
	base := cluster()
	for name, tc := range map[string]struct {
		change   func(*musterv1alpha1.RegistryCluster, *Decision)
		rollsOut bool
	}{
		"nothing":  {func(*musterv1alpha1.RegistryCluster, *Decision) {}, false},
		"replicas": {func(c *musterv1alpha1.RegistryCluster, _ *Decision) { c.Spec.Replicas = new(int32(7)) }, false},
		"the service": {func(c *musterv1alpha1.RegistryCluster, _ *Decision) {
			c.Spec.Service.Annotations = map[string]string{"a": "b"}
		}, false},
		"the peer key":  {func(_ *musterv1alpha1.RegistryCluster, d *Decision) { d.PeerKey.Cert = []byte("other") }, false},
		"annotations":   {func(c *musterv1alpha1.RegistryCluster, _ *Decision) { c.Annotations = map[string]string{"a": "b"} }, false},
		"a timeout":     {func(c *musterv1alpha1.RegistryCluster, _ *Decision) { c.Spec.Timeouts = timeoutsWith(t) }, true},
		"the log level": {func(c *musterv1alpha1.RegistryCluster, _ *Decision) { c.Spec.LogLevel = "debug" }, true},
		"the image":     {func(_ *musterv1alpha1.RegistryCluster, d *Decision) { d.Image = "muster:v2" }, true},
		"the pods": {func(c *musterv1alpha1.RegistryCluster, _ *Decision) {
			c.Spec.PodTemplate.Annotations = map[string]string{"a": "b"}
		}, true},
		"another cluster": {func(c *musterv1alpha1.RegistryCluster, _ *Decision) { c.UID = "uid-9" }, true},
	} {
		t.Run(name, func(t *testing.T) {
			c, d := base.DeepCopy(), Decision{Image: "muster:v1"}
			tc.change(c, &d)
			before, after := template(t, base, Decision{Image: "muster:v1"}), template(t, c, d)
			if rolls := !cmp.Equal(before, after); rolls != tc.rollsOut {
				t.Errorf("rolls out = %v, want %v: %s", rolls, tc.rollsOut, cmp.Diff(before, after))
			}
		})
	}
}

func timeoutsWith(t *testing.T) configv1alpha1.Timeouts {
	t.Helper()
	timeouts := configv1alpha1.DefaultTimeouts()
	timeouts.DrainGrace.Duration++
	return timeouts
}

func template(t *testing.T, c *musterv1alpha1.RegistryCluster, d Decision) corev1.PodTemplateSpec {
	t.Helper()
	objects, err := Build(c, d)
	if err != nil {
		t.Fatal(err)
	}
	return objects[len(objects)-1].(*appsv1.Deployment).Spec.Template
}

func TestResources(t *testing.T) {
	list := func(pairs ...string) corev1.ResourceList {
		l := corev1.ResourceList{}
		for i := 0; i < len(pairs); i += 2 {
			l[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
		}
		return l
	}
	for name, tc := range map[string]struct {
		own      corev1.ResourceRequirements
		requests corev1.ResourceList
		env      map[string]string
	}{
		"nothing said":       {corev1.ResourceRequirements{}, list("cpu", "100m", "memory", "64Mi"), map[string]string{}},
		"a request":          {corev1.ResourceRequirements{Requests: list("cpu", "2")}, list("cpu", "2", "memory", "64Mi"), map[string]string{}},
		"a limit of memory":  {corev1.ResourceRequirements{Limits: list("memory", "100Mi")}, list("cpu", "100m"), map[string]string{"GOMEMLIMIT": "94371840"}},
		"half a core":        {corev1.ResourceRequirements{Limits: list("cpu", "500m")}, list("memory", "64Mi"), map[string]string{"GOMAXPROCS": "1"}},
		"one core and a bit": {corev1.ResourceRequirements{Limits: list("cpu", "1100m", "memory", "1G")}, nil, map[string]string{"GOMAXPROCS": "2", "GOMEMLIMIT": "900000000"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := resources(tc.own)
			if diff := cmp.Diff(tc.requests, r.Requests); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			got := map[string]string{}
			for _, e := range environment(r.Limits) {
				if e.Value != "" {
					got[e.Name] = e.Value
				}
			}
			if diff := cmp.Diff(tc.env, got); diff != "" {
				t.Errorf("environment (-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever the spec lays over it, what it does not mention stays restricted.
func TestPodSecurity(t *testing.T) {
	got := podSecurity(&corev1.PodSecurityContext{RunAsUser: new(int64(1000)), FSGroup: new(int64(0))})
	want := &corev1.PodSecurityContext{
		RunAsNonRoot: new(true), RunAsUser: new(int64(1000)), FSGroup: new(int64(0)),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSecretRoundTrip(t *testing.T) {
	for name, key := range map[string]PeerKey{
		"settled": {Cert: []byte("c"), Key: []byte("k"), Trusted: []byte("c"), RotatedFor: "r", ResourceVersion: "1"},
		"announced": {
			Cert: []byte("c"), Key: []byte("k"), Trusted: []byte("cn"), NextCert: []byte("n"), NextKey: []byte("nk"),
			Since: "2026-01-02T03:04:05Z", ResourceVersion: "2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(key, ReadPeerKey(peerSecret(cluster(), key))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
