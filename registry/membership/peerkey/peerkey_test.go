package peerkey_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-registry/muster/api/wellknown"
	"github.com/muster-registry/muster/registry/membership/peerkey"
)

func newDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "peer")
	if err := peerkey.Write(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, data []byte, path ...string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(path...), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// expired makes a certificate that was valid in 1999 only, for the key.
func expired(t *testing.T, public, private any) (certPEM, keyPEM []byte) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "somebody else"},
		NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(1999, 2, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
}

func TestWriteRefusesToOverwrite(t *testing.T) {
	for _, name := range []string{wellknown.PeerCertFile, wellknown.PeerKeyFile, wellknown.PeerTrustedFile} {
		dir := t.TempDir()
		write(t, []byte("mine"), dir, name)
		err := peerkey.Write(dir)
		if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, name)) {
			t.Errorf("error = %v, want one that names %s", err, name)
		}
		left, err := os.ReadDir(dir)
		if err != nil || len(left) != 1 || !bytes.Equal(read(t, dir, name), []byte("mine")) {
			t.Errorf("with a %s there, the directory was changed to %v (%v)", name, left, err)
		}
	}
}

func TestKeyFileIsPrivate(t *testing.T) {
	info, err := os.Stat(filepath.Join(newDir(t), wellknown.PeerKeyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode = %v (%v), want 0600", info.Mode(), err)
	}
}

func TestSignatures(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := peerkey.Load(newDir(t))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ public, private any }{
		"rsa":     {rsaKey.Public(), rsaKey},
		"ecdsa":   {ecKey.Public(), ecKey},
		"ed25519": {edKey.Public(), edKey},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			cert, key := expired(t, tc.public, tc.private)
			write(t, cert, dir, wellknown.PeerCertFile)
			write(t, key, dir, wellknown.PeerKeyFile)
			write(t, append(read(t, newDir(t), wellknown.PeerCertFile), cert...), dir, wellknown.PeerTrustedFile)
			k, err := peerkey.Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			sig, err := k.Sign([]byte("message"))
			if err != nil {
				t.Fatal(err)
			}
			if !k.Verify([]byte("message"), sig) {
				t.Error("own signature does not verify")
			}
			if k.Verify([]byte("massage"), sig) {
				t.Error("the signature holds for another message")
			}
			if foreign.Verify([]byte("message"), sig) {
				t.Error("another cluster's trust accepts the signature")
			}
			if !slices.Contains(k.Trusts(), k.Presents()) || len(k.Trusts()) != 2 {
				t.Errorf("presents %s, trusts %v: want two, with the own one", k.Presents(), k.Trusts())
			}
			if err := handshake(t, dir, dir); err != nil {
				t.Errorf("an expired certificate of a trusted key is refused: %v", err)
			}
		})
	}
}

func TestHandshake(t *testing.T) {
	a, foreign := newDir(t), newDir(t)
	if err := handshake(t, a, a); err != nil {
		t.Errorf("members of one cluster: %v", err)
	}
	if err := handshake(t, a, foreign); err == nil {
		t.Error("a foreign key passed")
	}
	// trusting is not enough: the other side has to trust, too
	half := newDir(t)
	write(t, append(read(t, half, wellknown.PeerCertFile), read(t, a, wellknown.PeerCertFile)...), half, wellknown.PeerTrustedFile)
	if err := handshake(t, a, half); err == nil {
		t.Error("a key that only the client's side trusts passed")
	}
	if err := handshake(t, half, a); err == nil {
		t.Error("a key that only the server's side trusts passed")
	}
}

// handshake returns what either side has against the other.
func handshake(t *testing.T, serverDir, clientDir string) error {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			err = tls.Server(conn, peerkey.ServerTLS(serverDir)).Handshake()
			conn.Close()
		}
		served <- err
	}()
	config, err := peerkey.ClientTLS(clientDir)
	if err != nil {
		t.Fatal(err)
	}
	conn, clientErr := tls.Dial("tcp", listener.Addr().String(), config)
	if clientErr == nil {
		conn.Close()
	}
	if serverErr := <-served; serverErr != nil {
		return serverErr
	}
	return clientErr
}

func TestLoadErrorsNameTheFile(t *testing.T) {
	tests := map[string]struct {
		name string
		data []byte
	}{
		"no certificate":     {wellknown.PeerCertFile, nil},
		"no key":             {wellknown.PeerKeyFile, []byte("-----BEGIN")},
		"nobody trusted":     {wellknown.PeerTrustedFile, []byte("\n")},
		"trusted is damaged": {wellknown.PeerTrustedFile, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")},
		"trusted is huge":    {wellknown.PeerTrustedFile, make([]byte, 2<<20)},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			dir := newDir(t)
			write(t, tc.data, dir, tc.name)
			if _, err := peerkey.Load(dir); err == nil || !strings.Contains(err.Error(), tc.name) {
				t.Errorf("error = %v, want one that names %s", err, tc.name)
			}
		})
	}
}
