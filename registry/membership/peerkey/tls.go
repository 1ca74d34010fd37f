package peerkey

import (
	"crypto/tls"
	"errors"

	"github.com/muster-registry/muster/api/wellknown"
)

// errForeign is what a peer without a trusted key is told.
var errForeign = errors.New("the peer's key is not in " + wellknown.PeerTrustedFile)

// ServerTLS takes members only. The directory is read again for each handshake.
func ServerTLS(dir string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			k, err := Load(dir)
			if err != nil {
				return nil, err
			}
			c := k.config()
			c.ClientAuth = tls.RequireAnyClientCert
			return c, nil
		},
	}
}

// ClientTLS is for one connection to a member, with the directory as it is now.
func ClientTLS(dir string) (*tls.Config, error) {
	k, err := Load(dir)
	if err != nil {
		return nil, err
	}
	return k.config(), nil
}

// config pins the public key of the other side, whichever side that is.
func (k *Key) config() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{"h2"},
		Certificates:           []tls.Certificate{k.Certificate},
		SessionTicketsDisabled: true, // a resumed session would outlive a key that is trusted no more
		InsecureSkipVerify:     true, //nolint:gosec // names and dates do not count: VerifyConnection below is the check, at every handshake
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 || !k.TrustsCertificate(s.PeerCertificates[0]) {
				return errForeign
			}
			return nil
		},
	}
}
