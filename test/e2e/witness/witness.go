// Package witness judges what the clients of the end-to-end tests were told: from the moment at which instances are held, no
// list that any subscriber gets may lack one of them, or call it unhealthy.
package witness

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Subscriber is one SDK client in one pod.
type Subscriber struct {
	Pod    string
	Client int
}

// Witness takes the events of many pods. Its methods may be called from any goroutine.
type Witness struct {
	mu         sync.Mutex // guards all below
	held       []string
	seen       map[Subscriber]map[string]bool // the last list, by address; the value says healthy
	lists      int
	connected  int
	lost       int
	done       map[string]int // by pod: registrations and subscriptions that are there
	violations []string
}

// New returns a witness who holds nothing yet.
func New() *Witness {
	return &Witness{seen: map[Subscriber]map[string]bool{}, done: map[string]int{}}
}

// event is the part of a client's event that counts here.
type event struct {
	Event     string
	Time      string
	Client    int
	Count     int
	Error     string
	Connected *bool
	Instances []struct {
		Address string
		Healthy bool
	}
}

// Take reads one line of a pod's output.
func (w *Witness) Take(pod string, line []byte) error {
	var e event
	if err := json.Unmarshal(line, &e); err != nil {
		return fmt.Errorf("%s says what is no event: %w: %s", pod, err, line)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e.Event {
	case "list":
		w.list(pod, e)
	case "registered", "subscribed":
		w.done[pod] = e.Count
	case "connection":
		switch {
		case e.Connected == nil:
		case *e.Connected:
			w.connected++
		default:
			w.lost++
		}
	}
	return nil
}

// list judges one list. The SDK tells an error in place of a list when it has none: that is an empty one.
func (w *Witness) list(pod string, e event) {
	w.lists++
	list := make(map[string]bool, len(e.Instances))
	for _, i := range e.Instances {
		list[i.Address] = i.Healthy
	}
	w.seen[Subscriber{pod, e.Client}] = list
	if lacks := lacking(list, w.held); len(lacks) > 0 {
		w.violations = append(w.violations, fmt.Sprintf("%s: client %d of %s was told %d instances (error %q), %d of %d that are registered are not as they should be: %s",
			e.Time, e.Client, pod, len(list), e.Error, len(lacks), len(w.held), strings.Join(lacks, " ")))
	}
}

// Hold says which instances are registered: every list that is told from now on must hold them.
func (w *Witness) Hold(addresses ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = slices.Clone(addresses)
}

// Held are the instances that Hold named last.
func (w *Witness) Held() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.held)
}

// Violations are the lists that lacked something, one line each.
func (w *Witness) Violations() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.violations)
}

// Told counts the subscribers whose last list is exactly these instances, all healthy.
func (w *Witness) Told(addresses ...string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, list := range w.seen {
		if difference(list, addresses) == "" {
			n++
		}
	}
	return n
}

// Differs says in which way the last lists of the other subscribers are different, one line each.
func (w *Witness) Differs(addresses ...string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var lines []string
	for s, list := range w.seen {
		if d := difference(list, addresses); d != "" {
			lines = append(lines, fmt.Sprintf("client %d of %s: %s", s.Client, s.Pod, d))
		}
	}
	slices.Sort(lines)
	return lines
}

// difference between a list and these instances, all healthy; "" when there is none.
func difference(list map[string]bool, addresses []string) string {
	var d []string
	if lacks := lacking(list, addresses); len(lacks) > 0 {
		d = append(d, "lacks "+strings.Join(lacks, " "))
	}
	for _, address := range slices.Sorted(maps.Keys(list)) {
		if !slices.Contains(addresses, address) {
			d = append(d, "has "+address)
		}
	}
	return strings.Join(d, ", ")
}

// lacking are those of the addresses that a list does not have, or calls unhealthy.
func lacking(list map[string]bool, addresses []string) []string {
	var lacks []string
	for _, address := range addresses {
		switch healthy, there := list[address]; {
		case !there:
			lacks = append(lacks, address)
		case !healthy:
			lacks = append(lacks, address+" (unhealthy)")
		}
	}
	return lacks
}

// Done is how many registrations or subscriptions a pod has said that it has.
func (w *Witness) Done(pod string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.done[pod]
}

// Connected counts the connections that clients have made.
func (w *Witness) Connected() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.connected
}

// Lost counts those that ended without a word of the server's.
func (w *Witness) Lost() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost
}

// Lists counts the lists that were told.
func (w *Witness) Lists() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lists
}
