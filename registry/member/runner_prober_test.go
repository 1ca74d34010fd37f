package member

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/session"
)

// listenLoop accepts on loopback, and reports how many bytes it was sent.
func listenLoop(t *testing.T) (port int, sent *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sent = &atomic.Int64{}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				n, _ := io.Copy(io.Discard, c)
				sent.Add(n)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		conns.Wait()
	})
	return l.Addr().(*net.TCPAddr).Port, sent
}

// closedPort refuses: it is bound, and nobody listens.
func closedPort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func at(ip string, port int) model.InstanceKey { return model.InstanceKey{IP: ip, Port: port} }

func TestProbe(t *testing.T) {
	open, sent := listenLoop(t)
	closed := closedPort(t)
	here := Probing{Enabled: true, PerSecond: 1000, Loopback: true}
	inCluster := here
	inCluster.Loopback = false
	denied := here
	denied.Deny = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for name, c := range map[string]struct {
		opts    Probing
		targets []model.InstanceKey
		want    string
	}{
		"accepts":                    {opts: here, targets: []model.InstanceKey{at("127.0.0.1", open)}, want: "accepted"},
		"refuses":                    {opts: here, targets: []model.InstanceKey{at("127.0.0.1", closed)}, want: "refused"},
		"one of two accepts":         {opts: here, targets: []model.InstanceKey{at("127.0.0.1", closed), at("127.0.0.1", open)}, want: "accepted"},
		"one of two cannot be asked": {opts: here, targets: []model.InstanceKey{at("127.0.0.1", closed), at("169.254.169.254", 80)}, want: "none"},
		"mapped into IPv6":           {opts: here, targets: []model.InstanceKey{at("::ffff:127.0.0.1", open)}, want: "accepted"},
		"loopback in a cluster":      {opts: inCluster, targets: []model.InstanceKey{at("127.0.0.1", open)}, want: "none"},
		"mapped loopback there":      {opts: inCluster, targets: []model.InstanceKey{at("::ffff:127.0.0.1", open)}, want: "none"},
		"denied":                     {opts: denied, targets: []model.InstanceKey{at("127.0.0.1", open)}, want: "none"},
		"a name":                     {opts: here, targets: []model.InstanceKey{at("localhost", open)}, want: "none"},
		"port 0":                     {opts: here, targets: []model.InstanceKey{at("127.0.0.1", 0)}, want: "none"},
		"nothing to ask":             {opts: here, want: "none"},
	} {
		t.Run(name, func(t *testing.T) {
			got := "none"
			p := newProber(c.opts, func(_ model.RecordKey, a session.PortAnswer) {
				got = map[session.PortAnswer]string{session.PortAccepted: "accepted", session.PortRefused: "refused", session.PortSilent: "silent"}[a]
			})
			p.probe(t.Context(), waitingProbe{Probe: session.Probe{Targets: c.targets}, deadline: time.Now().Add(time.Minute)})
			if got != c.want {
				t.Errorf("answer %s, want %s", got, c.want)
			}
		})
	}
	if n := sent.Load(); n != 0 {
		t.Errorf("%d bytes were sent", n)
	}
}

func TestWhatMayBeProbed(t *testing.T) {
	p := newProber(Probing{Deny: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12"), netip.MustParsePrefix("fd00::/64")}}, nil)
	for ip, want := range map[string]bool{
		"10.0.0.1": true, "192.168.1.1": true, "8.8.8.8": true, "2001:db8::1": true, "fd00:0:0:1::1": true,
		"10.96.0.1": false, "::ffff:10.96.0.1": false, "fd00::1": false,
		"127.0.0.1": false, "127.8.8.8": false, "::1": false,
		"169.254.169.254": false, "::ffff:169.254.169.254": false, "fe80::1": false, "fe80::1%eth0": false,
		"224.0.0.1": false, "ff02::1": false, "0.0.0.0": false, "0.1.2.3": false, "::": false, "255.255.255.255": false,
	} {
		if got := p.allowed(netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s: %v, want %v", ip, got, want)
		}
	}
}

// fakeNet counts connects and answers each after a second.
type fakeNet struct {
	mu          sync.Mutex // guards all below
	open, most  int
	total       int
	asked       []string
	slow        time.Duration
	unreachable error
}

func (f *fakeNet) dial(ctx context.Context, _, address string) (net.Conn, error) {
	f.mu.Lock()
	f.asked = append(f.asked, address)
	f.open++
	f.total++
	f.most = max(f.most, f.open)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.open--
		f.mu.Unlock()
	}()
	select {
	case <-time.After(f.slow):
	case <-ctx.Done():
	}
	return nil, f.unreachable
}

func (f *fakeNet) last() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[len(f.asked)-1]
}

