package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/model"
)

// A member that was killed is out of every view within 12 s, and the time that a renewal takes to be seen: 10 s without one of its Lease,
// counted when the own ones come back, every 2 s. One that leaves is known to leave within 200 ms. So it is whenever between two
// renewals it goes.
func TestDetection(t *testing.T) {
	for at := time.Duration(0); at < renewInterval; at += renewInterval / 8 {
		t.Run(fmt.Sprint("after ", at), func(t *testing.T) {
			play(t, 3, func(s *script) {
				s.oneOfEach(nil)
				s.steady()
				s.pass(at)
				killed, leaves, stays := s.nodes[0], s.nodes[1], s.nodes[2]
				dead := killed.m.Self().Incarnation
				killed.Kill()
				s.within(12*time.Second+watchDelay+tickInterval, "who was killed is in no view", func() bool { return !leaves.m.View().Has(dead) && !stays.m.View().Has(dead) })
				going := leaves.m.Self().Incarnation
				leaves.Drain()
				s.within(200*time.Millisecond, "who leaves is known to", func() bool {
					m, listed := stays.m.View().Find(going)
					return !listed || m.State == model.StateLeaving
				})
				s.pass(15 * time.Second) // until it has left
			})
		})
	}
}
