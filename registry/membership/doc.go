// Package membership says who the members are. Tracker combines what a source lists (Leases, EndpointSlices, a file)
// with what the streams between members show, into the view that everything else works with; Leases turns raw readings
// of Lease objects into such a list. Both are pure: they are handed the time, and have no goroutine and no socket, so
// that the simulation drives the very same rules. The sources themselves are in the sub-packages, and the streams in
// replication/link.
//
// The package decides who is a member. It does not decide what becomes of the records of one that is gone.
package membership
