package process

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The test binary is the program that is run: it computes for a while, or waits to be ended.
func TestMain(m *testing.M) {
	switch os.Getenv("BENCH_TEST_PROGRAM") {
	case "compute":
		for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		}
		fmt.Println("computed")
		fallthrough
	case "wait":
		select {}
	}
	os.Exit(m.Run())
}

func start(t *testing.T, program string) (*Process, string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "output")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := Start(t.Context(), Options{Name: program, Path: os.Args[0], Env: []string{"BENCH_TEST_PROGRAM=" + program}, Output: f})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p, name
}

func TestCostOfAProcess(t *testing.T) {
	p, output := start(t, "compute")
	for tick := time.NewTicker(10 * time.Millisecond); ; <-tick.C {
		if text, err := os.ReadFile(output); err != nil {
			t.Fatal(err)
		} else if strings.Contains(string(text), "computed\n") {
			break
		}
		if err := p.Ended(); err != nil {
			t.Fatal(err)
		}
	}
	// How much it got of its 300 ms depends on the neighbours; that it is counted does not.
	if cpu, err := p.CPU(); err != nil || cpu <= 0 {
		t.Errorf("cpu time %v, %v after it computed", cpu, err)
	}
	if rss, err := p.Resident(); err != nil || rss < 1<<20 || rss > 1<<30 {
		t.Errorf("resident memory %d, %v", rss, err)
	}
	p.Kill()
	if p.Ended() == nil {
		t.Error("a killed process has not ended")
	}
	if _, err := p.CPU(); err == nil {
		t.Error("a process that is gone has a cpu time")
	}
}

func TestProgramThatIsNotThere(t *testing.T) {
	if _, err := Start(t.Context(), Options{Name: "nobody", Path: filepath.Join(t.TempDir(), "nobody")}); err == nil || !strings.Contains(err.Error(), "start nobody") {
		t.Errorf("error %v", err)
	}
}

func TestParseCPU(t *testing.T) {
	for name, c := range map[string]struct {
		stat string
		want time.Duration
		bad  bool
	}{
		"plain":                 {stat: "7 (registry) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 9 0 100 1 2", want: 2 * time.Second},
		"a name like the field": {stat: "7 (a) S 9) S 1 7 7 0 -1 4194560 100 0 0 0 1 2 0 0 20 0", want: 30 * time.Millisecond},
		"nothing":               {bad: true},
		"no number":             {stat: "7 (r) S 1 7 7 0 -1 4194560 100 0 0 0 x 50 0 0", bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseCPU([]byte(c.stat))
			if got != c.want || (err != nil) != c.bad {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

func TestTraffic(t *testing.T) {
	if _, err := exec.LookPath("ss"); errors.Is(err, exec.ErrNotFound) {
		t.Skip("no ss on this machine")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	const size = 1000
	if _, err := near.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(far, make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	got, err := TrafficOf(t.Context(), port)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Traffic{Sockets: 2, Sent: size, Received: size}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got, err := TrafficOf(t.Context(), 1); err != nil || got != (Traffic{}) {
		t.Errorf("%+v, %v of another port", got, err)
	}
}
