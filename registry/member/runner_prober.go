package member

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime/pprof"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/session"
)

// Probing says how the ports of instances are asked whether anybody is there. Publishers name the addresses, so this is
// a way to scan ports: bounded, and never where it could hurt.
type Probing struct {
	Enabled   bool
	PerSecond int
	// Deny are never probed.
	Deny []netip.Prefix
	// Loopback may be probed: not in a cluster, where it is a pod of our own.
	Loopback bool
}

const (
	connectTimeout = time.Second
	// probeStale is the age at which nobody waits for the verdict of a probe any more.
	probeStale = 3 * time.Second
	// patientStale is the same for a probe for whose verdict nobody waits.
	patientStale = 10 * time.Minute
	// maxConnects is how many probes run at once.
	maxConnects = 64
	// maxWaiting bounds the queue, maxPatient the one for whose verdicts nobody waits.
	maxWaiting = 10_000
	maxPatient = 100_000
)

// prober asks ports by a bare TCP connect: not a byte is sent.
type prober struct {
	opts    Probing
	limit   *rate.Limiter
	verdict func(model.RecordKey, session.PortAnswer)
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	wake    chan struct{} // size 1

	answered [4]atomic.Int64 // by answer
	dropped  atomic.Int64

	mu      sync.Mutex // guards all below
	queue   []waitingProbe
	patient []waitingProbe // worked off when the queue is empty
}

type waitingProbe struct {
	session.Probe
	deadline time.Time
}

func newProber(o Probing, verdict func(model.RecordKey, session.PortAnswer)) *prober {
	perSecond := max(o.PerSecond, 1)
	dialer := net.Dialer{Timeout: connectTimeout, KeepAlive: -1}
	return &prober{
		opts: o, limit: rate.NewLimiter(rate.Limit(perSecond), max(perSecond/10, 1)), verdict: verdict,
		dial: dialer.DialContext, wake: make(chan struct{}, 1),
	}
}

// submit queues probes.
func (p *prober) submit(probes []session.Probe) {
	if len(probes) == 0 {
		return
	}
	now := time.Now()
	p.mu.Lock()
	for _, pr := range probes {
		switch {
		case !pr.Patient && len(p.queue) < maxWaiting:
			p.queue = append(p.queue, waitingProbe{Probe: pr, deadline: now.Add(probeStale)})
		case pr.Patient && len(p.patient) < maxPatient:
			p.patient = append(p.patient, waitingProbe{Probe: pr, deadline: now.Add(patientStale)})
		default:
			p.dropped.Add(1)
		}
	}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// take returns the next probe: the patient ones when no other is left.
func (p *prober) take() (waitingProbe, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, q := range []*[]waitingProbe{&p.queue, &p.patient} {
		if len(*q) > 0 {
			w := (*q)[0]
			*q = (*q)[1:]
			return w, true
		}
		*q = nil // a burst is not kept
	}
	return waitingProbe{}, false
}

// run works the queue off until ctx ends.
func (p *prober) run(ctx context.Context) error {
	var g errgroup.Group
	g.SetLimit(maxConnects)
	defer func() { _ = g.Wait() }() // probes return no error
	for {
		w, ok := p.take()
		if ctx.Err() != nil {
			return nil
		}
		if !ok {
			select {
			case <-ctx.Done():
			case <-p.wake:
			}
			continue
		}
		if !p.wait(ctx, w) {
			continue
		}
		g.Go(func() error {
			pprof.Do(ctx, pprof.Labels("goroutine", "member probe"), func(ctx context.Context) { p.probe(ctx, w) })
			return nil
		})
	}
}

// wait takes the turn of a probe's first connect: here, so that no more than one of the patient ones stands in the way of
// the others.
func (p *prober) wait(ctx context.Context, w waitingProbe) bool {
	turn, cancel := context.WithDeadline(ctx, w.deadline)
	defer cancel()
	if p.limit.Wait(turn) != nil {
		p.dropped.Add(1)
		return false
	}
	return true
}

// probe asks the targets in turn until one accepts. One that has gone stale gives no verdict: to be silent is something
// that a port does, not something that we had no time for.
func (p *prober) probe(ctx context.Context, w waitingProbe) {
	ctx, cancel := context.WithDeadline(ctx, w.deadline)
	defer cancel()
	refused, silent := 0, 0
	for i, t := range w.Targets {
		address, ok := p.address(t)
		if !ok {
			continue
		}
		if i > 0 && p.limit.Wait(ctx) != nil || time.Until(w.deadline) < connectTimeout {
			break
		}
		answer := p.connect(ctx, address)
		if answer == session.PortAccepted {
			p.tell(w.Key, answer)
			return
		}
		if answer == session.PortRefused {
			refused++
		} else {
			silent++
		}
	}
	switch {
	case ctx.Err() != nil && w.deadline.After(time.Now()): // the member stops
	case silent > 0:
		p.tell(w.Key, session.PortSilent)
	case refused > 0 && refused == len(w.Targets):
		p.tell(w.Key, session.PortRefused)
	default:
		p.dropped.Add(1)
	}
}

func (p *prober) tell(k model.RecordKey, a session.PortAnswer) {
	p.answered[a].Add(1)
	p.verdict(k, a)
}

func (p *prober) connect(ctx context.Context, address string) session.PortAnswer {
	c, err := p.dial(ctx, "tcp", address)
	switch {
	case err == nil:
		_ = c.Close()
		return session.PortAccepted
	case errors.Is(err, syscall.ECONNREFUSED):
		return session.PortRefused
	}
	return session.PortSilent
}

// address is where a target is probed, if it may be. Names are not resolved for publishers.
func (p *prober) address(t model.InstanceKey) (string, bool) {
	ip, err := netip.ParseAddr(t.IP)
	if err != nil || t.Port <= 0 || t.Port > 65535 || !p.allowed(ip) {
		return "", false
	}
	return net.JoinHostPort(ip.Unmap().String(), strconv.Itoa(t.Port)), true
}

func (p *prober) allowed(ip netip.Addr) bool {
	if ip.Zone() != "" {
		return false
	}
	ip = ip.Unmap()
	switch {
	case ip.IsUnspecified(), ip.IsMulticast(), ip.IsLinkLocalUnicast(), ip == broadcast, thisNetwork.Contains(ip):
		return false
	case ip.IsLoopback() && !p.opts.Loopback:
		return false
	}
	for _, d := range p.opts.Deny {
		if d.Contains(ip) {
			return false
		}
	}
	return true
}

// Addresses that no instance has; the kernel takes some of them for its own.
var (
	broadcast   = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	thisNetwork = netip.PrefixFrom(netip.AddrFrom4([4]byte{}), 8)
)

// ProbeCounts are for metrics.
type ProbeCounts struct{ Accepted, Refused, Silent, Dropped int64 }

// probes returns how many probes gave which answer since the start, and how many gave none.
func (r *Runner) probes() ProbeCounts {
	p := r.prober
	return ProbeCounts{
		Accepted: p.answered[session.PortAccepted].Load(), Refused: p.answered[session.PortRefused].Load(),
		Silent: p.answered[session.PortSilent].Load(), Dropped: p.dropped.Load(),
	}
}
