package sim

import (
	"strings"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
	"github.com/muster-registry/muster/registry/session"
)

// TestBrokenRules: a simulation that cannot fail shows nothing. Each case takes one rule away, in a script that passes
// with it.
func TestBrokenRules(t *testing.T) {
	for name, tc := range map[string]struct {
		run  func(s *script)
		want string
	}{
		"probes that say refused of ports that answer": {func(s *script) {
			s.oneOfEach(s.nodes[0])
			s.steady()
			s.answers = func(session.Probe) session.PortAnswer { return session.PortRefused }
			for _, c := range s.clients {
				c.Move()
			}
			s.pass(time.Minute)
		}, "false removal"},
		"nobody hears what was superseded": {func(s *script) {
			s.net.tamper = entries(func(r *model.Record) *model.Record {
				if r.Successor() != nil {
					return nil
				}
				c := *r
				c.Rare = nil
				return &c
			})
			moveBehind(s, func(s *script) { s.apart(s.nodes[1]) }, func(*Client) {}, 10*time.Second)
		}, "no ghost after the heal"},
		"removals that claim to be newer than what they saw": {func(s *script) {
			s.oneOfEach(s.nodes[0])
			s.steady()
			s.net.tamper = entries(func(r *model.Record) *model.Record {
				c := *r
				c.Deleted, c.Instances = true, nil
				c.Version.Stamp += 1 << 40
				return &c
			})
			s.clients[0].Change()
			s.pass(30 * time.Second)
		}, "false removal"},
		"members that do not tell their time": {func(s *script) {
			s.oneOfEach(nil)
			s.steady()
			s.nodes[0].Step(time.Hour)
			s.net.tamper = func(m replication.Message) (replication.Message, bool) {
				m.Stamp = 0
				return m, false
			}
			s.roam(5 * time.Second)
			s.pass(time.Minute)
		}, "revision of orders goes from"},
		"no repair": {func(s *script) {
			s.oneOfEach(nil)
			s.steady()
			s.net.tamper = func(m replication.Message) (replication.Message, bool) {
				return m, m.Kind == replication.KindRepair || m.Kind == replication.KindDelta
			}
			s.client(RedoGo, s.nodes[0])
			s.pass(10 * time.Second)
		}, "not converged"},
	} {
		t.Run(name, func(t *testing.T) {
			res := perform(1, 3, false, tc.run)
			if !strings.Contains(strings.Join(res.Failures, "\n"), tc.want) || len(res.Failures) == 0 {
				t.Errorf("the simulation finds %q, want %q", res.Failures, tc.want)
			}
		})
	}
}

// entries changes every record on its way; nil loses it.
func entries(change func(r *model.Record) *model.Record) func(replication.Message) (replication.Message, bool) {
	return func(m replication.Message) (replication.Message, bool) {
		var es []replication.Entry
		for _, e := range m.Entries {
			if e.Record = change(e.Record); e.Record != nil {
				es = append(es, e)
			}
		}
		m.Entries = es
		return m, false
	}
}
