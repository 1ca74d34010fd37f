//go:build linux

package chaos

import (
	"fmt"
	"slices"
)

// scales watch the resident memory of members while a scenario loads them.
type scales struct {
	c      *cluster
	before []int // of each member, in bytes
}

const (
	// slack is the factor between what is held and what may be resident: Go's collector lets as much garbage grow as there is
	// alive before it runs. The end has it too, as what was freed is given back late.
	slack = 2
	// perInstance and perConnection are what a member holds for each, with some room: docs/performance.md measures them.
	perInstance   = 1 << 10
	perConnection = 48 << 10
)

// weigh begins.
func (c *cluster) weigh() *scales {
	c.t.Helper()
	s := &scales{c: c}
	for _, m := range c.members {
		now, _ := c.memory(m)
		s.before = append(s.before, now)
	}
	return s
}

func (c *cluster) memory(m *member) (now, most int) {
	c.t.Helper()
	now, most, err := m.resident()
	c.must(err)
	return now, most
}

// bounded checks each member against what it had before and the bytes that it held besides: at most, and now. The line of
// the scenario shows the highest of each.
func (s *scales) bounded(most, now int) {
	s.c.t.Helper()
	var peaks, ends []int
	for i, m := range s.c.members {
		end, peak := s.c.memory(m)
		peaks, ends = append(peaks, peak), append(ends, end)
		for what, v := range map[string]struct{ was, limit int }{
			"at most":    {peak, slack * (s.before[i] + most)},
			"at the end": {end, slack * (s.before[i] + now)},
		} {
			if v.was > v.limit {
				s.c.t.Errorf("%s had %d MiB %s, and %d before: more than %d", m.name, v.was>>20, what, s.before[i]>>20, v.limit>>20)
			}
		}
	}
	before := slices.Max(s.before)
	s.c.remark = fmt.Sprintf(", %d MiB, at most %d (of %d), at the end %d (of %d)", before>>20,
		slices.Max(peaks)>>20, slack*(before+most)>>20, slices.Max(ends)>>20, slack*(before+now)>>20)
}
