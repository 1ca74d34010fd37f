// Package poll waits for things that nobody announces: a socket that answers, a pod that leaves a Service.
package poll

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Every is how often Until asks.
const Every = 100 * time.Millisecond

// Until asks until there is no error. When that takes longer than patience it returns the last error.
func Until(ctx context.Context, patience time.Duration, ask func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(Every)
	defer tick.Stop()
	last := errors.New("no time was left to ask")
	for {
		err := ask(limited)
		if err == nil {
			return nil
		}
		if limited.Err() == nil {
			last = err // not the answer that our own deadline cut short
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limited.Done():
			return fmt.Errorf("after %s: %w", patience, last)
		case <-tick.C:
		}
	}
}
