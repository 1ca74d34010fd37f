// Package peerkey is the key by which members of one cluster know each other: a directory with tls.crt, tls.key and
// trusted.pem, made by the operator or by `registry peer-keys`. Trust is a matter of public keys alone: no date and no
// name in a certificate counts, because an expired certificate would be a trouble of our own.
//
// The files are read again whenever they are needed, so that a key is rotated without a restart. The streams use the
// key in TLS, and membership by Lease signs with it.
package peerkey

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/muster-registry/muster/api/wellknown"
)

// Key is what the directory held when it was read.
type Key struct {
	// Certificate is what this member presents.
	Certificate tls.Certificate
	// trusted are the public keys of members, by fingerprint.
	trusted map[string]crypto.PublicKey
}

// maxFile bounds what is read: the files are mounted by others.
const maxFile = 1 << 20

// Load reads the directory.
func Load(dir string) (*Key, error) {
	k, err := load(dir)
	if err != nil {
		// A mounted Secret is replaced as a whole, but not under three reads: the second time all are of one make.
		k, err = load(dir)
	}
	return k, err
}

func load(dir string) (*Key, error) {
	var files [3][]byte
	for i, name := range []string{wellknown.PeerCertFile, wellknown.PeerKeyFile, wellknown.PeerTrustedFile} {
		b, err := readFile(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("read peer key: %w", err)
		}
		files[i] = b
	}
	pair, err := tls.X509KeyPair(files[0], files[1])
	if err != nil {
		return nil, fmt.Errorf("read peer key: %s and %s in %s: %w", wellknown.PeerCertFile, wellknown.PeerKeyFile, dir, err)
	}
	trusted, err := parseTrusted(files[2])
	if err != nil {
		return nil, fmt.Errorf("read peer key: %s: %w", filepath.Join(dir, wellknown.PeerTrustedFile), err)
	}
	return &Key{Certificate: pair, trusted: trusted}, nil
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, maxFile)
	}
	return os.ReadFile(path)
}

func parseTrusted(data []byte) (map[string]crypto.PublicKey, error) {
	trusted := map[string]crypto.PublicKey{}
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		trusted[fingerprint(cert)] = cert.PublicKey
	}
	if len(trusted) == 0 {
		return nil, errors.New("holds no certificate: no peer could be trusted")
	}
	return trusted, nil
}

// fingerprint is the SHA-256 of a certificate's public key, in hexadecimal.
func fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// Presents is the fingerprint of the certificate that this member presents.
func (k *Key) Presents() string { return fingerprint(k.Certificate.Leaf) }

// Trusts are the fingerprints of those that it trusts, sorted.
func (k *Key) Trusts() []string {
	out := make([]string, 0, len(k.trusted))
	for f := range k.trusted {
		out = append(out, f)
	}
	slices.Sort(out)
	return out
}

// Fingerprints reads the directory and returns what a member with it presents and trusts.
func Fingerprints(dir string) (presents string, trusts []string, err error) {
	k, err := Load(dir)
	if err != nil {
		return "", nil, err
	}
	return k.Presents(), k.Trusts(), nil
}

// TrustsCertificate reports whether the public key of the certificate is a member's.
func (k *Key) TrustsCertificate(cert *x509.Certificate) bool {
	_, ok := k.trusted[fingerprint(cert)]
	return ok
}

// Sign signs a message with this member's key.
func (k *Key) Sign(message []byte) ([]byte, error) {
	signer, ok := k.Certificate.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("peer key: a %T cannot sign", k.Certificate.PrivateKey)
	}
	if _, ok := signer.(ed25519.PrivateKey); ok {
		return signer.Sign(nil, message, crypto.Hash(0))
	}
	sum := sha256.Sum256(message)
	return signer.Sign(nil, sum[:], crypto.SHA256)
}

// Verify reports whether one of the trusted keys made the signature.
func (k *Key) Verify(message, signature []byte) bool {
	sum := sha256.Sum256(message)
	for _, p := range k.trusted {
		switch p := p.(type) {
		case ed25519.PublicKey:
			if ed25519.Verify(p, message, signature) {
				return true
			}
		case *ecdsa.PublicKey:
			if ecdsa.VerifyASN1(p, sum[:], signature) {
				return true
			}
		case *rsa.PublicKey:
			if rsa.VerifyPKCS1v15(p, crypto.SHA256, sum[:], signature) == nil {
				return true
			}
		}
	}
	return false
}
