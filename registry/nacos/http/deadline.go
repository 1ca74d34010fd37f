package http

import (
	"errors"
	"os"
	"sync"
	"time"
)

// deadline is what net/http moves eight times a request and what is hardly ever met. To set it on the socket costs a tenth
// of a short request, so the socket is given one that comes no later, and keeps it while that is so. Whoever is woken by
// it too early waits on.
type deadline struct {
	set  func(time.Time) error // on the socket
	mu   sync.Mutex            // guards all below: a connection is read and given deadlines by two goroutines
	want time.Time             // zero: none
	real time.Time             // the socket's
	over bool                  // that one was over when it was set, to end a read: it holds for nothing else
}

// ahead is how far the socket's deadline is put off at once: no further than net/http's next one. Who is idle for longer
// is woken once.
const ahead = readTimeout

// at moves the deadline.
func (d *deadline) at(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.want = t
	if d.over || !t.IsZero() && (d.real.IsZero() || t.Before(d.real)) {
		now := time.Now()
		if limit := now.Add(ahead); t.IsZero() || t.After(limit) {
			t = limit
		}
		d.real, d.over = t, !t.After(now)
		return d.set(t)
	}
	return nil
}

// early reports whether an error is a deadline's that has not come yet, and sees to the rest of the time.
func (d *deadline) early(err error) bool {
	if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over || !d.want.IsZero() && !time.Now().Before(d.want) {
		return false
	}
	d.real, d.over = d.want, false
	return d.set(d.want) == nil
}
