package main

import (
	"context"
	"time"
)

// listen passes on what the clients tell, until the next tick.
func (d *demo) listen(ctx context.Context, tick <-chan time.Time) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick:
			return nil
		case n := <-d.feed:
			if line := d.ledger.add(n); line != "" {
				d.hear(line)
			}
		}
	}
}

// hear says a line, or keeps it until the story has come to where it belongs.
func (d *demo) hear(line string) {
	if d.holding {
		d.kept = append(d.kept, line)
		return
	}
	d.say.sayf("%s", line)
}

func (d *demo) release() {
	d.holding = false
	for _, line := range d.kept {
		d.say.sayf("%s", line)
	}
	d.kept = nil
}
