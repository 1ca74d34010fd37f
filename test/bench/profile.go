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
	sampled := func(sc scenario) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) {
			got, err := b.sample(ctx, sc, b.profiled)
			return got.String(), err
		}
	}
	for _, path := range []struct {
		name string
		run  func(context.Context) (string, error)
	}{
		{"register", sampled(b.registering())},
		{"query", sampled(b.querying())},
		{"http-register", sampled(b.webRegistering())},
		{"beat", sampled(b.beating())},
		{"http-query", sampled(b.webQuerying())},
		{"push", sampled(b.fanning(nil))},
		{"new-member", b.profileNewcomer},
	} {
		if !b.rows.MatchString(path.name) {
			continue
		}
		if b.profiles, err = filepath.Abs(filepath.Join(all, path.name)); err != nil {
			return err
		}
		got, err := path.run(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", path.name, err)
		}
		fmt.Fprintf(out, "%s: %s; profiles in %s\n", path.name, got, b.profiles)
	}
	return nil
}

// profileNewcomer lets a third member that writes profiles take everything from two.
func (b *bench) profileNewcomer(ctx context.Context) (string, error) {
	s, stop, err := b.crowd(ctx)
	if err != nil {
		return "", err
	}
	defer stop()
	s.profiled, s.fromStart = true, true
	took, err := b.welcome(ctx, s)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return fmt.Sprintf("%.1f s", took.Seconds()), s.procs[2].Finish(ctx, syscall.SIGTERM)
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
