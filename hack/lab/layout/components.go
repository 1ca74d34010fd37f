package layout

import "github.com/muster-registry/muster/hack/lab/node"

// APIServerName is the component that the faults stop and start.
const APIServerName = "kube-apiserver"

// control is the control plane, on node 1 only. etcd keeps its data in the node's memory: a lab that is down is gone.
func (n Node) control() []node.Component {
	pki := func(name string) string { return n.Path("pki", name) }
	const etcd, etcdPeers = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
	return []node.Component{
		{Name: "etcd", Argv: []string{
			n.Bin("etcd"), "--name=muster-lab", "--data-dir=/var/lib/etcd/data", "--unsafe-no-fsync", "--log-level=warn",
			"--listen-client-urls=" + etcd, "--advertise-client-urls=" + etcd, "--listen-peer-urls=" + etcdPeers,
			"--initial-advertise-peer-urls=" + etcdPeers, "--initial-cluster=muster-lab=" + etcdPeers, "--quota-backend-bytes=1073741824",
		}},
		{Name: APIServerName, Argv: []string{
			n.Bin(APIServerName), "--etcd-servers=" + etcd, "--advertise-address=" + n.ControlIP().String(), "--bind-address=0.0.0.0",
			"--secure-port=6443", "--service-cluster-ip-range=" + n.Services.String(), "--authorization-mode=Node,RBAC",
			"--enable-admission-plugins=NodeRestriction", "--allow-privileged=true", "--profiling=false",
			"--client-ca-file=" + pki("ca.crt"), "--tls-cert-file=" + pki("apiserver.crt"), "--tls-private-key-file=" + pki("apiserver.key"),
			"--kubelet-client-certificate=" + pki("apiserver-kubelet.crt"), "--kubelet-client-key=" + pki("apiserver-kubelet.key"),
			"--kubelet-certificate-authority=" + pki("ca.crt"), "--kubelet-preferred-address-types=InternalIP",
			"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + pki("service-account.pub"),
			"--service-account-signing-key-file=" + pki("service-account.key"),
			"--requestheader-client-ca-file=" + pki("front-ca.crt"), "--requestheader-allowed-names=front-proxy-client",
			"--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group",
			"--requestheader-username-headers=X-Remote-User", "--proxy-client-cert-file=" + pki("front-proxy.crt"),
			"--proxy-client-key-file=" + pki("front-proxy.key"), "--enable-aggregator-routing=true",
		}},
		{Name: "kube-controller-manager", Argv: []string{
			n.Bin("kube-controller-manager"), "--kubeconfig=" + pki("kube-controller-manager.kubeconfig"), "--leader-elect=false",
			"--use-service-account-credentials=true", "--service-account-private-key-file=" + pki("service-account.key"),
			"--root-ca-file=" + pki("ca.crt"), "--cluster-signing-cert-file=" + pki("ca.crt"), "--cluster-signing-key-file=" + pki("ca.key"),
			"--cluster-cidr=" + n.Pods.String(), "--allocate-node-cidrs=false", "--profiling=false",
			// A lost node is noticed in 15 s instead of 50: tests wait for it.
			"--node-monitor-period=1s", "--node-monitor-grace-period=15s", "--kube-api-qps=200", "--kube-api-burst=400",
		}},
		{Name: "kube-scheduler", Argv: []string{
			n.Bin("kube-scheduler"), "--kubeconfig=" + pki("kube-scheduler.kubeconfig"), "--authentication-kubeconfig=" + pki("kube-scheduler.kubeconfig"),
			"--authorization-kubeconfig=" + pki("kube-scheduler.kubeconfig"), "--leader-elect=false", "--profiling=false",
			"--kube-api-qps=200", "--kube-api-burst=400",
		}},
	}
}

// agents run on every node once the API server answers.
func (n Node) agents() []node.Component {
	return []node.Component{
		{Name: "kubelet", Argv: []string{
			n.Bin("kubelet"), "--config=" + n.Conf("kubelet.yaml"), "--kubeconfig=" + n.Path("pki", n.Name()+".kubeconfig"),
			"--node-ip=" + n.NodeIP(n.Index).String(), "--hostname-override=" + n.Name(), "--v=2",
		}},
		{Name: "kube-proxy", Argv: []string{n.Bin("kube-proxy"), "--config=" + n.Conf("kube-proxy.yaml")}},
	}
}
