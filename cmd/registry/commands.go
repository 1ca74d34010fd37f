package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/muster-registry/muster/api/wellknown"
	"github.com/muster-registry/muster/registry/membership/peerkey"
)

const drainUsage = `Usage: registry drain [flags]

Makes the member on this host leave, and waits until it has handed over and may be stopped.

Flags:
`

// drain is the preStop hook. It waits as long as the member takes, which is bounded by its own grace.
func drain(args []string, out, errOut io.Writer) int {
	flags := newFlags("registry drain")
	admin := flags.String("admin", "http://127.0.0.1:"+strconv.Itoa(wellknown.PortAdmin), "`URL` of the member's admin port")
	if err := parseFlags(flags, args, drainUsage, errOut); err != nil {
		return failed(errOut, exitUsage, err)
	}
	if flags.NArg() > 0 {
		return failed(errOut, exitUsage, fmt.Errorf("%q is no flag; see registry drain --help", flags.Arg(0)))
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(*admin, "/")+wellknown.PathDrain, nil)
	if err != nil {
		return failed(errOut, exitUsage, fmt.Errorf("--admin: %w", err))
	}
	answer, err := (&http.Client{Transport: &http.Transport{}}).Do(r) // straight there, whatever proxy is set
	if err != nil {
		return failed(errOut, exitFailed, fmt.Errorf("ask the member to leave (is it running there? --admin): %w", err))
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(strings.TrimSpace(string(text)))
	}
	if err != nil {
		return failed(errOut, exitFailed, fmt.Errorf("the member did not leave: %w", err))
	}
	fmt.Fprint(out, string(text))
	return exitOK
}

// peerKeys makes one key and puts it into each directory: members that hold it know each other.
func peerKeys(args []string, out, errOut io.Writer) int {
	flags := newFlags("registry peer-keys")
	if err := parseFlags(flags, args, "Usage: registry peer-keys DIR...\n", errOut); err != nil {
		return failed(errOut, exitUsage, err)
	}
	dirs := flags.Args()
	if len(dirs) == 0 {
		return failed(errOut, exitUsage, errors.New("peer-keys: name the directories, one a member"))
	}
	if err := spread(dirs); err != nil {
		return failed(errOut, exitFailed, err)
	}
	for _, d := range dirs {
		fmt.Fprintln(out, d)
	}
	return exitOK
}

// spread makes the key in the first directory and copies it to the others. It overwrites nothing.
func spread(dirs []string) error {
	names := []string{wellknown.PeerKeyFile, wellknown.PeerCertFile, wellknown.PeerTrustedFile}
	for _, d := range dirs[1:] {
		for _, n := range names {
			if _, err := os.Lstat(filepath.Join(d, n)); !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("make peer keys: %s is there already; choose another directory, or remove it first", filepath.Join(d, n))
			}
		}
	}
	if err := peerkey.Write(dirs[0]); err != nil {
		return err
	}
	for _, d := range dirs[1:] {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return fmt.Errorf("make peer keys: %w", err)
		}
		for _, n := range names {
			if err := copyFile(filepath.Join(dirs[0], n), filepath.Join(d, n)); err != nil {
				return fmt.Errorf("make peer keys: %w", err)
			}
		}
	}
	return nil
}

func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, info.Mode().Perm())
}
