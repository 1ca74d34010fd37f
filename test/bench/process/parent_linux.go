package process

import "syscall"

// endWithParent: whatever ends a benchmark, its servers do not stay.
func endWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
