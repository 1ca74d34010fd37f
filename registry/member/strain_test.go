package member_test

import (
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/replication"
)

// TestStrainIsTold: the others know for as long as a long wait shows, and what is short says nothing (R4).
func TestStrainIsTold(t *testing.T) {
	c, a, b, _ := three(t)
	strained := false
	c.watch = func(from, to *peer, m *replication.Message) {
		if m.Kind == replication.KindStatus && from == a && to == b {
			strained = m.Status.Strained
		}
	}
	a.Waited(1400 * time.Millisecond)
	c.pass(2 * time.Second)
	if strained || a.Strained() {
		t.Error("a wait of less than half of what clients bear strains it")
	}
	a.Waited(1500 * time.Millisecond)
	c.pass(200 * time.Millisecond)
	if !strained || !a.Strained() || b.Strained() {
		t.Errorf("told %v, is %v, the other %v", strained, a.Strained(), b.Strained())
	}
	c.pass(9500 * time.Millisecond)
	if !strained || !a.Strained() {
		t.Error("it is over before those who waited have been heard")
	}
	c.pass(2 * time.Second)
	if strained || a.Strained() {
		t.Error("it is not over")
	}
}
