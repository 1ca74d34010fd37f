package desired

import (
	"cmp"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	musterv1alpha1 "github.com/muster-registry/muster/api/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
)

// clientService has both ports, since Nacos clients take the HTTP port as the address and compute the gRPC one.
func clientService(c *musterv1alpha1.RegistryCluster) *corev1.Service {
	http := servicePort(wellknown.PortNameHTTP, wellknown.PortHTTP)
	grpc := servicePort(wellknown.PortNameGRPC, wellknown.PortHTTP+wellknown.GRPCPortOffset)
	if p := c.Spec.Service.NodePorts; p != nil {
		http.NodePort, grpc.NodePort = p.HTTP, p.HTTP+wellknown.GRPCPortOffset
	}
	s := &corev1.Service{
		ObjectMeta: meta(c, c.Name),
		Spec: corev1.ServiceSpec{
			Type:     cmp.Or(c.Spec.Service.Type, corev1.ServiceTypeClusterIP),
			Selector: SelectorLabels(c.Name),
			Ports:    []corev1.ServicePort{http, grpc},
		},
	}
	s.Annotations = c.Spec.Service.Annotations
	return s
}

// internalService lists the members' addresses, also of those that are not ready: a member must be found before it is
// complete, or it would never become so.
func internalService(c *musterv1alpha1.RegistryCluster) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: meta(c, InternalServiceName(c.Name)),
		Spec: corev1.ServiceSpec{
			Type:                     corev1.ServiceTypeClusterIP,
			ClusterIP:                corev1.ClusterIPNone,
			PublishNotReadyAddresses: true,
			Selector:                 SelectorLabels(c.Name),
			Ports:                    []corev1.ServicePort{servicePort(wellknown.PortNamePeer, wellknown.PortPeer)},
		},
	}
}

func servicePort(name string, port int32) corev1.ServicePort {
	return corev1.ServicePort{Name: name, Port: port, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromString(name)}
}
