package desired

import (
	"maps"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/muster-registry/muster/api/wellknown"
)

// environment tells a member who it is, and the Go runtime what the limits are.
func environment(limits corev1.ResourceList) []corev1.EnvVar {
	field := func(name, path string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
			FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path},
		}}
	}
	env := []corev1.EnvVar{
		field(wellknown.EnvPodName, "metadata.name"),
		field(wellknown.EnvPodUID, "metadata.uid"),
		field(wellknown.EnvPodNamespace, "metadata.namespace"),
		field(wellknown.EnvPodIP, "status.podIP"),
		// Kubernetes copies the node's zone to the pod (1.35, or the gate PodTopologyLabelsAdmission); empty elsewhere.
		field(wellknown.EnvZone, "metadata.labels['"+corev1.LabelTopologyZone+"']"),
	}
	// A tenth is left for what the Go runtime does not count: stacks of the kernel, the page cache of the state volume.
	if memory := limits.Memory().Value(); memory > 0 {
		env = append(env, corev1.EnvVar{Name: "GOMEMLIMIT", Value: strconv.FormatInt(memory/10*9, 10)})
	}
	// Value rounds up: half a core is one.
	if cores := limits.Cpu().Value(); cores > 0 {
		env = append(env, corev1.EnvVar{Name: "GOMAXPROCS", Value: strconv.FormatInt(cores, 10)})
	}
	return env
}

// defaultRequests are the same as in the schema. They stand here too, because the schema's default is for an absent
// group: who sets a limit of memory only would be left without a request of CPU, and an autoscaler with nothing to
// divide by.
func defaultRequests() corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("100m"),
		corev1.ResourceMemory: resource.MustParse("64Mi"),
	}
}

// resources completes the requests, so that every member has one of CPU and one of memory. Where there is a limit and
// no request Kubernetes takes the limit.
func resources(own corev1.ResourceRequirements) corev1.ResourceRequirements {
	r := *own.DeepCopy()
	requests := maps.Clone(r.Requests)
	if requests == nil {
		requests = corev1.ResourceList{}
	}
	for name, amount := range defaultRequests() {
		_, requested := requests[name]
		_, limited := r.Limits[name]
		if !requested && !limited {
			requests[name] = amount
		}
	}
	r.Requests = requests
	if len(requests) == 0 {
		r.Requests = nil
	}
	return r
}
