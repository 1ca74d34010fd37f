package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/muster-registry/muster/hack/lab/layout"
	"github.com/muster-registry/muster/hack/lab/node"
)

// Down ends what Up started and removes what it made: processes, links, routes, cgroups and the state folder.
func (l *Lab) Down(ctx context.Context) error {
	if _, err := layout.Load(l.cfg.State); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			l.say("no lab in %s", l.cfg.State)
			return nil
		}
		return err
	}
	return l.locked(ctx, func() error {
		for i := 1; i <= layout.MaxNodes; i++ {
			if err := l.clearNode(ctx, i); err != nil {
				return fmt.Errorf("take %s down: %w", layout.NodeName(i), err)
			}
		}
		l.removeNetwork(ctx)
		if err := machineCgroups().remove(""); err != nil {
			return err
		}
		if err := l.removeMountPoints(); err != nil {
			return err
		}
		if err := os.RemoveAll(l.cfg.State); err != nil {
			return err
		}
		l.say("down")
		return nil
	})
}

// clearNode ends a node, if it runs, and removes its link, cgroups and sockets. Its logs and spec stay.
func (l *Lab) clearNode(ctx context.Context, i int) error {
	if err := l.killNode(ctx, i); err != nil {
		return err
	}
	l.deleteLink(ctx, layout.Veth(i))
	if err := machineCgroups().remove(layout.NodeName(i)); err != nil {
		return err
	}
	return os.RemoveAll(l.cfg.Run(i))
}

// killNode kills a node's first process; the kernel kills the rest.
func (l *Lab) killNode(ctx context.Context, i int) error {
	p, err := readProcess(l.pidPath(i))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !p.alive() {
		return nil
	}
	if err := machineCgroups().thaw(layout.NodeName(i)); err != nil {
		return err
	}
	return p.kill(ctx)
}

func (l *Lab) removeMountPoints() error {
	b, err := os.ReadFile(l.cfg.Path(madeDirs))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, dir := range strings.Fields(string(b)) {
		// Only while empty: something else may have begun to use it.
		if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			l.say("left behind: %v", err)
		}
	}
	return nil
}

// CrashNode ends node i as a power cut would: no goodbye, and its disks are lost.
func (l *Lab) CrashNode(ctx context.Context, i int) error {
	if i == 1 {
		return fmt.Errorf("%s carries the control plane, and etcd in its memory: stop the API server instead, or cut the node", layout.NodeName(1))
	}
	return l.locked(ctx, func() error {
		if !l.Running(i) {
			return fmt.Errorf("%s does not run", layout.NodeName(i))
		}
		return l.killNode(ctx, i)
	})
}

// RejoinNode starts a node that crashed, with empty disks and the images that the lab knows, and waits until it is Ready.
func (l *Lab) RejoinNode(ctx context.Context, i int) error {
	return l.locked(ctx, func() error {
		if l.Running(i) {
			return nil
		}
		if _, err := node.ReadSpec(l.specPath(i)); err != nil {
			return fmt.Errorf("the lab has no %s: %w", layout.NodeName(i), err)
		}
		if err := l.startNode(ctx, i); err != nil {
			return err
		}
		return l.WaitNode(ctx, i)
	})
}
