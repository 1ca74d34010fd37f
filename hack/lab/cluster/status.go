package cluster

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/muster-registry/muster/hack/lab/layout"
	"github.com/muster-registry/muster/hack/lab/node"
)

// NodeStatus is what is known of one node.
type NodeStatus struct {
	Name    string
	Address string
	Running bool
	PID     int
	Ready   string // yes, no, or unknown without an API server
	Node    node.Status
}

// Status looks at every node of the lab. Without the rights to ask, it says less.
func (l *Lab) Status(ctx context.Context) ([]NodeStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	api, apiErr := l.api()
	var list []NodeStatus
	for _, i := range l.Nodes() {
		st := NodeStatus{Name: layout.NodeName(i), Address: l.cfg.NodeIP(i).String(), Running: l.Running(i), Ready: "unknown"}
		if p, err := readProcess(l.pidPath(i)); err == nil && st.Running {
			st.PID = p.PID
			if st.Node, err = l.Control(i).Status(ctx); err != nil {
				st.Node.Phase = "silent"
			}
			if errors.Is(err, fs.ErrPermission) {
				st.Node.Phase = "runs (only root may ask more)"
			}
		}
		var r readiness
		if apiErr == nil && api.get(ctx, "/api/v1/nodes/"+st.Name, &r) == nil {
			st.Ready = "no"
			if r.ready(time.Time{}) {
				st.Ready = "yes"
			}
		}
		list = append(list, st)
	}
	return list, nil
}
