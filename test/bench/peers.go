package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/muster-registry/muster/test/bench/load"
	"github.com/muster-registry/muster/test/bench/nacos"
)

// rnacos starts one of its processes, alone, with everything that may be off switched off.
func (b *bench) rnacos(ctx context.Context) (*subject, error) {
	port, err := freePorts([]string{address(0)})
	if err != nil {
		return nil, err
	}
	b.runs++
	data := filepath.Join(b.work, fmt.Sprintf("%03d-rnacos", b.runs))
	if err := os.MkdirAll(data, 0o750); err != nil {
		return nil, err
	}
	s := &subject{http: []string{at(address(0), port)}, grpc: []string{at(address(0), port+1000)}}
	env := []string{
		"RNACOS_HTTP_PORT=" + strconv.Itoa(port), "RNACOS_GRPC_PORT=" + strconv.Itoa(port+1000),
		"RNACOS_HTTP_CONSOLE_PORT=" + strconv.Itoa(port+2000), "RNACOS_DATA_DIR=" + data, "RNACOS_CONFIG_DB_DIR=" + data, "RUST_LOG=warn",
		"RNACOS_RAFT_NODE_ADDR=" + at(address(0), port+1000), "RNACOS_SDK_HOST=" + address(0), "RNACOS_CONSOLE_HOST=" + address(0),
	}
	if err := b.start(ctx, s, "rnacos", b.peer, env); err != nil {
		return nil, err
	}
	err = s.eventually(ctx, func() error {
		c, err := nacos.DialHTTP(s.http[0])
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Do(nacos.HTTPList(nacos.ServiceOf(0)))
		return err
	})
	if err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// comparePeers is the table beside another registry.
func comparePeers(ctx context.Context, args []string, out, errs io.Writer) error {
	b, clean, err := newBench(args, errs)
	if err != nil {
		return err
	}
	defer clean()
	if b.peer == "" {
		return errors.New("-peer: name the program of r-nacos")
	}
	if b.peer, err = filepath.Abs(b.peer); err != nil {
		return err
	}
	about, err := machine()
	if err != nil {
		return err
	}
	t := table{head: []string{"what", "Muster", "r-nacos", "Muster / r-nacos"}, about: about, size: b.size}
	subjects := []starter{b.members(1, nil), b.rnacos}
	var failures []error
	for _, g := range []struct {
		name, what string
		sc         scenario
	}{
		{"grpc register", fmt.Sprintf("gRPC register, %d connections, %s services", b.size.connections, count(b.size.services)), b.registering()},
		{"grpc query", fmt.Sprintf("gRPC query, %d instances", listed), b.querying()},
		{"http register", "HTTP register", b.webRegistering()},
		{"http beat", "HTTP beat (light)", b.beating()},
		{"http query", fmt.Sprintf("HTTP query, %d instances", listed), b.webQuerying()},
		{"push fan-out", fmt.Sprintf("one change of a service of %s to %d subscribers, a push", count(b.size.crowded), b.size.subscribers), b.fanning(nil)},
	} {
		if !b.rows.MatchString(g.name) || ctx.Err() != nil {
			continue
		}
		b.tell("%s", g.name)
		got, err := b.compare(ctx, g.sc, subjects...)
		if err != nil {
			b.tell("  %v", err)
			failures = append(failures, fmt.Errorf("%s: %w", g.name, err))
			continue
		}
		t.add(g.what, medians(got[0]).String(), medians(got[1]).String(), times(ratio(got[0], got[1])))
	}
	for _, g := range []struct {
		name, what, unit string
		of               func(context.Context, starter) (float64, error)
	}{
		{"push idle", "register to push on one server, idle, p50", "ms", b.idleHalf},
		{"memory connection", fmt.Sprintf("resident memory an idle connection, %s", count(b.size.idle)), "KB", b.growth},
		{"memory instance", fmt.Sprintf("resident memory an instance, %s in %s services", count(b.size.instances), count(b.size.instances/perService)), "B", b.residentPerInstance},
	} {
		if !b.rows.MatchString(g.name) || ctx.Err() != nil {
			continue
		}
		b.tell("%s", g.name)
		values, err := b.turns(ctx, g.of, subjects)
		if err != nil {
			b.tell("  %v", err)
			failures = append(failures, fmt.Errorf("%s: %w", g.name, err))
			continue
		}
		t.add(g.what, fmt.Sprintf("%.2f %s", values[0], g.unit), fmt.Sprintf("%.2f %s", values[1], g.unit), times(values[0]/values[1]))
	}
	return t.publish(out, b.docs, "peers", errors.Join(failures...))
}

// turns takes a figure of all subjects in turn, and returns their medians.
func (b *bench) turns(ctx context.Context, of func(context.Context, starter) (float64, error), subjects []starter) ([]float64, error) {
	all := make([][]float64, len(subjects))
	for range b.size.rounds {
		for i, start := range subjects {
			x, err := of(ctx, start)
			if err != nil {
				return nil, err
			}
			b.tell("  subject %d: %.2f", i+1, x)
			all[i] = append(all[i], x)
		}
	}
	medians := make([]float64, len(all))
	for i, values := range all {
		medians[i] = load.Median(values)
	}
	return medians, nil
}

func (b *bench) idleHalf(ctx context.Context, start starter) (float64, error) {
	w, err := b.idle(ctx, start, nil)
	if err != nil {
		return 0, err
	}
	return millis(w.latencies.Quantile(0.5)), nil
}

func (b *bench) residentPerInstance(ctx context.Context, start starter) (float64, error) {
	s, err := start(ctx)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	conns, stop, err := s.dial(ctx, b.size.connections, nacos.Options{})
	if err != nil {
		return 0, err
	}
	defer stop()
	before, err := s.resident()
	if err != nil {
		return 0, err
	}
	if err := populate(ctx, conns, b.size.instances, perService); err != nil {
		return 0, err
	}
	if err := load.Wait(ctx, b.size.settle); err != nil {
		return 0, err
	}
	after, err := s.resident()
	return float64(after-before) / float64(b.size.instances), err
}
