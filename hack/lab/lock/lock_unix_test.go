//go:build unix

package lock_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/muster-registry/muster/hack/lab/lock"
)

func TestAcquireIsExclusiveUntilReleased(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	release, err := lock.Acquire(t.Context(), path, func() { t.Error("nobody had the lock") })
	if err != nil {
		t.Fatal(err)
	}

	// The second waits: it says so, and gives up with its context.
	ctx, cancel := context.WithCancel(t.Context())
	busy := 0
	if _, err := lock.Acquire(ctx, path, func() { busy++; cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("second Acquire: %v, want canceled", err)
	}
	if busy != 1 {
		t.Errorf("busy was called %d times, want 1", busy)
	}

	release()
	again, err := lock.Acquire(t.Context(), path, func() { t.Error("the lock was released") })
	if err != nil {
		t.Fatal(err)
	}
	again()
}

// down removes the folder with the lock in it. Whoever waited must not hold a lock that nobody else can see.
func TestAcquireAfterTheFileWasRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := lock.Acquire(t.Context(), path, func() {})
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan func())
	waiting := make(chan struct{})
	go func() {
		release, err := lock.Acquire(t.Context(), path, func() { close(waiting) })
		if err != nil {
			t.Error(err)
			release = func() {}
		}
		second <- release
	}()
	<-waiting
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	first()
	release := <-second
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := lock.Acquire(ctx, path, cancel); !errors.Is(err, context.Canceled) {
		t.Errorf("third Acquire: %v: the second holds a removed file", err)
	}
}
