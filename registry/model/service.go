// Package model holds the values that all of the registry speaks of: keys, instances, records and their merge, versions
// and the clock that makes them, members and views, and the registry of public errors. Values only: no goroutine, no
// clock, no socket, no log. Everybody imports it; it imports nothing of ours.
package model

import (
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Names that Nacos fills in where a client leaves them out (nacos-protocol §3.5, §4.1).
const (
	DefaultNamespace = "public"
	DefaultGroup     = "DEFAULT_GROUP"
	DefaultCluster   = "DEFAULT"
	GroupSeparator   = "@@"
)

// ShardCount is the number of slices of the service-key space: with 16,384 the load of 200 members differs by 15 %.
const ShardCount = 16384

// Shard is a slice of the service-key space, 0 to ShardCount-1.
type Shard uint16

// ServiceKey names a service.
type ServiceKey struct {
	Namespace, Group, Name string
}

// Grouped is the name that HTTP and UDP show: group@@name.
func (k ServiceKey) Grouped() string { return k.Group + GroupSeparator + k.Name }

// String is for logs: namespace/group@@name.
func (k ServiceKey) String() string { return k.Namespace + "/" + k.Grouped() }

// Hash is the same on every member and in every version.
func (k ServiceKey) Hash() uint64 {
	var d xxhash.Digest
	d.Reset()
	writeStrings(&d, k.Namespace, k.Group, k.Name)
	return d.Sum64()
}

// Shard is where the service belongs.
func (k ServiceKey) Shard() Shard { return Shard(k.Hash() % ShardCount) }

// Compare orders services by namespace, group and name.
func (k ServiceKey) Compare(o ServiceKey) int {
	if c := strings.Compare(k.Namespace, o.Namespace); c != 0 {
		return c
	}
	if c := strings.Compare(k.Group, o.Group); c != 0 {
		return c
	}
	return strings.Compare(k.Name, o.Name)
}

// writeStrings hashes strings so that ("a","bc") and ("ab","c") differ.
func writeStrings(d *xxhash.Digest, parts ...string) {
	for _, p := range parts {
		_, _ = d.WriteString(p)
		_, _ = d.Write([]byte{0})
	}
}
