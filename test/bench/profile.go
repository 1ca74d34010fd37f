package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"syscall"
	"time"
)

// record makes a member that can write profiles begin.
func (s *subject) record() error {
	if !s.profiled {
		return nil
	}
	for _, p := range s.procs {
		if err := p.Send(syscall.SIGUSR1); err != nil {
			return err
		}
	}
	return nil
}

// profile runs the hot paths once each on a member that writes profiles.
func profile(ctx context.Context, args []string, out, errs io.Writer) error {
	b, clean, err := newBench(args, errs)
	if err != nil {
		return err
	}
	defer clean()
	all := b.profiles
	for _, path := range []struct {
		name string
		sc   scenario
	}{
		{"register", b.registering()},
		{"query", b.querying()},
		{"http-register", b.webRegistering()},
		{"beat", b.beating()},
		{"http-query", b.webQuerying()},
		{"push", b.fanning(nil)},
	} {
		if !b.rows.MatchString(path.name) {
			continue
		}
		if b.profiles, err = filepath.Abs(filepath.Join(all, path.name)); err != nil {
			return err
		}
		got, err := b.sample(ctx, path.sc, b.profiled)
		if err != nil {
			return fmt.Errorf("%s: %w", path.name, err)
		}
		fmt.Fprintf(out, "%s: %v; profiles in %s\n", path.name, got, b.profiles)
	}
	return nil
}

// profiled starts one member that writes profiles.
func (b *bench) profiled(ctx context.Context) (*subject, error) {
	s, err := b.cluster(1)
	if err != nil {
		return nil, err
	}
	s.profiled = true
	if err := b.join(ctx, s, nil); err != nil {
		return nil, err
	}
	if err := s.ready(ctx); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// finish lets it write them, if it has any.
func (s *subject) finish(ctx context.Context) error {
	if !s.profiled {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, p := range s.procs {
		if err := p.Finish(ctx, syscall.SIGTERM); err != nil {
			return err
		}
	}
	return nil
}
