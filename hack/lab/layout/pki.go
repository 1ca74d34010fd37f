package layout

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"time"
)

// certificate is one leaf of the lab's two authorities.
type certificate struct {
	file       string
	front      bool // signed by the front proxy's authority
	cn, group  string
	server     bool
	names      []string
	addresses  []netip.Addr
	kubeconfig string // path, when its holder is a client of the API server
}

// certificates lists every leaf, for all the nodes that a lab can have: a node that joins later needs no authority.
func (c Config) certificates() []certificate {
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	list := []certificate{
		{
			file: "apiserver", cn: "kube-apiserver", server: true, addresses: []netip.Addr{loopback, c.ControlIP(), c.APIServiceIP()},
			names: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
		},
		{file: "apiserver-kubelet", cn: "kube-apiserver-kubelet-client", group: "system:masters"},
		{file: "front-proxy", cn: "front-proxy-client", front: true},
		{file: "admin", cn: "kubernetes-admin", group: "system:masters", kubeconfig: c.Kubeconfig()},
	}
	for _, name := range []string{"kube-controller-manager", "kube-scheduler", "kube-proxy"} {
		list = append(list, certificate{file: name, cn: "system:" + name, kubeconfig: c.Path("pki", name+".kubeconfig")})
	}
	for i := 1; i <= MaxNodes; i++ {
		name := NodeName(i)
		list = append(list,
			certificate{file: name, cn: "system:node:" + name, group: "system:nodes", kubeconfig: c.Path("pki", name+".kubeconfig")},
			certificate{file: name + "-server", cn: name, server: true, names: []string{name}, addresses: []netip.Addr{loopback, c.NodeIP(i)}})
	}
	return list
}

// WritePKI makes the authorities, certificates and kubeconfigs, once: a state folder that has them keeps them.
func (c Config) WritePKI(now time.Time) error {
	done := c.Path("pki", "done")
	if _, err := os.Stat(done); err == nil {
		return nil
	}
	if err := os.MkdirAll(c.Path("pki"), 0o700); err != nil {
		return err
	}
	ca, err := c.authority("ca", "muster-lab", now)
	if err != nil {
		return err
	}
	front, err := c.authority("front-ca", "muster-lab-front-proxy", now)
	if err != nil {
		return err
	}
	for _, leaf := range c.certificates() {
		by := ca
		if leaf.front {
			by = front
		}
		if err := c.issue(by, leaf, now); err != nil {
			return fmt.Errorf("certificate %s: %w", leaf.file, err)
		}
	}
	if err := c.serviceAccountKey(); err != nil {
		return err
	}
	return os.WriteFile(done, nil, 0o600)
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// lifetime is long for a lab and short enough to matter to nobody.
const lifetime = 365 * 24 * time.Hour

func (c Config) authority(file, cn string, now time.Time) (authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authority{}, err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: cn}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(lifetime),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return authority{}, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return authority{}, err
	}
	certPEM, _, err := c.writePair(file, der, key)
	return authority{cert: cert, key: key, pem: certPEM}, err
}

func (c Config) issue(by authority, leaf certificate, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: leaf.cn}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(lifetime),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		DNSNames: leaf.names,
	}
	if leaf.group != "" {
		t.Subject.Organization = []string{leaf.group}
	}
	if leaf.server {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	for _, a := range leaf.addresses {
		t.IPAddresses = append(t.IPAddresses, net.IP(a.AsSlice()))
	}
	der, err := x509.CreateCertificate(rand.Reader, t, by.cert, &key.PublicKey, by.key)
	if err != nil {
		return err
	}
	certPEM, keyPEM, err := c.writePair(leaf.file, der, key)
	if err != nil || leaf.kubeconfig == "" {
		return err
	}
	b64 := base64.StdEncoding.EncodeToString
	text, err := render("kubeconfig.yaml", map[string]string{
		"Server": c.APIServer(), "CA": b64(by.pem), "User": leaf.file, "Cert": b64(certPEM), "Key": b64(keyPEM),
	})
	if err != nil {
		return err
	}
	return os.WriteFile(leaf.kubeconfig, []byte(text), 0o600)
}

func (c Config) writePair(file string, der []byte, key *ecdsa.PrivateKey) (certPEM, keyPEM []byte, err error) {
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
	return certPEM, keyPEM, errors.Join(
		os.WriteFile(c.Path("pki", file+".crt"), certPEM, 0o600),
		os.WriteFile(c.Path("pki", file+".key"), keyPEM, 0o600))
}

// serviceAccountKey is the pair that signs and checks the tokens of pods.
func (c Config) serviceAccountKey() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(c.Path("pki", "service-account.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600),
		os.WriteFile(c.Path("pki", "service-account.pub"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o644))
}
