package model

// Queue is of things in the order of their time. What was taken off is given back. The zero value is empty.
type Queue[T any] struct{ items []T }

// Add puts one behind all others.
func (q *Queue[T]) Add(item T) { q.items = append(q.items, item) }

// Take takes off the first for which due says yes.
func (q *Queue[T]) Take(due func(T) bool) (item T, ok bool) {
	if len(q.items) == 0 || !due(q.items[0]) {
		return item, false
	}
	item = q.items[0]
	clear(q.items[:1])
	if q.items = q.items[1:]; len(q.items) == 0 {
		q.items = nil
	}
	return item, true
}
