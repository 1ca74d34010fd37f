// Package catalog is the member's memory: records in, snapshots out. It merges what it is given (model.Merge), forgets
// tombstones when their time is over, keeps the sums that members compare, and builds one immutable snapshot per
// service and revision. It is synchronous, has striped locks and no goroutine; it knows no network, and not who may
// write: session and replication decide that.
package catalog
