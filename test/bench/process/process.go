// Package process runs the servers of a benchmark as processes of their own, and reads what they cost from /proc.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// hertz is the unit of times in /proc: USER_HZ is 100 wherever Linux runs.
const hertz = 100

// Options say what to run.
type Options struct {
	Name string // for people
	Path string
	Args []string
	Env  []string // over the environment of this process
	// Output takes stdout and stderr; a file, so that nobody has to read along.
	Output *os.File
}

// Process is a started program.
type Process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // why, once done is closed
}

// Start runs a program. It ends with ctx, with Kill, and with this process.
func Start(ctx context.Context, o Options) (*Process, error) {
	cmd := exec.CommandContext(ctx, o.Path, o.Args...)
	cmd.Env = append(os.Environ(), o.Env...)
	cmd.SysProcAttr = endWithParent()
	if o.Output != nil {
		cmd.Stdout, cmd.Stderr = o.Output, o.Output
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Name, err)
	}
	p := &Process{name: o.Name, cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		if p.err = cmd.Wait(); p.err == nil {
			p.err = errors.New("exit status 0")
		}
	}()
	return p, nil
}

// Kill ends the process at once and waits for its end.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it has ended already
	<-p.done
}

// Send passes a signal on.
func (p *Process) Send(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// Finish passes a signal on and waits until the process has ended by itself.
func (p *Process) Finish(ctx context.Context, s os.Signal) error {
	if err := p.Send(s); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s does not end: %w", p.name, ctx.Err())
	}
}

// Ended is an error once the process is gone.
func (p *Process) Ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s has ended: %w", p.name, p.err)
	default:
		return nil
	}
}

// CPU is the time that the process has computed so far, in itself and in the kernel.
func (p *Process) CPU() (time.Duration, error) {
	data, err := os.ReadFile(p.proc("stat"))
	if err != nil {
		return 0, fmt.Errorf("cpu time of %s: %w", p.name, err)
	}
	return parseCPU(data)
}

// parseCPU reads utime and stime, the 14th and 15th field. The second one, the name, may hold blanks and brackets.
func parseCPU(stat []byte) (time.Duration, error) {
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("cpu time: %q is no stat of a process", stat)
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("cpu time: %w", err)
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("cpu time: %w", err)
	}
	return time.Duration(user+system) * (time.Second / hertz), nil
}

// Resident is the memory that the process holds in RAM, in bytes.
func (p *Process) Resident() (int64, error) {
	data, err := os.ReadFile(p.proc("statm"))
	if err != nil {
		return 0, fmt.Errorf("memory of %s: %w", p.name, err)
	}
	fields := strings.Fields(string(data))
	if len(fields) < 2 {
		return 0, fmt.Errorf("memory of %s: %q is no statm", p.name, data)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("memory of %s: %w", p.name, err)
	}
	return pages * int64(os.Getpagesize()), nil
}

func (p *Process) proc(file string) string {
	return "/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/" + file
}
