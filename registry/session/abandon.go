package session

// Abandon notes that a connection ends by our own doing, though its client may live: one that shows life and does not
// read what it is sent, say. Its loss says nothing of its publisher.
func (t *Table) Abandon(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.conns[id]; c != nil {
		c.ours = true
	}
}
