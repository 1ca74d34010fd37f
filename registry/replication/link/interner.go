package link

import (
	"hash/maphash"

	"github.com/muster-registry/muster/registry/model"
)

// interner keeps some of the texts that came last: names of groups and clusters, clients and keys of metadata come again with
// every record. It is as large as it is; a new text takes the place of another one.
type interner struct {
	seed  maphash.Seed
	slots [1024]string
	// clients are those that came last, and as what.
	clients [256]struct {
		bytes  string
		client *model.Client
	}
}

// client keeps descriptions likewise, which all records of a connection share.
func (t *interner) client(b []byte, decode func([]byte) model.Client) *model.Client {
	slot := &t.clients[maphash.Bytes(t.seed, b)%uint64(len(t.clients))]
	if slot.client == nil || slot.bytes != string(b) {
		c := decode(b)
		slot.bytes, slot.client = string(b), &c
	}
	return slot.client
}

// longestText: longer texts seldom come twice.
const longestText = 64

func newInterner() *interner { return &interner{seed: maphash.MakeSeed()} }

func (t *interner) get(b []byte) string {
	if len(b) == 0 || len(b) > longestText {
		return string(b)
	}
	slot := &t.slots[maphash.Bytes(t.seed, b)%uint64(len(t.slots))]
	if *slot != string(b) {
		*slot = string(b)
	}
	return *slot
}
