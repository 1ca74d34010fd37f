package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/muster-registry/muster/hack/lab/poll"
)

// process is a process that the lab started. Its start time tells it from a later one that got the same pid.
type process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // in clock ticks after boot
}

func identify(pid int) (process, error) {
	_, start, err := readStat(pid)
	return process{PID: pid, Start: start}, err
}

// readStat returns the state and the start time that /proc tells.
func readStat(pid int) (state string, start uint64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0, err
	}
	return parseStat(string(b))
}

// parseStat reads fields 3 and 22 of proc(5). The name before them, in brackets, can hold anything.
func parseStat(text string) (state string, start uint64, err error) {
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return "", 0, fmt.Errorf("unexpected /proc/PID/stat: %q", text)
	}
	start, err = strconv.ParseUint(fields[19], 10, 64)
	return fields[0], start, err
}

// alive is false for a process that has ended and that nobody has collected yet.
func (p process) alive() bool {
	state, start, err := readStat(p.PID)
	return err == nil && start == p.Start && state != "Z" && state != "X"
}

// kill ends the process, and waits until it has.
func (p process) kill(ctx context.Context) error {
	if !p.alive() {
		return nil
	}
	found, err := os.FindProcess(p.PID)
	if err != nil {
		return err
	}
	if err := found.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	err = poll.Until(ctx, 20*time.Second, func(context.Context) error {
		if p.alive() {
			return fmt.Errorf("process %d does not end", p.PID)
		}
		return nil
	})
	p.reap()
	return err
}

func readProcess(path string) (process, error) {
	var p process
	b, err := os.ReadFile(path)
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal(b, &p)
}

func (p process) write(path string) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}
