package grpc

import (
	"context"
	"runtime/pprof"
	"time"

	"github.com/muster-registry/muster/registry/push"
)

var writerLabels = pprof.WithLabels(context.Background(), pprof.Labels("goroutine", "grpc writer"))

// closeWithin is how long a close waits for the message that is under way.
const closeWithin = time.Second

// wake lets the outbox be emptied, in a goroutine of its own. One that is at it may wait for the client to read: a close
// must not wait for that, or who is gone would be taken for one that only does not read.
func (c *clientStream) wake() {
	if !c.start() && c.out.Closing() {
		c.closeSoon()
	}
}

// start reports false when somebody is writing already, who will look again.
func (c *clientStream) start() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ended:
	case c.running:
		c.again = true
		return false
	default:
		c.running = true
		go c.run()
	}
	return true
}

// closeSoon interrupts the message that is under way, unless it is through by then.
func (c *clientStream) closeSoon() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing == nil && !c.ended {
		c.closing = time.AfterFunc(closeWithin, c.interrupt)
	}
}

func (c *clientStream) run() {
	pprof.SetGoroutineLabels(writerLabels)
	for {
		var goesOn bool
		if c.server.guarded("writing to a connection", func() { goesOn = c.drain() }) {
			c.server.abandon(c.t.id)
		}
		if !goesOn {
			c.interrupt()
		}
		c.mu.Lock()
		if !c.again || c.ended {
			c.running = false
			if c.finished != nil {
				close(c.finished)
			}
			c.mu.Unlock()
			return
		}
		c.again = false
		c.mu.Unlock()
	}
}

// drain sends what there is. It reports whether the connection goes on.
func (c *clientStream) drain() bool {
	for {
		item, ok := c.out.Next()
		if !ok {
			return true
		}
		var f frame
		switch item.Kind {
		case push.ItemNotify:
			f = listFrame("NotifySubscriberRequest", notifyHead(item.ID), item.Snapshot, item.Clusters, false, notifyTail)
		case push.ItemDetect:
			f = newFrame("ClientDetectionRequest", internalRequest(item.ID))
		case push.ItemReset:
			f = newFrame("ConnectResetRequest", connectReset(item.ID, c.t.id))
		case push.ItemClose:
			c.server.metrics.sent(item.Kind)
			return false
		}
		if c.send(f) != nil {
			return false
		}
		c.server.metrics.sent(item.Kind)
	}
}

// send blocks while the client does not read, but not for longer than the timer runs.
func (c *clientStream) send(f frame) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	if c.stuck == nil {
		c.stuck = time.AfterFunc(c.server.stuckAfter, c.giveUp)
	} else {
		c.stuck.Reset(c.server.stuckAfter)
	}
	defer c.stuck.Stop()
	return c.stream.SendMsg(f)
}

// giveUp closes a connection that does not read. It may well live, so its loss says nothing of its publisher (L1), unless
// it was to be closed anyway: then the member has said what its loss says.
func (c *clientStream) giveUp() {
	c.server.metrics.stuck.Inc()
	c.server.log.Info("connection does not read, closing it", "connection", c.t.id)
	if c.out == nil || !c.out.Closing() {
		c.server.abandon(c.t.id)
	}
	c.interrupt()
	_ = c.t.Close()
}
