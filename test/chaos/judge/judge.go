// Package judge knows what is true, who is alive and registered, and judges by it what a registry tells. The fault tests
// report to it what they do and what subscribers and queries are told; it counts false removals (F) and ghosts (G). It has
// no clock: times come in as arguments.
package judge

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// List is what one observer was told of one service.
type List struct {
	Observer, Service string
	// Asked is when it was asked for, or told without being asked: what became true later is not expected of it.
	Asked time.Time
	// Hosts are the addresses; the value says healthy. One that is unhealthy is as good as missing: clients leave it out.
	Hosts map[string]bool
	// Standing: it counts until the observer is told another one, as a subscriber's does. An answer counts once.
	Standing bool
}

// Counts are what there was to judge, and what was wrong.
type Counts struct {
	Lists, Removals, Ghosts int
}

// Judge may be called from any goroutine.
type Judge struct {
	mu     sync.Mutex                  // guards all below
	facts  map[string]map[string]*fact // by service and address
	told   map[place]List
	counts Counts
	lines  []string
}

type place struct{ observer, service string }

// fact is one registration of an instance, from its acknowledgement to its end.
type fact struct {
	here bool
	// held: every observer must list it from then on, whatever it was told before.
	held time.Time
	// deadline is when it must be gone everywhere, once it is not here.
	deadline time.Time
	// seen are the observers that have listed it: they must not lose it. missed and haunted are those that were counted.
	seen, missed, haunted map[string]bool
}

// New returns one that knows of nothing.
func New() *Judge { return &Judge{facts: map[string]map[string]*fact{}, told: map[place]List{}} }

// Registered notes that the registration of an instance was accepted.
func (j *Judge) Registered(service, address string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.facts[service] == nil {
		j.facts[service] = map[string]*fact{}
	}
	if f := j.facts[service][address]; f == nil || !f.here {
		j.facts[service][address] = &fact{here: true, seen: map[string]bool{}, missed: map[string]bool{}, haunted: map[string]bool{}}
	}
}

// Gone notes that an instance leaves or dies now, and when it must be gone everywhere. It is called before that happens: to
// drop it is right from now on.
func (j *Judge) Gone(service, address string, deadline time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if f := j.facts[service][address]; f != nil {
		f.here, f.deadline = false, deadline
	}
}

// Hold expects all that is here of every list that is asked for from now on, also by observers that have not listed it yet.
func (j *Judge) Hold(now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, facts := range j.facts {
		for _, f := range facts {
			if f.here && f.held.IsZero() {
				f.held = now
			}
		}
	}
}

// Told judges a list.
func (j *Judge) Told(l List) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.counts.Lists++
	j.told[place{l.Observer, l.Service}] = l
	for address, f := range j.facts[l.Service] {
		healthy, listed := l.Hosts[address]
		switch {
		case f.here && healthy:
			f.seen[l.Observer] = true
			delete(f.missed, l.Observer)
		case f.here && (f.seen[l.Observer] || !f.held.IsZero() && f.held.Before(l.Asked)):
			j.missing(l, address, f, listed)
		case !f.here && listed:
			j.haunts(place{l.Observer, l.Service}, address, f, l.Asked)
		case f.haunted[l.Observer]:
			delete(f.haunted, l.Observer)
			j.say("%s %s of %s is not listed any more for %s", l.Asked.Format(clock), address, l.Service, l.Observer)
		}
	}
}

// missing counts a false removal, once until the observer lists the instance again.
func (j *Judge) missing(l List, address string, f *fact, listed bool) {
	if f.missed[l.Observer] {
		return
	}
	f.missed[l.Observer] = true
	j.counts.Removals++
	how := "is missing"
	if listed {
		how = "is unhealthy"
	}
	j.say("%s F: %s of %s %s for %s, which lists %d", l.Asked.Format(clock), address, l.Service, how, l.Observer, len(l.Hosts))
}

// haunts counts a ghost, once until the observer drops it.
func (j *Judge) haunts(p place, address string, f *fact, now time.Time) {
	if f.here || f.haunted[p.observer] || !now.After(f.deadline) {
		return
	}
	f.haunted[p.observer] = true
	j.counts.Ghosts++
	j.say("%s G: %s of %s, gone by %s, is still listed for %s", now.Format(clock), address, p.service, f.deadline.Format(clock), p.observer)
}

// Look judges the lists that stand: what subscribers were told last may have grown into a ghost without a word.
func (j *Judge) Look(now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for p, l := range j.told {
		if !l.Standing {
			continue
		}
		for address := range l.Hosts {
			if f := j.facts[p.service][address]; f != nil {
				j.haunts(p, address, f, now)
			}
		}
	}
}

// Forget drops what an observer was told: it has ended, and nobody goes by its last lists.
func (j *Judge) Forget(observer string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	maps.DeleteFunc(j.told, func(p place, _ List) bool { return p.observer == observer })
}

// Here are the addresses that are registered, by service.
func (j *Judge) Here() map[string][]string {
	j.mu.Lock()
	defer j.mu.Unlock()
	here := map[string][]string{}
	for service, facts := range j.facts {
		here[service] = []string{}
		for address, f := range facts {
			if f.here {
				here[service] = append(here[service], address)
			}
		}
		slices.Sort(here[service])
	}
	return here
}

// Differs says how the last lists of some services that an observer was told differ from what is true; "" = not at all.
func (j *Judge) Differs(observer string, services ...string) string {
	here := j.Here()
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, service := range services {
		addresses, ever := here[service]
		if !ever {
			continue
		}
		l, ok := j.told[place{observer, service}]
		if !ok {
			return fmt.Sprintf("%s was told nothing of %s", observer, service)
		}
		for _, a := range addresses {
			if !l.Hosts[a] {
				return fmt.Sprintf("%s lacks %s of %s", observer, a, service)
			}
		}
		if len(l.Hosts) != len(addresses) {
			return fmt.Sprintf("%s lists %d of %s, %d are there", observer, len(l.Hosts), service, len(addresses))
		}
	}
	return ""
}

// Counts returns the numbers so far.
func (j *Judge) Counts() Counts {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.counts
}

// Violations are what was wrong, one line each, the first hundred.
func (j *Judge) Violations() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines)
}

const (
	clock    = "15:04:05.000"
	maxLines = 100
)

func (j *Judge) say(format string, args ...any) {
	if len(j.lines) < maxLines {
		j.lines = append(j.lines, fmt.Sprintf(format, args...))
	}
}
