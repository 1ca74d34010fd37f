//go:build linux

package chaos

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/muster-registry/muster/test/sdk"
)

var formName = flag.String("form", "", "short: every scenario in minutes, with shorter graces; long: as the scenarios say")

// envInside says to the test program that it runs in namespaces of its own, and where the programs are.
const envInside = "MUSTER_CHAOS_PROGRAMS"

// TestMain builds the programs, and starts itself anew where it may do to the network what it likes.
func TestMain(m *testing.M) {
	flag.Parse()
	switch {
	case *formName == "":
		os.Exit(m.Run()) // every scenario skips itself
	case forms[*formName].beat == 0:
		fmt.Fprintf(os.Stderr, "-form %q: there are short and long\n", *formName)
		os.Exit(2)
	case os.Getenv(envInside) == "":
		os.Exit(outside())
	}
	if err := inside(); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
	code := m.Run()
	fmt.Print(results.String())
	os.Exit(code)
}

// outside builds, and runs this program again. Whatever happens to it, the namespaces and all processes go with it.
func outside() int {
	dir, err := os.MkdirTemp("", "muster-chaos-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 1
	}
	self := exec.Command("/proc/self/exe", os.Args[1:]...)
	self.Stdin, self.Stdout, self.Stderr = os.Stdin, os.Stdout, os.Stderr
	self.Env = append(os.Environ(), envInside+"="+dir)
	self.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 { // root of its own namespaces is enough
		self.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		self.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		self.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	switch err := onThread(self.Run); {
	case self.ProcessState != nil && self.ProcessState.Exited():
		return self.ProcessState.ExitCode()
	case err != nil:
		fmt.Fprintln(os.Stderr, "chaos: run in namespaces of its own (root, or user namespaces, are needed):", err)
	}
	return 1
}

func build(dir string) error {
	out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "registry"), "../../cmd/registry").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build the registry: %w\n%s", err, out)
	}
	return sdk.Build("../clients/go", filepath.Join(dir, "client"))
}

func program(name string) string { return filepath.Join(os.Getenv(envInside), name) }

// inside prepares the namespaces.
func inside() error {
	for _, name := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("%w; install iproute2 and nftables", err)
		}
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	// L2 needs a file a connection. A limit that was set is what children inherit; raising the hard one takes a privilege.
	if raised := (syscall.Rlimit{Cur: files, Max: files}); syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised) != nil {
		limit.Cur = limit.Max
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			return err
		}
	}
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc of the own processes: %w", err)
	}
	return ip("link set lo up\n")
}

const files = 1 << 17

// scoreboard keeps the line of each scenario for the table at the end.
type scoreboard struct {
	mu    sync.Mutex
	lines []string // guarded by mu
}

var results = &scoreboard{}

func (b *scoreboard) add(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, line)
}

// String is the table. F: instances that were alive and missing. C: from the heal until all members answer alike, "-" where
// nothing is healed. G: ghosts.
func (b *scoreboard) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.lines) == 0 {
		return ""
	}
	text := fmt.Sprintf("\n%-34s %7s %8s %4s %8s %4s  %s\n", "scenario ("+*formName+" form)", "members", "lists", "F", "C", "G", "")
	for _, l := range b.lines {
		text += l + "\n"
	}
	return text
}
