package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/anypb"

	configv1alpha1 "github.com/muster-registry/muster/api/config/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
	"github.com/muster-registry/muster/registry/nacos/nacospb"
)

func TestUsage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "server.yaml")
	if err := os.WriteFile(file, []byte("apiVersion: "+configv1alpha1.APIVersion+"\nkind: ServerConfig\nport: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	graces := filepath.Join(t.TempDir(), "graces.yaml")
	if err := os.WriteFile(graces, []byte("timeouts: {drainGrace: \"5\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		code int
		want string // in the one line
	}{
		"version":                   {args: []string{"version"}, code: exitOK},
		"help":                      {args: []string{"--help"}, code: exitOK},
		"help of drain":             {args: []string{"drain", "-h"}, code: exitOK},
		"unknown command":           {args: []string{"server"}, code: exitUsage, want: `"server" is no command`},
		"unknown flag":              {args: []string{"--port", "1"}, code: exitUsage, want: "-port"},
		"a word too much":           {args: []string{"--http-port", "1", "2"}, code: exitUsage, want: `"2" is no flag`},
		"a port that is none":       {args: []string{"--http-port", "x"}, code: exitUsage, want: "http-port"},
		"a port out of range":       {args: []string{"--http-port", "70000"}, code: exitUsage, want: "listen.httpPort"},
		"ports that collide":        {args: []string{"--http-port", "1848", "--admin-port", "2848"}, code: exitUsage, want: "listen.adminPort: 2848 is taken by listen.grpcPort"},
		"an address that is none":   {args: []string{"--address", "here"}, code: exitUsage, want: "listen.address"},
		"a file that is not there":  {args: []string{"--config", file + ".not"}, code: exitUsage, want: "no such file"},
		"a field that is not there": {args: []string{"--config", file}, code: exitUsage, want: `unknown field "port"`},
		"no duration in the file":   {args: []string{"--config", graces}, code: exitUsage, want: `timeouts.drainGrace: "5" is no duration`},
		"nowhere to be reached":     {args: []string{"--members-file", file, "--tls-dir", "/k", "--advertise", ":x"}, code: exitUsage, want: `membership.advertise: ":x"`},
		"members without a key":     {args: []string{"--members-file", file}, code: exitUsage, want: "membership.tlsDir"},
		"drain and a word":          {args: []string{"drain", "x"}, code: exitUsage, want: `"x" is no flag`},
		"drain of nobody":           {args: []string{"drain", "--admin", "http://127.0.0.1:1"}, code: exitFailed, want: "is it running there"},
		"keys for nobody":           {args: []string{"peer-keys"}, code: exitUsage, want: "name the directories"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			code := run(c.args, func(string) string { return "" }, &out, &errOut)
			if code != c.code {
				t.Errorf("exit code %d, want %d: %s", code, c.code, errOut.String())
			}
			if c.code == exitOK {
				return
			}
			if text := errOut.String(); !strings.Contains(text, c.want) || strings.Count(text, "\n") != 1 {
				t.Errorf("%q is no line with %q", text, c.want)
			}
		})
	}
}

// TestNotStarted: what keeps a member from starting is the only line, and does not follow the word that it has started.
func TestNotStarted(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	var out, errOut bytes.Buffer
	if code := run([]string{"peer-keys", key}, os.Getenv, &out, &errOut); code != exitOK {
		t.Fatalf("exit code %d: %s", code, errOut.String())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, free, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	args := []string{
		"--address", "127.0.0.1", "--http-port", "0", "--admin-port", "0", "--peer-port", free, "--tls-dir", key,
		"--members-file", filepath.Join(key, "nope"),
	}
	code := run(args, func(string) string { return "" }, &out, &errOut)
	if text := errOut.String(); code != exitFailed || !strings.Contains(text, "membership.file: ") || strings.Count(text, "\n") != 1 {
		t.Errorf("exit code %d: %s", code, text)
	}
}

func TestFlagsCountMoreThanTheFile(t *testing.T) {
	c := configv1alpha1.Default()
	c.Listen.HTTPPort, c.Listen.GRPCPort, c.LogLevel = 7848, 8848, "warn"
	c.Listen.AdminPort = 7849
	data, err := configv1alpha1.Render(c)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "server.yaml")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := parse([]string{
		"--config", file, "--address", "127.0.0.2", "--http-port", "6848", "--peer-port", "6850", "--members-file", "/m", "--tls-dir", "/k",
		"--advertise", "h:1", "--state-dir", "/s", "--cold-start-limit", "1s", "--drain-grace", "7s", "--no-probing",
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := c
	want.Listen = configv1alpha1.Listen{Address: "127.0.0.2", HTTPPort: 6848, GRPCPort: 7848, PeerPort: 6850, AdminPort: 7849}
	want.Membership = configv1alpha1.Membership{Source: configv1alpha1.SourceFile, File: "/m", TLSDir: "/k", Advertise: "h:1", StateDir: "/s"}
	want.Timeouts.ColdStartLimit.Duration, want.Timeouts.ColdStartQuiet.Duration = time.Second, time.Second
	want.Timeouts.DrainGrace.Duration = 7 * time.Second
	want.Probing.Enabled = false
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func TestNoFlagIsTheDefault(t *testing.T) {
	got, err := parse(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(configv1alpha1.Default(), got); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func TestPeerKeysAreOneKeyAndOverwriteNothing(t *testing.T) {
	dirs := []string{filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")}
	var out, errOut bytes.Buffer
	if code := run(append([]string{"peer-keys"}, dirs...), os.Getenv, &out, &errOut); code != exitOK {
		t.Fatalf("exit code %d: %s", code, errOut.String())
	}
	for _, name := range []string{wellknown.PeerCertFile, wellknown.PeerKeyFile, wellknown.PeerTrustedFile} {
		a, errA := os.ReadFile(filepath.Join(dirs[0], name))
		b, errB := os.ReadFile(filepath.Join(dirs[1], name))
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs: %v, %v", name, errA, errB)
		}
	}
	if info, err := os.Stat(filepath.Join(dirs[1], wellknown.PeerKeyFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy of the key: %v, %v", info.Mode(), err)
	}
	fresh := filepath.Join(t.TempDir(), "c")
	if code := run([]string{"peer-keys", fresh, dirs[1]}, os.Getenv, &out, &errOut); code != exitFailed {
		t.Errorf("exit code %d where a key is there already", code)
	}
	if _, err := os.Stat(fresh); err == nil {
		t.Error("half of the work is done")
	}
}

// program is the registry, built once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "registry")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "registry")
	out, err := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", file, ".").CombinedOutput()
	if err != nil {
		return dir, fmt.Errorf("build: %w: %s", err, out)
	}
	return file, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if file, err := program(); err == nil {
		os.RemoveAll(filepath.Dir(file))
	}
	os.Exit(code)
}

// process is the program as it runs.
type process struct {
	*exec.Cmd
	t *testing.T
	// admin is the URL of the admin port, grpc the address of the gRPC port.
	admin, grpc string
	log         *bufio.Scanner
}

// startProgram starts it on free ports of 127.0.0.1, and waits for its word that it has started.
func startProgram(t *testing.T, args ...string) *process {
	t.Helper()
	file, err := program()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.Command(file, append([]string{"--address", "127.0.0.1", "--http-port", "0", "--admin-port", "0"}, args...)...), t: t}
	stderr, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.ProcessState == nil {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
	})
	p.log = bufio.NewScanner(stderr)
	line := p.until("registry started")
	p.admin, p.grpc = "http://"+line["admin"].(string), line["grpc"].(string)
	return p
}

// until reads the log up to a message.
func (p *process) until(message string) map[string]any {
	p.t.Helper()
	for p.log.Scan() {
		var line map[string]any
		if err := json.Unmarshal(p.log.Bytes(), &line); err != nil {
			p.t.Fatalf("a line that is no JSON: %s", p.log.Text())
		}
		if line["msg"] == message {
			return line
		}
	}
	p.t.Fatalf("ended without %q: %v", message, p.log.Err())
	return nil
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// code reads the log to its end and returns the exit code.
func (p *process) code() int {
	for p.log.Scan() {
	}
	_ = p.Wait() // the exit code says it
	return p.ProcessState.ExitCode()
}

func TestSIGTERMDrainsAndExits0(t *testing.T) {
	t.Parallel()
	p := startProgram(t)
	p.signal(syscall.SIGTERM)
	p.until("left")
	if code := p.code(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestASecondSignalExitsAtOnce(t *testing.T) {
	t.Parallel()
	p := startProgram(t)
	stays := connect(t, p.grpc) // a client that does not move makes the drain last
	p.signal(syscall.SIGTERM)
	if m, err := stays.Recv(); err != nil || m.GetMetadata().GetType() != "ConnectResetRequest" {
		t.Fatalf("the client is told %v, %v", m, err)
	}
	p.signal(syscall.SIGTERM)
	if code := p.code(); code == exitOK {
		t.Errorf("exit code %d, as if it had handed over", code)
	}
}

// connect is a Nacos client that is set up.
func connect(t *testing.T, address string) nacospb.BiRequestStream_RequestBiStreamClient {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	stream, err := nacospb.NewBiRequestStreamClient(conn).RequestBiStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const setup = `{"clientVersion":"Nacos-Go-Client:v2","labels":{"module":"naming"},"abilityTable":{"x":true}}`
	err = stream.Send(&nacospb.Payload{
		Metadata: &nacospb.Metadata{Type: "ConnectionSetupRequest", ClientIp: "127.0.0.1"}, Body: &anypb.Any{Value: []byte(setup)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := stream.Recv(); err != nil || m.GetMetadata().GetType() != "SetupAckRequest" {
		t.Fatalf("setup: %v, %v", m, err)
	}
	return stream
}

func TestDrainCommand(t *testing.T) {
	t.Parallel()
	p := startProgram(t)
	file, err := program()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), file, "drain", "--admin", p.admin).CombinedOutput()
	if err != nil || string(out) != "drained\n" {
		t.Errorf("drain: %v, %q", err, out)
	}
	if code := status(t, p.admin+wellknown.PathReadyz); code != http.StatusServiceUnavailable {
		t.Errorf("readyz of one that has left: %d", code)
	}
	p.signal(syscall.SIGTERM)
	if code := p.code(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func status(t *testing.T, url string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

func TestAnIdleMemberIsSmall(t *testing.T) {
	t.Parallel()
	p := startProgram(t)
	for range 20 { // as a kubelet and a Prometheus would
		for _, path := range []string{wellknown.PathReadyz, wellknown.PathHealthz, wellknown.PathMetrics} {
			if code := status(t, p.admin+path); code != http.StatusOK {
				t.Fatalf("%s: %d", path, code)
			}
		}
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	if err != nil {
		t.Skipf("only Linux tells: %v", err)
	}
	const limit = 25 << 10 // KiB
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil || kib >= limit {
				t.Errorf("anonymous memory %s, want less than %d KiB", strings.TrimSpace(rest), limit)
			}
			t.Logf("anonymous memory %d KiB", kib)
			return
		}
	}
	t.Error("no RssAnon")
}

func TestAPortThatIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var errOut bytes.Buffer
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	code := run([]string{"--address", "127.0.0.1", "--http-port", "0", "--admin-port", port}, os.Getenv, io.Discard, &errOut)
	if code != exitFailed || !strings.Contains(errOut.String(), "is taken by another process") || strings.Count(errOut.String(), "\n") != 1 {
		t.Errorf("exit code %d: %q", code, errOut.String())
	}
}
