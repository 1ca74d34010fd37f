package conformance

import (
	"flag"
	"testing"
	"time"
)

var grpcTarget = flag.String("grpc", "", "host:port of the gRPC of -server, for TestGRPC")

// TestGRPC compares gRPC with the recorded answers of Nacos 2.5.1. Most of its minute is spent waiting for what must
// not come.
func TestGRPC(t *testing.T) {
	t.Parallel()
	r := &Runner{HTTP: *target, GRPC: *grpcTarget, Run: token(), Jobs: 32, Steps: GRPCSteps()}
	if r.GRPC == "" {
		c := config()
		// longer than any script, so that what a closed connection leaves behind is there whenever a step looks
		c.Timeouts.SilentConnectionGrace.Duration = 40 * time.Second
		s := start(t, c)
		r.HTTP, r.GRPC = s.Addr().HTTP.String(), s.Addr().GRPC.String()
	}
	compare(t, r, "grpc", "grpc")
}
