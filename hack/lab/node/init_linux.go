package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/muster-registry/muster/hack/lab/poll"
)

// GoAhead is the file descriptor on which the first process waits for one byte: its end of the link is there, and its pid is
// written down. When the starter dies before that, the node ends too.
const GoAhead = 3

// apiPatience is how long the agents wait for the API server: a node that rejoins while the API server is stopped starts
// without it, as a real one would.
const apiPatience = 90 * time.Second

// Run is the life of a node's first process. It returns only when the node cannot be set up.
func Run(ctx context.Context, specPath string) error {
	spec, err := ReadSpec(specPath)
	if err != nil {
		return err
	}
	if err := awaitGoAhead(); err != nil {
		return err
	}
	if err := syscall.Sethostname([]byte(spec.Name)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	if err := mountAll(spec.Run); err != nil {
		return err
	}
	if err := setNetwork(spec); err != nil {
		return err
	}
	s := newSupervisor(spec)
	if err := serveControl(spec, s); err != nil {
		return err
	}
	go s.reap(ctx)
	if err := startAll(ctx, spec, s); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func awaitGoAhead() error {
	f := os.NewFile(GoAhead, "go-ahead")
	if f == nil {
		return errors.New("no descriptor 3: this command is started by lab up")
	}
	defer f.Close()
	if _, err := io.ReadFull(f, make([]byte, 1)); err != nil {
		return fmt.Errorf("the process that started this node is gone: %w", err)
	}
	return nil
}

// startAll brings the components up in the order in which they need each other.
func startAll(ctx context.Context, spec Spec, s *supervisor) error {
	for _, c := range spec.Control {
		if err := s.start(c); err != nil {
			return err
		}
	}
	if err := s.start(spec.Runtime); err != nil {
		return err
	}
	s.setPhase("waiting for containerd")
	if err := poll.Until(ctx, 30*time.Second, func(context.Context) error { return dial(filepath.Join(spec.Run, ContainerdSocket)) }); err != nil {
		return fmt.Errorf("containerd does not answer, see %s: %w", filepath.Join(spec.Logs, spec.Runtime.Name+".log"), err)
	}
	if err := importImages(spec, s); err != nil {
		return err
	}
	s.setPhase("waiting for the API server")
	client, err := apiClient(spec.APIReady.CA)
	if err != nil {
		return err
	}
	if err := poll.Until(ctx, apiPatience, func(ctx context.Context) error { return apiReady(ctx, client, spec.APIReady.URL) }); err != nil {
		fmt.Printf("starting the kubelet without an API server: %v\n", err)
	}
	for _, c := range spec.Agents {
		if err := s.start(c); err != nil {
			return err
		}
	}
	s.setPhase(PhaseRunning)
	return nil
}

func importImages(spec Spec, s *supervisor) error {
	tars := slices.Clone(spec.Images)
	for _, dir := range spec.ImageDirs {
		more, err := filepath.Glob(filepath.Join(dir, "*.tar"))
		if err != nil {
			return err
		}
		tars = append(tars, more...)
	}
	for _, tar := range tars {
		s.setPhase("importing " + filepath.Base(tar))
		if err := s.run(Component{Name: "images", Argv: []string{"ctr", "images", "import", tar}}); err != nil {
			return fmt.Errorf("import %s, see %s: %w", tar, filepath.Join(spec.Logs, "images.log"), err)
		}
	}
	return nil
}

// setNetwork configures the link that the starter put here. There is no default route: nothing can leave the lab.
func setNetwork(spec Spec) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(networkBatch(spec))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("set up the network: %w: %s", err, strings.TrimSpace(string(out)))
	}
	for _, path := range []string{"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/bridge/bridge-nf-call-iptables"} {
		if err := os.WriteFile(path, []byte("1"), 0o644); err != nil {
			return fmt.Errorf("set up the network: %w", err)
		}
	}
	return nil
}

func apiClient(caFile string) (*http.Client, error) {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", caFile)
	}
	return &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}, nil
}

func apiReady(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}

func dial(socket string) error {
	conn, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return err
	}
	return conn.Close()
}
