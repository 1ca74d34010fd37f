package model

import (
	"strconv"
	"time"
)

// InstanceKey names an instance inside a service.
type InstanceKey struct {
	IP      string
	Port    int
	Cluster string
}

// String is ip:port:cluster, the id that overrides use (nacos-protocol §4.1).
func (k InstanceKey) String() string {
	return k.IP + ":" + strconv.Itoa(k.Port) + ":" + k.Cluster
}

// Instance is one address of a service, as published. It is never changed once it is part of a record.
type Instance struct {
	IP string
	// Port, Healthy and Enabled share 8 bytes: there are millions of instances.
	Port    int32
	Healthy bool
	Enabled bool
	Cluster string
	// ID is the instanceId that answers show. "" = the key is left out. Records hold a short form of it.
	ID       string
	Weight   float64
	Metadata Metadata
}

// Key names the instance.
func (i Instance) Key() InstanceKey {
	return InstanceKey{IP: i.IP, Port: int(i.Port), Cluster: i.Cluster}
}

// Equal reports whether nothing that a client could see differs.
func (i Instance) Equal(o Instance) bool {
	return i.IP == o.IP && i.Port == o.Port && i.Cluster == o.Cluster && i.ID == o.ID &&
		// not ==, so that a NaN weight equals itself
		(i.Weight == o.Weight || i.Weight != i.Weight && o.Weight != o.Weight) &&
		i.Healthy == o.Healthy && i.Enabled == o.Enabled && i.Metadata == o.Metadata
}

// Size is its part of Record.Size.
func (i *Instance) Size() int {
	return 64 + len(i.IP) + len(i.Cluster) + len(i.ID) + 2*i.Metadata.Size()
}

// derivedID stands for the id that Nacos makes of the address and the service. Nearly every instance has that one, and it is
// longer than all else that the instance says.
const derivedID = "\x00"

// InstanceID is the id that Nacos gives an instance of a service.
func InstanceID(k ServiceKey, in InstanceKey) string {
	var room [256]byte
	return string(appendID(room[:0], k, in))
}

// appendID writes it in one piece: every registration has one.
func appendID(b []byte, k ServiceKey, in InstanceKey) []byte {
	b = strconv.AppendInt(append(append(b, in.IP...), '#'), int64(in.Port), 10)
	b = append(append(append(b, '#'), in.Cluster...), '#')
	return append(append(append(b, k.Group...), GroupSeparator...), k.Name...)
}

// Kept is the instance as records of the service hold it.
func (i Instance) Kept(k ServiceKey) Instance {
	var room [256]byte
	if i.ID != "" && i.ID == string(appendID(room[:0], k, i.Key())) {
		i.ID = derivedID
	}
	return i
}

// Shown is the instance of the service as it was published.
func (i Instance) Shown(k ServiceKey) Instance {
	if i.ID == derivedID {
		i.ID = InstanceID(k, i.Key())
	}
	return i
}

// Metadata keys that change how the registry treats an instance (nacos-protocol §1.8).
const (
	MetaBeatInterval = "preserved.heart.beat.interval"
	MetaBeatTimeout  = "preserved.heart.beat.timeout"
	MetaDeleteAfter  = "preserved.ip.delete.timeout"
	MetaIDGenerator  = "preserved.instance.id.generator"
)

// DefaultBeatInterval is what clients are told when their metadata says nothing else.
const DefaultBeatInterval = 5 * time.Second

// BeatInterval is the time between two beats that the instance asks for.
func (i Instance) BeatInterval() time.Duration {
	return i.preserved(MetaBeatInterval, DefaultBeatInterval)
}

// BeatTimeout is the silence after which the instance is unhealthy.
func (i Instance) BeatTimeout(otherwise time.Duration) time.Duration {
	return i.preserved(MetaBeatTimeout, otherwise)
}

// DeleteAfter is the silence after which it is removed.
func (i Instance) DeleteAfter(otherwise time.Duration) time.Duration {
	return i.preserved(MetaDeleteAfter, otherwise)
}

// preserved reads milliseconds; anything but digits counts as absent.
func (i Instance) preserved(key string, otherwise time.Duration) time.Duration {
	s := i.Metadata.Get(key)
	if s == "" || len(s) > 12 {
		return otherwise
	}
	for _, c := range s {
		if c < '0' || c > '9' {
			return otherwise
		}
	}
	ms, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return otherwise
	}
	return time.Duration(ms) * time.Millisecond
}
