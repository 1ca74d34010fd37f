// Package standalone is membership without others: a member that is alone and stays so. It is the default outside a
// cluster, needs nothing, and cannot fail.
package standalone

import (
	"context"

	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/model"
)

// Source lists nobody.
type Source struct{}

var _ membership.Source = Source{}

// Run says once that there is nobody else, and waits.
func (Source) Run(ctx context.Context, sink func(membership.Listing)) error {
	sink(membership.Listing{Reachable: true})
	<-ctx.Done()
	return nil
}

// Announce has nobody to tell.
func (Source) Announce(context.Context, model.Member, bool) error { return nil }

// Leave has nobody to tell.
func (Source) Leave(context.Context) error { return nil }
