package layout_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-registry/muster/hack/lab/layout"
)

func writtenPKI(t *testing.T) layout.Config {
	t.Helper()
	c := defaults(t)
	c.State = t.TempDir()
	if err := c.WritePKI(time.Now()); err != nil {
		t.Fatal(err)
	}
	return c
}

func leaf(t *testing.T, c layout.Config, name string) *x509.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(c.Path("pki", name+".crt"), c.Path("pki", name+".key"))
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

// TestCertificates checks what Kubernetes reads out of each certificate: who it is for, and what for.
func TestCertificates(t *testing.T) {
	c := writtenPKI(t)
	cases := map[string]struct {
		authority string
		subject   string
		usage     x509.ExtKeyUsage
		hosts     []string
		notHosts  []string
	}{
		"apiserver": {
			authority: "ca", subject: "CN=kube-apiserver", usage: x509.ExtKeyUsageServerAuth,
			hosts:    []string{"10.123.0.11", "10.96.0.1", "127.0.0.1", "kubernetes.default.svc", "localhost"},
			notHosts: []string{"10.123.0.12", "example.com"},
		},
		"node3-server":      {authority: "ca", subject: "CN=node3", usage: x509.ExtKeyUsageServerAuth, hosts: []string{"node3", "10.123.0.13"}, notHosts: []string{"node2", "10.123.0.12"}},
		"node9":             {authority: "ca", subject: "CN=system:node:node9,O=system:nodes", usage: x509.ExtKeyUsageClientAuth},
		"admin":             {authority: "ca", subject: "CN=kubernetes-admin,O=system:masters", usage: x509.ExtKeyUsageClientAuth},
		"kube-scheduler":    {authority: "ca", subject: "CN=system:kube-scheduler", usage: x509.ExtKeyUsageClientAuth},
		"front-proxy":       {authority: "front-ca", subject: "CN=front-proxy-client", usage: x509.ExtKeyUsageClientAuth},
		"apiserver-kubelet": {authority: "ca", subject: "CN=kube-apiserver-kubelet-client,O=system:masters", usage: x509.ExtKeyUsageClientAuth},
	}
	for name, want := range cases {
		t.Run(name, func(t *testing.T) {
			cert := leaf(t, c, name)
			if got := cert.Subject.String(); got != want.subject {
				t.Errorf("subject %s, want %s", got, want.subject)
			}
			for _, authority := range []string{"ca", "front-ca"} {
				roots := x509.NewCertPool()
				roots.AddCert(leaf(t, c, authority))
				_, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{want.usage}})
				if (err == nil) != (authority == want.authority) {
					t.Errorf("verified by %s: %v, want that only %s does", authority, err, want.authority)
				}
			}
			if len(cert.ExtKeyUsage) != 1 {
				t.Errorf("usages %v, want only %v", cert.ExtKeyUsage, want.usage)
			}
			for _, host := range want.hosts {
				if err := cert.VerifyHostname(host); err != nil {
					t.Error(err)
				}
			}
			for _, host := range want.notHosts {
				if cert.VerifyHostname(host) == nil {
					t.Errorf("it is valid for %s", host)
				}
			}
		})
	}
}

func TestKubeconfigHoldsItsUsersCertificate(t *testing.T) {
	c := writtenPKI(t)
	for path, name := range map[string]string{c.Kubeconfig(): "admin", c.Path("pki", "node2.kubeconfig"): "node2"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		field := func(name string) []byte {
			m := regexp.MustCompile(name + `: ([^,}\s]+)`).FindSubmatch(text)
			if m == nil {
				t.Fatalf("%s has no %s:\n%s", path, name, text)
			}
			b, err := base64.StdEncoding.DecodeString(string(m[1]))
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		pair, err := tls.X509KeyPair(field("client-certificate-data"), field("client-key-data"))
		if err != nil {
			t.Fatal(err)
		}
		if want := leaf(t, c, name); !pair.Leaf.Equal(want) {
			t.Errorf("%s holds the certificate of %s, want %s", path, pair.Leaf.Subject, want.Subject)
		}
		block, _ := pem.Decode(field("certificate-authority-data"))
		if block == nil || !bytes.Equal(block.Bytes, leaf(t, c, "ca").Raw) {
			t.Errorf("%s trusts another authority", path)
		}
		if !bytes.Contains(text, []byte(c.APIServer())) {
			t.Errorf("%s does not name %s", path, c.APIServer())
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v: others may read it", path, info.Mode(), err)
		}
	}
}

// A second up must not replace what the running components have read.
func TestPKIIsMadeOnce(t *testing.T) {
	c := writtenPKI(t)
	before := leaf(t, c, "admin").SerialNumber.String()
	if err := c.WritePKI(time.Now()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, leaf(t, c, "admin").SerialNumber.String()); diff != "" {
		t.Error(diff)
	}
}
