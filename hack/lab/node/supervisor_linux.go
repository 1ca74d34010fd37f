package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// restartPause keeps a component that cannot start from eating the machine.
const restartPause = time.Second

// supervisor starts the node's processes, restarts components that end, and reaps everything else: as the first process of a
// pid namespace it inherits every orphan, which is why os/exec (it waits by itself) cannot be used after reap runs.
type supervisor struct {
	spec  Spec
	pause time.Duration // before a component that ended starts again

	// mu guards all below. It is held from a fork until its pid is in pids, and from a wait until the pid's owner is told: a
	// pid that is known here can be killed, since the kernel cannot have given it to another process.
	mu    sync.Mutex
	phase string
	comps map[string]*component
	order []string
	pids  map[int]func(syscall.WaitStatus) // called with mu held
}

type component struct {
	Component
	pid      int // 0: does not run
	wanted   bool
	restarts int
}

func newSupervisor(spec Spec) *supervisor {
	return &supervisor{spec: spec, pause: restartPause, phase: "starting", comps: map[string]*component{}, pids: map[int]func(syscall.WaitStatus){}}
}

func (s *supervisor) setPhase(phase string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase = phase
	fmt.Printf("%s %s\n", time.Now().Format("15:04:05.000"), phase)
}

// status is a copy of what runs.
func (s *supervisor) status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{Phase: s.phase}
	for _, name := range s.order {
		c := s.comps[name]
		st.Components = append(st.Components, ComponentStatus{Name: name, Running: c.pid != 0, Stopped: !c.wanted, Restarts: c.restarts})
	}
	return st
}

// start runs a component and keeps it running.
func (s *supervisor) start(c Component) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.comps[c.Name]; !ok {
		s.comps[c.Name] = &component{Component: c}
		s.order = append(s.order, c.Name)
	}
	s.comps[c.Name].wanted = true
	return s.ensureLocked(c.Name)
}

// startAgain resumes a component that stop ended.
func (s *supervisor) startAgain(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.comps[name]
	if !ok {
		return fmt.Errorf("%s has no component %q", s.spec.Name, name)
	}
	c.wanted = true
	return s.ensureLocked(name)
}

func (s *supervisor) ensureLocked(name string) error {
	c := s.comps[name]
	if c.pid != 0 || !c.wanted {
		return nil
	}
	pid, err := s.forkLocked(c.Component, func(syscall.WaitStatus) { s.endedLocked(name) })
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	c.pid = pid
	return nil
}

// stop kills a component, as a crash would, and leaves it dead.
func (s *supervisor) stop(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.comps[name]
	if !ok {
		return fmt.Errorf("%s has no component %q", s.spec.Name, name)
	}
	c.wanted = false
	if c.pid == 0 {
		return nil
	}
	return syscall.Kill(c.pid, syscall.SIGKILL)
}

func (s *supervisor) endedLocked(name string) {
	c := s.comps[name]
	c.pid = 0
	if !c.wanted {
		return
	}
	c.restarts++
	time.AfterFunc(s.pause, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := s.ensureLocked(name); err != nil {
			fmt.Println(err)
		}
	})
}

// run starts a command and waits for it.
func (s *supervisor) run(c Component) error {
	done := make(chan syscall.WaitStatus, 1)
	s.mu.Lock()
	_, err := s.forkLocked(c, func(ws syscall.WaitStatus) { done <- ws })
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if ws := <-done; ws.ExitStatus() != 0 {
		return fmt.Errorf("%s: exit status %d", strings.Join(c.Argv, " "), ws.ExitStatus())
	}
	return nil
}

func (s *supervisor) forkLocked(c Component, ended func(syscall.WaitStatus)) (int, error) {
	path, err := lookPath(c.Argv[0], s.spec.Env)
	if err != nil {
		return 0, err
	}
	log, err := os.OpenFile(filepath.Join(s.spec.Logs, c.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	pid, err := syscall.ForkExec(path, c.Argv, &syscall.ProcAttr{
		Env: s.spec.Env, Files: []uintptr{null.Fd(), log.Fd(), log.Fd()}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, err
	}
	s.pids[pid] = ended
	return pid, nil
}

// reap collects every child that ends, until ctx does: the components, what they left behind, and containers' shims.
func (s *supervisor) reap(ctx context.Context) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGCHLD)
	defer signal.Stop(signals)
	for ctx.Err() == nil {
		if s.reapOne() {
			continue
		}
		select {
		case <-signals:
		case <-ctx.Done():
		}
	}
}

// reapOne says whether there was a child to collect.
func (s *supervisor) reapOne() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ws syscall.WaitStatus
	pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
	if errors.Is(err, syscall.EINTR) {
		return true
	}
	if err != nil || pid == 0 {
		return false
	}
	if told := s.pids[pid]; told != nil {
		delete(s.pids, pid)
		told(ws)
	}
	return true
}

// lookPath finds a program in the PATH of env; exec.LookPath knows only that of this process.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, kv := range env {
		list, ok := strings.CutPrefix(kv, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(list) {
			if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
}