// answered runs a prober over n probes, and counts its verdicts.
func answered(t *testing.T, o Probing, f *fakeNet, n int, d time.Duration) (verdicts map[session.PortAnswer]int, dropped int64) {
	t.Helper()
	verdicts = map[session.PortAnswer]int{}
	var mu sync.Mutex
	p := newProber(o, func(_ model.RecordKey, a session.PortAnswer) {
		mu.Lock()
		defer mu.Unlock()
		verdicts[a]++
	})
	p.dial = f.dial
	var probes []session.Probe
	for i := range n {
		probes = append(probes, session.Probe{
			Key:     model.RecordKey{Publisher: model.Publisher{ID: fmt.Sprint(i)}},
			Targets: []model.InstanceKey{at("10.0.0.1", i+1)},
		})
	}
	p.submit(probes)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.run(ctx) }()
	<-time.After(d)
	synctest.Wait()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
	return verdicts, p.dropped.Load()
}

var errUnreachable = errors.New("no route to host")

func TestProbesAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{unreachable: errUnreachable}
		verdicts, dropped := answered(t, Probing{PerSecond: 10}, f, 100, 10*time.Second)
		// one at once, ten a second, until a connect would take longer than anybody waits
		if f.total != 21 || verdicts[session.PortSilent] != 21 || dropped != 79 {
			t.Errorf("%d connects, verdicts %v, %d dropped; want 21 connects in the first two seconds", f.total, verdicts, dropped)
		}
	})
}

func TestProbesAtOnceAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{unreachable: errUnreachable, slow: connectTimeout}
		verdicts, _ := answered(t, Probing{PerSecond: 100_000}, f, 1000, 10*time.Second)
		if f.most != maxConnects || verdicts[session.PortSilent] == 0 {
			t.Errorf("%d at once, verdicts %v; want %d at once", f.most, verdicts, maxConnects)
		}
	})
}

// A burst of registrations is probed to its end, however long that takes, and stands in nobody's way (L2).
func TestPatientProbesAreAllMadeAndComeLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{unreachable: errUnreachable}
		var verdicts atomic.Int64
		p := newProber(Probing{PerSecond: 1}, func(model.RecordKey, session.PortAnswer) { verdicts.Add(1) })
		p.dial = f.dial
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.run(ctx) }()
		var burst []session.Probe
		for i := range 100 {
			burst = append(burst, session.Probe{Patient: true, Targets: []model.InstanceKey{at("10.0.0.1", i+1)}})
		}
		p.submit(burst)
		<-time.After(10500 * time.Millisecond)
		p.submit([]session.Probe{{Targets: []model.InstanceKey{at("10.0.0.2", 1)}}})
		<-time.After(1800 * time.Millisecond)
		synctest.Wait()
		if last := f.last(); last != "10.0.0.2:1" {
			t.Errorf("two seconds later %s is asked; want the one for whose verdict somebody waits", last)
		}
		<-time.After(2 * time.Minute)
		cancel()
		if err := <-ended; err != nil || verdicts.Load() != 101 || p.dropped.Load() != 0 {
			t.Errorf("run: %v, %d verdicts, %d dropped; want all 101", err, verdicts.Load(), p.dropped.Load())
		}
	})
}

func TestProbesOverTheBoundAreDropped(t *testing.T) {
	p := newProber(Probing{}, nil)
	p.submit(make([]session.Probe, maxWaiting+5))
	p.submit(slices.Repeat([]session.Probe{{Patient: true}}, maxPatient+7))
	if len(p.queue) != maxWaiting || len(p.patient) != maxPatient || p.dropped.Load() != 5+7 {
		t.Errorf("%d and %d wait, %d dropped", len(p.queue), len(p.patient), p.dropped.Load())
	}
}
