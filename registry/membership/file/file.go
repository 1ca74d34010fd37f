// Package file is membership by a watched list of addresses: one host:port (the peer port, as that member advertises it)
// a line, # begins a comment. It is for members without Kubernetes, and for tests. The list says who may be a member;
// whether one is there, its own answers say: see membership.PolicyFile.
package file

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/model"
)

const (
	// maxFile bounds what is read.
	maxFile = 1 << 20
	// defaultReread finds changes that no notice came of, as on network file systems.
	defaultReread = 5 * time.Second
)

// Options make a Source.
type Options struct {
	// Path of the list.
	Path string
	Log  *slog.Logger
	// Reread is how often the list is read without a notice; 0 = 5 s.
	Reread time.Duration
}

// Source watches the list.
type Source struct {
	o   Options
	log *slog.Logger
	// text and failure are what was last reported, so that it is reported once.
	text    string
	failure string
	last    membership.Listing
}

var _ membership.Source = (*Source)(nil)

// New makes a Source.
func New(o Options) *Source {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Reread == 0 {
		o.Reread = defaultReread
	}
	return &Source{o: o, log: o.Log}
}

// Check reads the list once, so that a member that has none ends before it says that it has started.
func (s *Source) Check() error {
	if _, err := s.read(); err != nil {
		return fmt.Errorf("membership.file: %w; write one host:port a line to it, or choose another membership.source", err)
	}
	return nil
}

// Run reads the list and follows it. One that cannot be read at the start is an error; later it freezes the view.
func (s *Source) Run(ctx context.Context, sink func(membership.Listing)) error {
	if err := s.Check(); err != nil {
		return err
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch membership.file: %w", err)
	}
	defer watcher.Close()
	// The directory: editors and mounted ConfigMaps replace a file instead of writing it.
	if err := watcher.Add(filepath.Dir(s.o.Path)); err != nil {
		return fmt.Errorf("watch membership.file: %w", err)
	}
	reread := time.NewTicker(s.o.Reread)
	defer reread.Stop()
	for first := true; ; first = false {
		s.look(first, sink)
		select {
		case <-ctx.Done():
			return nil
		case <-reread.C:
		case <-watcher.Events:
		case err := <-watcher.Errors:
			s.log.Warn("watch of the member list", "error", err)
		}
	}
}

// Announce has nobody to tell: peers hear it over the streams.
func (s *Source) Announce(context.Context, model.Member, bool) error { return nil }

// Leave has nobody to tell: peers hear it over the streams.
func (s *Source) Leave(context.Context) error { return nil }

// look reads the list and passes it on if it says something new.
func (s *Source) look(first bool, sink func(membership.Listing)) {
	l := membership.Listing{Entries: s.last.Entries}
	text, err := s.read()
	if err == nil {
		l = s.parse(text)
		s.failure = ""
	} else if err.Error() != s.failure {
		s.failure = err.Error()
		s.log.Warn("the member list cannot be read, the view is frozen", "error", err)
	}
	if !first && l.Same(s.last) {
		return
	}
	s.last = l
	sink(l)
}

func (s *Source) read() (string, error) {
	f, err := os.Open(s.o.Path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", err
	}
	if len(data) > maxFile {
		return "", fmt.Errorf("%s: larger than %d bytes", s.o.Path, maxFile)
	}
	return strings.TrimPrefix(string(data), "\ufeff"), nil
}

// parse takes every good line. A bad one is reported when the text is new, and harms only itself.
func (s *Source) parse(text string) membership.Listing {
	report := text != s.text
	s.text = text
	l := membership.Listing{Reachable: true}
	seen := map[string]bool{}
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		if line == "" || seen[line] {
			continue
		}
		if err := checkAddress(line); err != nil {
			if report {
				s.log.Warn("a line of the member list is ignored", "file", s.o.Path, "line", n+1, "error", err)
			}
			continue
		}
		seen[line] = true
		l.Entries = append(l.Entries, membership.Entry{Member: model.Member{Name: line, Address: line}, Alive: true})
	}
	return l
}

func checkAddress(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%q is no host:port", s)
	}
	if p, err := strconv.Atoi(port); err != nil || p < 1 || p > 65535 {
		return fmt.Errorf("%q: %q is no port (1 to 65535)", s, port)
	}
	if host == "" || strings.ContainsAny(host, " \t/\\") {
		return fmt.Errorf("%q: %q is no host", s, host)
	}
	return nil
}
