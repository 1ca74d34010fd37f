//go:build !linux

package node

import (
	"context"
	"errors"
)

// Run exists on Linux only.
func Run(context.Context, string) error { return errors.New("a lab node needs Linux") }
