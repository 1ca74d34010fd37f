package link_test

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-registry/muster/api/wellknown"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
	"github.com/muster-registry/muster/registry/replication/link"
)

// pair starts two nodes of one cluster.
func pair(t *testing.T) (a, b *node) { return pairWith(t, 0) }

func pairWith(t *testing.T, ping time.Duration) (a, b *node) {
	t.Helper()
	keys := newKeys(t)
	return start(t, nodeOptions{inc: 1, ip: "127.0.0.1", keys: keys, ping: ping}), start(t, nodeOptions{inc: 2, ip: "127.0.0.2", keys: keys, ping: ping})
}

// connect lets the first of each pair dial. Where both dial, a stream may lose against the other after it was up.
func connect(nodes ...*node) {
	for i, n := range nodes {
		var targets []string
		for _, o := range nodes[i+1:] {
			targets = append(targets, o.addr())
		}
		n.link.SetTargets(targets)
	}
	for _, n := range nodes {
		for _, o := range nodes {
			if o != n {
				n.awaitUp(o)
			}
		}
	}
}

// seq is a message that is recognised by its number.
func seq(n int) replication.Message {
	return replication.Message{Kind: replication.KindDelta, Seq: uint64(n)}
}

// awaitSeqs waits for the messages 1 to count of a peer, in order.
func (n *node) awaitSeqs(from *node, count int) {
	n.t.Helper()
	n.await("messages", func() bool { return len(n.received[from.self.Incarnation]) >= count })
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, m := range n.received[from.self.Incarnation] {
		if m.Seq != uint64(i+1) {
			n.t.Fatalf("message %d of node %d has number %d", i+1, from.self.Incarnation, m.Seq)
		}
	}
}

func TestThreeMembersTalk(t *testing.T) {
	keys := newKeys(t)
	nodes := []*node{
		start(t, nodeOptions{inc: 1, ip: "127.0.0.1", keys: keys}), start(t, nodeOptions{inc: 2, ip: "127.0.0.2", keys: keys}), start(t, nodeOptions{inc: 3, ip: "127.0.0.3", keys: keys}),
	}
	connect(nodes...)
	for i := range 100 {
		for _, n := range nodes {
			for _, o := range nodes {
				if o != n {
					n.say(o, seq(i+1))
				}
			}
		}
	}
	for _, n := range nodes {
		for _, o := range nodes {
			if o != n {
				n.awaitSeqs(o, 100)
			}
		}
	}
}

func TestForeignKeyGetsNoStream(t *testing.T) {
	a := start(t, nodeOptions{inc: 1, ip: "127.0.0.1", keys: newKeys(t)})
	foreign := start(t, nodeOptions{inc: 2, ip: "127.0.0.2", keys: newKeys(t)})
	a.link.SetTargets([]string{foreign.addr()})
	foreign.link.SetTargets([]string{a.addr()})
	a.awaitOutcome(replication.DialRejected)
	foreign.awaitOutcome(replication.DialRejected)
	for _, n := range []*node{a, foreign} {
		n.do(func() {
			if n.ups != 0 || n.outcomes[replication.DialConnected] != 0 {
				t.Errorf("node %d: %d streams, outcomes %v", n.self.Incarnation, n.ups, n.outcomes)
			}
		})
	}
}

func TestRefusalHasAReason(t *testing.T) {
	a, b := pair(t)
	b.do(func() { b.cluster = "cluster-2" })
	a.link.SetTargets([]string{b.addr()})
	a.awaitOutcome(replication.DialRejected)
	a.await("the reason in the log", func() bool { return strings.Contains(a.log, `cluster \"cluster-1\" is not \"cluster-2\"`) })
	b.do(func() { b.cluster = cluster })
	a.awaitUp(b)
}

func TestUnwantedPeerIsAskedAgain(t *testing.T) {
	a, b := pair(t)
	b.do(func() { b.refused = true })
	a.link.SetTargets([]string{b.addr()})
	a.await("a stream that ended", func() bool { return a.downs > 0 })
	b.do(func() { b.refused = false })
	b.awaitUp(a)
	a.awaitUp(b)
}

// Both sides dial at the same moment, many times: they always end with one stream, and over it each hears the other.
func TestOneStreamAPair(t *testing.T) {
	keys := newKeys(t)
	for round := range 10 {
		inc := model.Incarnation(10 * (round + 1))
		a := start(t, nodeOptions{inc: inc, ip: "127.0.0.1", keys: keys, ping: 200 * time.Millisecond})
		b := start(t, nodeOptions{inc: inc + 1, ip: "127.0.0.2", keys: keys, ping: 200 * time.Millisecond})
		a.link.SetTargets([]string{b.addr()})
		b.link.SetTargets([]string{a.addr()})
		a.do(func() { a.chatty = true })
		b.do(func() { b.chatty = true })
		for _, n := range []*node{a, b} {
			n.await("something that the other says", func() bool {
				return len(n.received[inc]) > 0 || len(n.received[inc+1]) > 0
			})
			n.do(func() {
				if n.ups > 2 {
					t.Errorf("round %d: node %d saw %d streams", round, n.self.Incarnation, n.ups)
				}
			})
		}
		a.stop()
		b.stop()
	}
}

