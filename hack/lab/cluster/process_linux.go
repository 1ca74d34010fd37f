package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// spawn starts the first process of a node in namespaces of its own. It waits for the go-ahead, a byte on the returned file;
// closing that without a byte ends it.
func spawn(exe, spec, log string) (process, *os.File, error) {
	wait, goAhead, err := os.Pipe()
	if err != nil {
		return process{}, nil, err
	}
	defer wait.Close()
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		goAhead.Close()
		return process{}, nil, err
	}
	defer out.Close()
	cmd := exec.Command(exe, "node", spec)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = out, out, []*os.File{wait}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true, // a Ctrl-C is for the starter
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
	}
	if err := cmd.Start(); err != nil {
		goAhead.Close()
		return process{}, nil, fmt.Errorf("make namespaces: %w", err)
	}
	p, err := identify(cmd.Process.Pid)
	if err != nil {
		goAhead.Close()
		return process{}, nil, err
	}
	return p, goAhead, cmd.Process.Release()
}

// reap collects the process when it is a dead child of ours, and does nothing otherwise.
func (p process) reap() { _, _ = syscall.Wait4(p.PID, nil, syscall.WNOHANG, nil) }
