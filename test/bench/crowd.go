package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/muster-registry/muster/test/bench/load"
	"github.com/muster-registry/muster/test/bench/nacos"
	"github.com/muster-registry/muster/test/bench/process"
)

// clusterCrowd fills two members, lets a third one join, and then looks at what three that agree spend on finding that
// they do.
func (b *bench) clusterCrowd(ctx context.Context) ([]row, error) {
	s, stop, err := b.crowd(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	newcomer, err := b.newcomer(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := load.Wait(ctx, 2*b.size.settle); err != nil {
		return nil, err
	}
	steady, err := b.steady(ctx, s)
	return append(newcomer, steady...), err
}

// crowd is a cluster for three of which two are there and full, and how to end it and its clients.
func (b *bench) crowd(ctx context.Context) (_ *subject, stop func(), err error) {
	s, err := b.cluster(3)
	if err != nil {
		return nil, nil, err
	}
	stop = s.stop
	defer func() {
		if err != nil {
			stop()
		}
	}()
	if err := s.enlist(2); err != nil {
		return nil, nil, err
	}
	for range 2 {
		if err := b.join(ctx, s, nil); err != nil {
			return nil, nil, err
		}
	}
	if err := s.ready(ctx); err != nil {
		return nil, nil, err
	}
	conns, hangUp, err := s.dial(ctx, b.size.connections, nacos.Options{})
	if err != nil {
		return nil, nil, err
	}
	stop = func() {
		hangUp()
		s.stop()
	}
	if err := populate(ctx, conns, b.size.instances, perService); err != nil {
		return nil, nil, err
	}
	if err := s.agree(ctx, 2); err != nil {
		return nil, nil, err
	}
	return s, stop, load.Wait(ctx, b.size.settle)
}

// agree waits until the first n members hold the same.
func (s *subject) agree(ctx context.Context, n int) error {
	return s.eventually(ctx, func() error {
		first, err := s.digest(ctx, 0)
		for i := 1; i < n && err == nil; i++ {
			var other digest
			if other, err = s.digest(ctx, i); err == nil && other != first {
				err = fmt.Errorf("%s holds %+v, %s %+v", s.admin[0], first, s.admin[i], other)
			}
		}
		return err
	})
}

// welcome starts the third member of a crowd. It takes from the start of its process until it is ready and holds what the
// others hold.
func (b *bench) welcome(ctx context.Context, s *subject) (took time.Duration, err error) {
	if err := s.enlist(3); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := b.join(ctx, s, nil); err != nil {
		return 0, err
	}
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	if err := s.agree(ctx, 3); err != nil {
		return 0, err
	}
	return time.Since(began), nil
}

func (b *bench) newcomer(ctx context.Context, s *subject) ([]row, error) {
	before, err := s.cpu()
	if err != nil {
		return nil, err
	}
	sent, err := process.TrafficOf(ctx, s.peerPort)
	if err != nil {
		return nil, err
	}
	took, err := b.welcome(ctx, s)
	if err != nil {
		return nil, err
	}
	after, err := s.cpu()
	if err != nil {
		return nil, err
	}
	cpu, err := s.procs[2].CPU()
	if err != nil {
		return nil, err
	}
	t, err := process.TrafficOf(ctx, s.peerPort) // whoever has dialled
	if err != nil {
		return nil, err
	}
	bytes := t.Received - sent.Received
	copying, err := copyOver(bytes)
	if err != nil {
		return nil, err
	}
	r := row{
		what: fmt.Sprintf("a new member takes %s instances (%s, %.1f s of its CPU, %.1f s of the others')",
			count(b.size.instances), megabytes(bytes), cpu.Seconds(), (after - before - cpu).Seconds()),
		against: "loopback copy of the same bytes", limit: ms(millis(copying)), value: ms(millis(took)),
		ratio: times(float64(took) / float64(copying)), target: "<= 6 s", met: took <= 6*time.Second, judged: true,
	}
	return []row{r}, nil
}

// copyOver sends so many bytes over loopback.
func copyOver(n int64) (time.Duration, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	sent := make(chan error, 1)
	began := time.Now()
	go func() {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			sent <- err
			return
		}
		_, err = io.CopyN(c, zeros{}, n)
		sent <- errors.Join(err, c.Close())
	}()
	c, err := l.Accept()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	_, err = io.Copy(io.Discard, c)
	return time.Since(began), errors.Join(err, <-sent)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// steady watches the three do nothing.
func (b *bench) steady(ctx context.Context, s *subject) ([]row, error) {
	cpuBefore, err := s.cpu()
	if err != nil {
		return nil, err
	}
	before, err := process.TrafficOf(ctx, s.peerPort)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := load.Wait(ctx, b.size.steady); err != nil {
		return nil, err
	}
	cpuAfter, err := s.cpu()
	if err != nil {
		return nil, err
	}
	after, err := process.TrafficOf(ctx, s.peerPort)
	if err != nil {
		return nil, err
	}
	if before.Sockets != after.Sockets {
		return nil, fmt.Errorf("there were %d sockets of peers and are %d: streams have broken", before.Sockets, after.Sockets)
	}
	took := time.Since(began).Seconds()
	const members, pairs = 3, 3
	share := 100 * (cpuAfter - cpuBefore).Seconds() / took / members
	rate := float64(after.Sent-before.Sent) / took / pairs / 1000
	what := fmt.Sprintf("steady state, %s instances, 3 members, ", count(b.size.instances))
	return []row{
		{what: what + "CPU a member", against: "-", limit: "-", value: fmt.Sprintf("%.2f %% of a core", share), ratio: "-", target: "< 2 %", met: share < 2, judged: true},
		{what: what + "bytes a pair", against: "-", limit: "-", value: fmt.Sprintf("%.2f KB/s", rate), ratio: "-", target: "< 20 KB/s", met: rate < 20, judged: true},
	}, nil
}
