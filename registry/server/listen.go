package server

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	configv1alpha1 "github.com/muster-registry/muster/api/config/v1alpha1"
	"github.com/muster-registry/muster/api/wellknown"
)

// listen opens a port. Its error is one line that says what and how to mend it.
func listen(address string, port int, field, flag string) (net.Listener, error) {
	l, err := net.Listen("tcp", joinPort(address, port))
	return l, listenError(err, address, port, field, flag)
}

func listenError(err error, address string, port int, field, flag string) error {
	at := joinPort(address, port)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s: %s is taken by another process; stop that, or choose another port (%s)", field, at, flag)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("listen.address: %s is no address of this host; choose one that is (--address)", address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s: no right to listen on %s; choose a port above 1023 (%s)", field, at, flag)
	}
	return fmt.Errorf("%s: %w", field, err)
}

// pairAttempts is how many free HTTP ports are tried until the one 1000 above is free too.
const pairAttempts = 50

// listenClients opens both client ports. With HTTP port 0 it finds a free pair: clients compute the gRPC port.
func listenClients(l configv1alpha1.Listen) (http, grpc net.Listener, err error) {
	for attempt := 1; ; attempt++ {
		if http, err = listen(l.Address, l.HTTPPort, "listen.httpPort", "--http-port"); err != nil {
			return nil, nil, err
		}
		port := portOf(http) + wellknown.GRPCPortOffset
		if grpc, err = listen(l.Address, port, "listen.grpcPort", "--http-port, the gRPC port is 1000 above"); err == nil {
			return http, grpc, nil
		}
		_ = http.Close()
		if l.HTTPPort != 0 || attempt == pairAttempts {
			return nil, nil, err
		}
	}
}

func portOf(l net.Listener) int {
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		return a.Port
	}
	return 0
}

func joinPort(address string, port int) string { return net.JoinHostPort(address, strconv.Itoa(port)) }
