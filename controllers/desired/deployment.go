package desired

import (
	"cmp"
	"maps"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
)

const (
	// defaultReplicas is the schema's default.
	defaultReplicas = 3
	// stopMargin is what a member gets on top of its drain grace to close what is left, so that the kubelet never
	// kills one that keeps to its own grace.
	stopMargin = 15 * time.Second
	// keptRevisions of the Deployment can be looked at and rolled back to while the operator is away; their
	// ConfigMaps are kept as long.
	keptRevisions = 3
)

// deployment adds a member before it takes one away: the new one is complete before an old one is asked to leave, so
// no client sees a gap.
func deployment(c *musterv1alpha1.RegistryCluster, d Decision, config string) *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: meta(c, c.Name),
		Spec: appsv1.DeploymentSpec{
			Replicas:             new(Replicas(c)),
			RevisionHistoryLimit: new(int32(keptRevisions)),
			Selector:             &metav1.LabelSelector{MatchLabels: SelectorLabels(c.Name)},
			Strategy: appsv1.DeploymentStrategy{
				Type: appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{
					MaxSurge:       new(intstr.FromInt32(1)),
					MaxUnavailable: new(intstr.FromInt32(0)),
				},
			},
			Template: corev1.PodTemplateSpec{ObjectMeta: podMeta(c), Spec: podSpec(c, d, config)},
		},
	}
}

// Replicas asked for. Admission fills in the default.
func Replicas(c *musterv1alpha1.RegistryCluster) int32 {
	if c.Spec.Replicas == nil {
		return defaultReplicas
	}
	return *c.Spec.Replicas
}

func podMeta(c *musterv1alpha1.RegistryCluster) metav1.ObjectMeta {
	l := map[string]string{}
	maps.Copy(l, c.Spec.PodTemplate.Labels)
	maps.Copy(l, childLabels(c))
	return metav1.ObjectMeta{Labels: l, Annotations: c.Spec.PodTemplate.Annotations}
}

func podSpec(c *musterv1alpha1.RegistryCluster, d Decision, config string) corev1.PodSpec {
	t := c.Spec.PodTemplate
	grace := Timeouts(c).DrainGrace.Duration + stopMargin
	return corev1.PodSpec{
		Containers:                    []corev1.Container{container(c, d.Image)},
		Volumes:                       volumes(c, config),
		ServiceAccountName:            c.Name,
		AutomountServiceAccountToken:  new(true),
		EnableServiceLinks:            new(false),
		ImagePullSecrets:              c.Spec.ImagePullSecrets,
		TerminationGracePeriodSeconds: new(int64((grace + time.Second - 1) / time.Second)),
		SecurityContext:               podSecurity(t.SecurityContext),
		Affinity:                      affinity(c),
		Tolerations:                   t.Tolerations,
		TopologySpreadConstraints:     spread(c),
		PriorityClassName:             t.PriorityClassName,
	}
}

// spread puts members on different nodes where there is a choice, and never keeps one from starting. It looks at the members
// of one revision only: those that are on their way out do not count. Zones are affinity's: a node that lacks the label of one
// constraint counts for none, so that without zones members would not be spread at all.
func spread(c *musterv1alpha1.RegistryCluster) []corev1.TopologySpreadConstraint {
	if own := c.Spec.PodTemplate.TopologySpreadConstraints; len(own) > 0 {
		return own
	}
	return []corev1.TopologySpreadConstraint{{
		MaxSkew:           1,
		TopologyKey:       corev1.LabelHostname,
		WhenUnsatisfiable: corev1.ScheduleAnyway,
		LabelSelector:     &metav1.LabelSelector{MatchLabels: SelectorLabels(c.Name)},
		MatchLabelKeys:    []string{appsv1.DefaultDeploymentUniqueLabelKey},
	}}
}

// affinity puts members into different zones where nodes have one, unless the RegistryCluster says itself how they spread.
func affinity(c *musterv1alpha1.RegistryCluster) *corev1.Affinity {
	t := c.Spec.PodTemplate
	a := t.Affinity.DeepCopy()
	if len(t.TopologySpreadConstraints) > 0 || a != nil && a.PodAntiAffinity != nil {
		return a
	}
	if a == nil {
		a = &corev1.Affinity{}
	}
	a.PodAntiAffinity = &corev1.PodAntiAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{
		Weight: 100,
		PodAffinityTerm: corev1.PodAffinityTerm{
			LabelSelector: &metav1.LabelSelector{MatchLabels: SelectorLabels(c.Name)},
			TopologyKey:   corev1.LabelTopologyZone,
		},
	}}}
	return a
}

// podSecurity lays the fields of the spec over the default, which meets the restricted Pod Security standard.
func podSecurity(own *corev1.PodSecurityContext) *corev1.PodSecurityContext {
	s := &corev1.PodSecurityContext{}
	if own != nil {
		s = own.DeepCopy()
	}
	s.RunAsNonRoot = cmp.Or(s.RunAsNonRoot, new(true))
	s.RunAsUser = cmp.Or(s.RunAsUser, new(int64(nonRootUser)))
	s.FSGroup = cmp.Or(s.FSGroup, new(int64(nonRootUser)))
	s.SeccompProfile = cmp.Or(s.SeccompProfile, &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault})
	return s
}

// nonRootUser is the user of the image.
const nonRootUser = 65532
