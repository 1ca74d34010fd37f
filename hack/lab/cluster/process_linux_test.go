package cluster

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseStat(t *testing.T) {
	// The name of a process can look like the fields after it.
	text := "4711 (a) S 1 (x) 2) Z 1 4711 4711 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 987654 1000 50 18446744073709551615"
	state, start, err := parseStat(text)
	if err != nil || state != "Z" || start != 987654 {
		t.Errorf("parseStat = %s, %d, %v, want Z, 987654", state, start, err)
	}
	for _, bad := range []string{"", "4711 (a) S 1", strings.Replace(text, "987654", "soon", 1)} {
		if _, _, err := parseStat(bad); err == nil {
			t.Errorf("parseStat(%q) has no error", bad)
		}
	}
}

func TestProcessIsKnownByItsStart(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "pid.json")
	if err := p.write(path); err != nil {
		t.Fatal(err)
	}
	read, err := readProcess(path)
	if err != nil {
		t.Fatal(err)
	}
	if !read.alive() {
		t.Error("a process that runs is called dead")
	}

	// Another process with the same pid is not ours, and must survive.
	later := process{PID: p.PID, Start: p.Start + 1}
	if later.alive() {
		t.Error("another process with the pid is called ours")
	}
	if err := later.kill(t.Context()); err != nil || !p.alive() {
		t.Errorf("kill of what has ended: %v, alive %v: another process was killed", err, p.alive())
	}

	if err := read.kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p.alive() {
		t.Error("it is alive after kill")
	}
	if err := p.kill(t.Context()); err != nil {
		t.Errorf("killed twice: %v", err)
	}
	if (process{PID: os.Getpid()}).alive() {
		t.Error("a process without a start time is called ours")
	}
}
