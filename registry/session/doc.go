// Package session is about publishers: whom this member vouches for (connections that it holds, beats that it is
// responsible for), what it does when they fall silent, and when a record that nobody vouches for ends. It is the place
// where the principle is kept: an instance goes because its publisher said so, because its publisher fell silent while
// the registry was well, or because evidence about the instance says so.
//
// It is called by member, calls replication downwards, and has no goroutine. What it wants from the world (probes, signs
// of life) comes out as values. DESIGN.md tells the rules.
package session
