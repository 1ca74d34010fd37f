package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// Traffic is what the established TCP connections with one port have carried, both ends counted where both are here.
type Traffic struct {
	Sockets        int
	Sent, Received int64
}

// TrafficOf asks the kernel (ss of iproute2) for the connections with a port on either side.
func TrafficOf(ctx context.Context, port int) (Traffic, error) {
	filter := fmt.Sprintf("( sport = :%d or dport = :%d )", port, port)
	out, err := exec.CommandContext(ctx, "ss", "-tinOH", "state", "established", filter).Output()
	if errors.Is(err, exec.ErrNotFound) {
		return Traffic{}, errors.New("count bytes: no ss on this machine, install iproute2")
	}
	if err != nil {
		return Traffic{}, fmt.Errorf("count bytes: ss: %w", err)
	}
	return parseTraffic(out)
}

func parseTraffic(out []byte) (Traffic, error) {
	var t Traffic
	for line := range bytes.Lines(out) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		t.Sockets++
		for field := range strings.FieldsSeq(string(line)) {
			name, value, found := strings.Cut(field, ":")
			if !found || name != "bytes_sent" && name != "bytes_received" {
				continue
			}
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return Traffic{}, fmt.Errorf("count bytes: %s: %w", field, err)
			}
			if name == "bytes_sent" {
				t.Sent += n
			} else {
				t.Received += n
			}
		}
	}
	return t, nil
}
