package member

import (
	"fmt"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
)

// Hello is what this member says of itself now.
func (r *Runner) Hello() replication.Hello {
	return replication.Hello{Protocol: replication.ProtocolVersion, ClusterUID: r.opts.ClusterUID, Member: r.Self(), Stamp: r.stamp()}
}

// Admit says why a member cannot be talked to: it is of another cluster, too far ahead or behind, or ourselves.
func (r *Runner) Admit(h replication.Hello) error {
	self := r.Self()
	switch {
	case h.ClusterUID != r.opts.ClusterUID:
		return fmt.Errorf("%s is a member of another cluster, %q", h.Member.Name, h.ClusterUID)
	case h.Protocol > replication.ProtocolVersion+1 || h.Protocol+1 < replication.ProtocolVersion:
		return fmt.Errorf("%s speaks version %d of the peer protocol, this member %d: they may differ by one",
			h.Member.Name, h.Protocol, replication.ProtocolVersion)
	case h.Member.Incarnation == 0:
		return fmt.Errorf("%s does not say its incarnation", h.Member.Name)
	case h.Member.Incarnation == self.Incarnation, h.Member.UID != "" && h.Member.UID == self.UID:
		return fmt.Errorf("%s is this member itself", h.Member.Name)
	}
	r.hlc.Observe(r.clock.Now(), h.Stamp)
	return nil
}

// PeerUp opens a stream with a peer that was admitted. It refuses one that has become this member itself meanwhile.
func (r *Runner) PeerUp(p model.Member) (wake <-chan struct{}, ok bool) {
	if p.Incarnation == r.Self().Incarnation {
		return nil, false
	}
	return r.Member.PeerUp(p), true
}
