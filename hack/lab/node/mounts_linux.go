package node

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// mount is one call to mount(2).
type mount struct {
	source, target, fstype string
	flags                  uintptr
	data                   string
}

// mountAll gives the node its own /proc, /sys, /run and state folders in memory, so that nothing of it stays on the disk.
func mountAll(run string) error {
	hold := filepath.Join(run, "cgroup")
	if err := os.MkdirAll(hold, 0o700); err != nil {
		return err
	}
	steps := []mount{
		{target: "/", flags: syscall.MS_REC | syscall.MS_PRIVATE},
		{source: "proc", target: "/proc", fstype: "proc", flags: syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC},
		// A /sys of the node's network namespace needs a new mount, which would hide the machine's cgroups.
		{source: "/sys/fs/cgroup", target: hold, flags: syscall.MS_BIND | syscall.MS_REC},
		{source: "sysfs", target: "/sys", fstype: "sysfs"},
		{source: hold, target: "/sys/fs/cgroup", flags: syscall.MS_BIND | syscall.MS_REC},
	}
	if err := mountEach(steps); err != nil {
		return err
	}
	if err := syscall.Unmount(hold, syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", hold, err)
	}
	// The kubelet mounts volumes that the containers' namespaces must see.
	rest := []mount{{target: "/", flags: syscall.MS_REC | syscall.MS_SHARED}}
	for _, dir := range MountPoints() {
		rest = append(rest, mount{source: "tmpfs", target: dir, fstype: "tmpfs", data: "mode=755"})
	}
	rest = append(rest, mount{target: "/var/lib/kubelet", flags: syscall.MS_REC | syscall.MS_SHARED})
	if err := mountEach(rest); err != nil {
		return err
	}
	for _, dir := range []string{"/run/lock", "/run/netns"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return pretendSysctls()
}

// pretendSysctls covers three settings of the whole machine, on which the kubelet insists, with files that hold its values: it
// then has nothing to write, and the machine keeps its own.
func pretendSysctls() error {
	for name, value := range map[string]string{"vm/overcommit_memory": "1", "kernel/panic": "10", "kernel/panic_on_oops": "1"} {
		file := filepath.Join("/run", "sysctl-"+filepath.Base(name))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := mountEach([]mount{{source: file, target: "/proc/sys/" + name, flags: syscall.MS_BIND}}); err != nil {
			return err
		}
	}
	return nil
}

func mountEach(steps []mount) error {
	for _, m := range steps {
		if err := syscall.Mount(m.source, m.target, m.fstype, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	return nil
}
