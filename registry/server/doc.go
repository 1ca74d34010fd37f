// Package server is one registry process as a value: it opens the ports, puts a member.Runner between the adapters, the
// streams and the source of membership, and takes all of it down in the reverse order. It wires and decides nothing.
// cmd/registry makes it from flags and a file; tests run several in one process.
package server