func TestReconnect(t *testing.T) {
	a, b := pair(t)
	connect(a, b)
	address := b.addr()
	b.stop()
	a.await("down", func() bool { return a.downs > 0 })
	a.awaitOutcome(replication.DialRefused)

	_, port, _ := net.SplitHostPort(address)
	again := start(t, nodeOptions{inc: 12, ip: "127.0.0.2", keys: a.keys})
	again.stop()
	again = restart(t, again, "127.0.0.2:"+port, 22)
	a.awaitUp(again)
	again.awaitUp(a)
}

// restart brings a stopped node back at an address, as another incarnation.
func restart(t *testing.T, n *node, address string, inc model.Incarnation) *node {
	t.Helper()
	n.link = link.New(link.Options{Listen: address, KeyDir: n.keys, Handler: n})
	n.do(func() { n.self.Incarnation, n.self.Address = inc, address })
	if err := n.link.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.stop)
	return n
}

func TestNewIncarnationReconnects(t *testing.T) {
	a, b := pair(t)
	connect(a, b)
	a.do(func() { a.self.Incarnation = 100 })
	a.link.Reconnect()
	b.await("the new incarnation", func() bool { return b.up[100] && !b.up[1] })
	a.await("b again", func() bool { return a.ups == 2 && a.up[2] })
}

func TestDroppedTargetKeepsItsStream(t *testing.T) {
	a, b := pair(t)
	a.link.SetTargets([]string{b.addr()})
	a.awaitUp(b)
	b.awaitUp(a)
	a.link.SetTargets(nil)
	b.say(a, seq(1))
	a.awaitSeqs(b, 1)
	a.do(func() {
		if a.downs != 0 {
			t.Error("the stream ended")
		}
	})
}

// TestLargestRecord: what a publisher may say at most reaches the others, and the stream goes on.
func TestLargestRecord(t *testing.T) {
	a, b := pairWith(t, time.Minute) // a busy machine is no silent peer
	connect(a, b)
	large := &model.Record{Key: model.RecordKey{Service: model.ServiceKey{Name: "large"}}}
	pairs := model.NewMetadata(model.Pair{Key: "k", Value: "v"})
	in := model.Instance{IP: "10.0.0.1", Port: 80, ID: strings.Repeat("i", 1000), Metadata: pairs}
	large.Instances = slices.Repeat([]model.Instance{in}, model.MaxRecord/in.Size())
	m := seq(1)
	m.Entries = []replication.Entry{{Record: large}}
	a.say(b, m)
	a.say(b, seq(2))
	b.awaitSeqs(a, 2)
	b.do(func() {
		if got := b.received[a.self.Incarnation][0].Entries; len(got) != 1 || !got[0].Record.SameContent(large.Instances) {
			t.Error("the record is not what was sent")
		}
		if b.ups != 1 {
			t.Errorf("the stream began %d times", b.ups)
		}
	})
}

// TestTooLargeRecord: one that no frame can hold is left behind with a word, and everything else goes on.
func TestTooLargeRecord(t *testing.T) {
	a, b := pairWith(t, time.Minute) // a busy machine is no silent peer
	connect(a, b)
	record := func(name, ip string) replication.Entry {
		return replication.Entry{Record: &model.Record{
			Key: model.RecordKey{Service: model.ServiceKey{Name: name}}, Instances: []model.Instance{{IP: ip}},
		}}
	}
	m := seq(1)
	m.Entries = []replication.Entry{record("first", "10.0.0.1"), record("endless", strings.Repeat("x", 64<<20)), record("last", "10.0.0.2")}
	a.say(b, m)
	a.say(b, seq(2))
	b.awaitSeqs(a, 2)
	b.do(func() {
		var names []string
		for _, e := range b.received[a.self.Incarnation][0].Entries {
			names = append(names, e.Record.Key.Service.Name)
		}
		if !slices.Equal(names, []string{"first", "last"}) || b.ups != 1 {
			t.Errorf("%v came in %d streams", names, b.ups)
		}
	})
	a.do(func() {
		if !strings.Contains(a.log, "record is too large for other members") || !strings.Contains(a.log, "endless") {
			t.Error("nobody says so")
		}
	})
}

