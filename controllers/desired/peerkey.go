package desired

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"
)

// PeerKey is the key with which the members of a cluster know each other, and whom they trust. Members pin the public
// key and look at no name and no date: an expired certificate would be a trouble of our own.
type PeerKey struct {
	Cert, Key []byte // PEM: what members present
	Trusted   []byte // PEM: one certificate, or two during a rotation
	// NextCert and NextKey wait, announced in Trusted, until every member trusts them.
	NextCert, NextKey []byte
	// RotatedFor is the last request for a rotation that was acted on.
	RotatedFor string
	// Since is when the running step of a rotation began, RFC 3339; empty when none is running.
	Since string
	// ResourceVersion of the Secret it was read from; empty for a new one.
	ResourceVersion string
}

// PeerKeyLifetime is the validity in a peer certificate. Nobody checks it; half of it is the age at which the operator
// rotates the key.
const PeerKeyLifetime = 365 * 24 * time.Hour

// Certificate is a self-signed certificate and its private key, both PEM.
type Certificate struct{ Cert, Key []byte }

// NewPeerKey is the first key of a cluster. A request that was there before the key is as good as done.
func NewPeerKey(fresh Certificate, requested string) PeerKey {
	return PeerKey{Cert: fresh.Cert, Key: fresh.Key, Trusted: fresh.Cert, RotatedFor: requested}
}

// Announce is the first step of a rotation: a new key is trusted, and not used yet.
func (k PeerKey) Announce(fresh Certificate, now time.Time, requested string) PeerKey {
	k.NextCert, k.NextKey = fresh.Cert, fresh.Key
	k.Trusted = slices.Concat(k.Cert, fresh.Cert)
	k.RotatedFor, k.Since = requested, now.UTC().Format(time.RFC3339)
	return k
}

// Switch is the second step: the new key is used, the old one still trusted.
func (k PeerKey) Switch(now time.Time) PeerKey {
	k.Trusted = slices.Concat(k.NextCert, k.Cert)
	k.Cert, k.Key, k.NextCert, k.NextKey = k.NextCert, k.NextKey, nil, nil
	k.Since = now.UTC().Format(time.RFC3339)
	return k
}

// Finish is the third step: the old key is trusted no more.
func (k PeerKey) Finish() PeerKey {
	k.Trusted, k.Since = k.Cert, ""
	return k
}

// Announced reports whether a new key is trusted and not used yet.
func (k PeerKey) Announced() bool { return len(k.NextKey) > 0 }

// Switched reports whether the new key is used and the old one still trusted.
func (k PeerKey) Switched() bool { return !k.Announced() && !bytes.Equal(k.Trusted, k.Cert) }

// Validate reports what makes the key unusable for the members.
func (k PeerKey) Validate() error {
	if _, err := tls.X509KeyPair(k.Cert, k.Key); err != nil {
		return fmt.Errorf("tls.crt and tls.key: %w", err)
	}
	if k.Announced() {
		if _, err := tls.X509KeyPair(k.NextCert, k.NextKey); err != nil {
			return fmt.Errorf("%s and %s: %w", nextCertFile, nextKeyFile, err)
		}
	}
	trusted, err := Fingerprints(k.Trusted)
	if err != nil {
		return fmt.Errorf("trusted.pem: %w", err)
	}
	own, err := Fingerprints(k.Cert)
	if err != nil {
		return fmt.Errorf("tls.crt: %w", err)
	}
	if !slices.Contains(trusted, own[0]) {
		return errors.New("trusted.pem: does not hold the certificate of tls.crt, so members would not trust each other")
	}
	return nil
}

// Fingerprint of the certificate that members present, as their Leases report it.
func (k PeerKey) Fingerprint() (string, error) { return fingerprint(k.Cert) }

// NextFingerprint is the one of the announced certificate.
func (k PeerKey) NextFingerprint() (string, error) { return fingerprint(k.NextCert) }

// Born is when the presented certificate was made.
func (k PeerKey) Born() (time.Time, error) {
	block, _ := pem.Decode(k.Cert)
	if block == nil {
		return time.Time{}, errors.New("tls.crt: no PEM block")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}, fmt.Errorf("tls.crt: %w", err)
	}
	return cert.NotBefore, nil
}

func fingerprint(certPEM []byte) (string, error) {
	all, err := Fingerprints(certPEM)
	if err != nil {
		return "", err
	}
	return all[0], nil
}

// Fingerprints are the hex SHA-256 sums of the SubjectPublicKeyInfo of each certificate in a PEM file.
func Fingerprints(rest []byte) ([]string, error) {
	var all []string
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
		all = append(all, hex.EncodeToString(sum[:]))
	}
	if len(all) == 0 {
		return nil, errors.New("no certificate in it")
	}
	return all, nil
}
