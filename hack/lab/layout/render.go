package layout

import (
	"bytes"
	"embed"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"text/template"

	"github.com/muster-registry/muster/hack/lab/node"
)

//go:embed templates
var templates embed.FS

// Images that the lab brings itself; the tags never leave the machine.
const (
	PauseImage = "lab.muster.local/pause:1"
	ProbeImage = "lab.muster.local/probe:1"
	DNSImage   = "lab.muster.local/coredns:1"
)

// Host is where the machine keeps what comes from its packages.
type Host struct {
	Containerd string // the daemon
	Runc       string
	CNI        string // the folder of the plug-ins
}

// Node is everything that the files and command lines of one node are rendered from.
type Node struct {
	Config
	Host  Host
	Index int
}

// Name is the node's name.
func (n Node) Name() string { return NodeName(n.Index) }

// Conf is a path in the folder of the node's configuration files.
func (n Node) Conf(parts ...string) string {
	return n.Path(append([]string{"conf", n.Name()}, parts...)...)
}

// Files returns the node's configuration files, by absolute path.
func (n Node) Files() (map[string]string, error) {
	data := map[string]any{
		"Name": n.Name(), "Host": n.Host, "Conf": n.Conf(), "Run": n.Run(n.Index), "PKI": n.Path("pki"),
		"PodRange": n.PodRange(n.Index), "Pods": n.Pods, "DNSIP": n.DNSIP(), "CgroupRoot": CgroupRoot, "PauseImage": PauseImage,
	}
	files := map[string]string{}
	for name, path := range map[string]string{
		"cni.conflist": n.Conf("cni", "10-bridge.conflist"), "containerd.toml": n.Conf("containerd.toml"),
		"kubelet.yaml": n.Conf("kubelet.yaml"), "kube-proxy.yaml": n.Conf("kube-proxy.yaml"),
	} {
		text, err := render(name, data)
		if err != nil {
			return nil, err
		}
		files[path] = text
	}
	return files, nil
}

// WriteFiles writes Files.
func (n Node) WriteFiles() error {
	files, err := n.Files()
	if err != nil {
		return err
	}
	for path, text := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Spec is what the node's first process is told. systemImages are the tars that this node needs before anything else.
func (n Node) Spec(systemImages []string) node.Spec {
	s := node.Spec{
		Name:    n.Name(),
		Address: netip.PrefixFrom(n.NodeIP(n.Index), n.Nodes.Bits()),
		// Processes of the node itself reach Services too: kube-proxy rewrites them after the route is chosen.
		Routes: []node.Route{{To: n.Services}},
		Run:    n.Run(n.Index), Logs: n.Log(n.Index),
		Env: []string{
			"PATH=" + n.Path("bin") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			"HOME=/root", "CONTAINERD_ADDRESS=" + n.Run(n.Index, node.ContainerdSocket), "CONTAINERD_NAMESPACE=k8s.io",
		},
		Runtime:   node.Component{Name: "containerd", Argv: []string{n.Host.Containerd, "--config", n.Conf("containerd.toml")}},
		Images:    systemImages,
		ImageDirs: []string{n.Path("images")},
		APIReady:  node.APICheck{URL: n.APIServer() + "/readyz", CA: n.Path("pki", "ca.crt")},
		Agents:    n.agents(),
	}
	for j := 1; j <= MaxNodes; j++ {
		if j != n.Index {
			s.Routes = append(s.Routes, node.Route{To: n.PodRange(j), Via: n.NodeIP(j)})
		}
	}
	if n.Index == 1 {
		s.Control = n.control()
	}
	return s
}

// DNSManifest is what runs CoreDNS in the cluster.
func (c Config) DNSManifest() (string, error) {
	return render("coredns.yaml", map[string]any{"DNSIP": c.DNSIP(), "CoreDNSImage": DNSImage, "ControlNode": NodeName(1)})
}

func render(name string, data any) (string, error) {
	t, err := template.New(name).Option("missingkey=error").ParseFS(templates, "templates/"+name)
	if err != nil {
		return "", fmt.Errorf("template %s: %w", name, err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return "", fmt.Errorf("template %s: %w", name, err)
	}
	return b.String(), nil
}