// The last message of a member that stops is heard, whoever dialled, and its peer's link does not wait for a timeout.
func TestStopSendsWhatIsLeft(t *testing.T) {
	for _, dialler := range []int{0, 1} {
		a, b := pair(t)
		nodes := []*node{a, b}
		nodes[dialler].link.SetTargets([]string{nodes[1-dialler].addr()})
		a.awaitUp(b)
		b.awaitUp(a)
		a.do(func() { // no wake: only Stop makes the sender look again
			for i := range 50 {
				a.outbox[2] = append(a.outbox[2], seq(i+1))
			}
		})
		a.stop()
		b.awaitSeqs(a, 50)
		b.await("down", func() bool { return b.downs == 1 })
		b.stop()
	}
}

func TestStartNeedsTheKey(t *testing.T) {
	keys := newKeys(t)
	if err := os.Remove(filepath.Join(keys, wellknown.PeerTrustedFile)); err != nil {
		t.Fatal(err)
	}
	l := link.New(link.Options{Listen: "127.0.0.1:0", KeyDir: keys})
	if err := l.Start(); err == nil || !strings.Contains(err.Error(), wellknown.PeerTrustedFile) {
		t.Errorf("error = %v, want one that names %s", err, wellknown.PeerTrustedFile)
	}
}

// The key is rotated step by step, as the operator does it: new streams open at every step, and one that is open stays.
func TestRotation(t *testing.T) {
	oldKeys, newer := newKeys(t), newKeys(t)
	a := start(t, nodeOptions{inc: 1, ip: "127.0.0.1", keys: copyKeys(t, oldKeys)})
	b := start(t, nodeOptions{inc: 2, ip: "127.0.0.2", keys: copyKeys(t, oldKeys)})
	witness := start(t, nodeOptions{inc: 3, ip: "127.0.0.3", keys: copyKeys(t, oldKeys)})
	a.link.SetTargets([]string{b.addr(), witness.addr()})
	a.awaitUp(b, witness)

	oldCert, newCert := readKey(t, oldKeys, wellknown.PeerCertFile), readKey(t, newer, wellknown.PeerCertFile)
	trustBoth := func(n *node) { writeKey(t, n.keys, wellknown.PeerTrustedFile, oldCert+newCert) }
	present := func(n *node) {
		writeKey(t, n.keys, wellknown.PeerCertFile, newCert)
		writeKey(t, n.keys, wellknown.PeerKeyFile, readKey(t, newer, wellknown.PeerKeyFile))
	}
	trustNew := func(n *node) { writeKey(t, n.keys, wellknown.PeerTrustedFile, newCert) }
	steps := []struct {
		name string
		do   func(*node)
		of   *node
	}{
		{"a trusts both", trustBoth, a},
		{"b trusts both", trustBoth, b},
		{"a presents the new one", present, a},
		{"b presents the new one", present, b},
		{"a trusts the new one alone", trustNew, a},
		{"b trusts the new one alone", trustNew, b},
	}
	for i, s := range steps {
		s.do(s.of)
		b.link.Reconnect()
		a.await(s.name+": a stream with b", func() bool { return a.downs == i+1 && a.up[2] })
	}
	// a's stream with the witness is the first one, and still carries messages, though neither trusts the other now
	a.say(witness, seq(1))
	witness.awaitSeqs(a, 1)
	if witness.ups != 1 {
		t.Errorf("the witness saw %d streams, want the first one", witness.ups)
	}
	// a key that is trusted no more opens none
	witness.link.Reconnect()
	a.awaitOutcome(replication.DialRejected)
	a.do(func() {
		if a.up[3] {
			t.Error("the old key opened a stream")
		}
	})
}

func copyKeys(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	for _, f := range []string{wellknown.PeerCertFile, wellknown.PeerKeyFile, wellknown.PeerTrustedFile} {
		writeKey(t, to, f, readKey(t, from, f))
	}
	return to
}

func readKey(t *testing.T, dir, file string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func writeKey(t *testing.T, dir, file, data string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, file), []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

// What comes in a row travels together, and what comes alone at once; nothing of it is lost when the member stops.
func TestWhatComesInARowIsGathered(t *testing.T) {
	keys := newKeys(t)
	a := start(t, nodeOptions{inc: 1, ip: "127.0.0.1", keys: keys, gather: time.Hour})
	b := start(t, nodeOptions{inc: 2, ip: "127.0.0.2", keys: keys})
	connect(a, b)
	a.say(b, seq(1))
	b.awaitSeqs(a, 1)
	a.say(b, seq(2))
	a.say(b, seq(3))
	a.stop()
	b.awaitSeqs(a, 3)
	if want := []int{1, 2}; !slices.Equal(a.pulled, want) {
		t.Errorf("sent in portions of %v, want %v", a.pulled, want)
	}
}
