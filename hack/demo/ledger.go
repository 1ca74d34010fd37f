package main

import (
	"fmt"
	"strings"
	"time"
)

// ledger is what the clients told: it words it for the reader, and remembers what counts. It is pure.
type ledger struct {
	want  int
	names map[string]string // pod -> what the story calls it
	at    map[string]string // the same name -> member, as far as it is known
	seen  map[string]*witness
	order []string // names of consumers, in the order of their start

	registered bool
	dead       string // member that was killed
}

// witness is what one client saw.
type witness struct {
	lists     int // since the first complete one
	complete  bool
	fewest    int
	connected bool
	lost      time.Time
	listening bool
	wrong     []string
}

func newLedger(want int) *ledger {
	return &ledger{want: want, names: map[string]string{}, at: map[string]string{}, seen: map[string]*witness{}}
}

// meet gives a pod its name in the story.
func (l *ledger) meet(pod, name string) {
	l.names[pod] = name
	l.witness(name)
	if name != provider {
		l.order = append(l.order, name)
	}
}

func (l *ledger) witness(name string) *witness {
	if l.seen[name] == nil {
		l.seen[name] = &witness{fewest: -1}
	}
	return l.seen[name]
}

// add takes a note in and returns the line for it, or nothing.
func (l *ledger) add(n note) string {
	name := l.names[n.pod]
	if name == "" {
		name = n.pod
	}
	w := l.witness(name)
	if n.err != nil {
		w.wrong = append(w.wrong, n.err.Error())
		return name + " tells no more: " + n.err.Error()
	}
	switch e := n.event; e.Event {
	case "connection":
		return l.connection(name, w, e)
	case "subscribed":
		w.listening = true
	case "registered":
		l.registered = true
	case "done":
		if e.OK != nil && !*e.OK {
			return fmt.Sprintf("%s: %s is refused, it tries again: %s", name, e.Do, e.Error)
		}
	case "list":
		return l.list(name, w, e)
	}
	return ""
}

func (l *ledger) connection(name string, w *witness, e event) string {
	if e.Connected == nil {
		return ""
	}
	if !*e.Connected {
		w.connected = false
		if w.lost.IsZero() {
			w.lost = e.Time
		}
		return name + " has lost its connection"
	}
	again := w.connected
	w.connected = true
	switch {
	case again:
		return name + " moves to another member"
	case w.lost.IsZero():
		return ""
	}
	after := e.Time.Sub(w.lost)
	w.lost = time.Time{}
	return fmt.Sprintf("%s is connected again, to another member, after %s", name, ms(after))
}

func (l *ledger) list(name string, w *witness, e event) string {
	if e.Error != "" {
		w.wrong = append(w.wrong, "was told an error: "+e.Error)
		return name + " is told an error: " + e.Error
	}
	n := count(e.Count)
	if !w.complete && n < l.want {
		return "" // before the provider has registered there is nothing to list
	}
	first := !w.complete
	w.complete = true
	w.lists++
	if w.fewest < 0 || n < w.fewest {
		w.fewest = n
	}
	if n < l.want || count(e.Healthy) < l.want {
		w.wrong = append(w.wrong, fmt.Sprintf("was told %d instances, %d of them healthy, at %s", n, count(e.Healthy), e.Time.Format("15:04:05.000")))
	}
	text := fmt.Sprintf("%s is told %d instances", name, n)
	if member := l.at[name]; member != "" {
		text += " by " + member
	}
	if first && e.DelayMS != nil && l.dead == "" && w.listening {
		text += fmt.Sprintf(", %d ms after the provider began to register", *e.DelayMS)
	}
	return text
}

// complete counts the consumers that know all instances.
func (l *ledger) complete() int {
	n := 0
	for _, name := range l.order {
		if l.seen[name].complete {
			n++
		}
	}
	return n
}

// summary has one line a consumer.
func (l *ledger) summary() string {
	var b strings.Builder
	for _, name := range l.order {
		w := l.seen[name]
		fmt.Fprintf(&b, "        %-11s %s told, the shortest with %d of %d instances\n", name+":", plural(w.lists, "list"), w.fewest, l.want)
	}
	return strings.TrimRight(b.String(), "\n")
}

// noticed is the failure that the demo exists to rule out: what clients had to say about the death of a member.
type noticed struct{ by []string }

func (n noticed) Error() string {
	return "a client noticed the death of a member, which must not be:\n  " + strings.Join(n.by, "\n  ")
}

// verdict is an error when a consumer saw less than there was.
func (l *ledger) verdict() error {
	var wrong []string
	for _, name := range l.order {
		w := l.seen[name]
		if !w.complete {
			wrong = append(wrong, name+" was never told all instances")
		}
		for _, text := range w.wrong {
			wrong = append(wrong, name+" "+text)
		}
	}
	if p := l.seen[provider]; p != nil && len(p.wrong) > 0 {
		wrong = append(wrong, provider+" "+p.wrong[0])
	}
	if len(wrong) == 0 {
		return nil
	}
	return noticed{wrong}
}

// rose is the member whose count is one more than it was, if that is one member only.
func rose(before, after []view, count func(view) int) string {
	was := map[string]int{}
	for _, v := range before {
		was[v.Name] = count(v)
	}
	found := ""
	for _, v := range after {
		switch delta := count(v) - was[v.Name]; {
		case delta == 0:
		case delta == 1 && found == "":
			found = v.Name
		default:
			return ""
		}
	}
	return found
}

func connections(v view) int   { return v.Counts.Connections }
func subscriptions(v view) int { return v.Counts.Subscriptions }

func count(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}

func ms(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
