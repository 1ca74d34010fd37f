package server

import (
	"context"
	"fmt"

	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/membership/peerkey"
	"github.com/muster-registry/muster/registry/replication/link"
)

// startPeers opens the peer port, when there are peers.
func (s *Server) startPeers() (member.Links, error) {
	if s.opts.alone() {
		return nil, nil
	}
	c := s.opts.Config
	if _, err := peerkey.Load(c.Membership.TLSDir); err != nil {
		return nil, fmt.Errorf("membership.tlsDir: %w; members need one key (registry peer-keys DIR... makes one)", err)
	}
	links := link.New(link.Options{
		Listen: joinPort(c.Listen.Address, c.Listen.PeerPort), KeyDir: c.Membership.TLSDir, Handler: s.runner, Log: s.log,
	})
	if err := links.Start(); err != nil {
		return nil, listenError(err, c.Listen.Address, c.Listen.PeerPort, "listen.peerPort", "--peer-port")
	}
	s.addr.Peers = links.Addr()
	s.onStop("peers", func(ctx context.Context) error {
		links.Stop(ctx)
		return nil
	})
	return links, nil
}
