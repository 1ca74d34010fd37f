package sim

import (
	"flag"
	"fmt"
	"math"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
)

var sizes = flag.String("sizes", "3,10", "the clusters of TestScale, in members (make sim-scale has those of docs/performance.md)")

// The population of TestScale.
const (
	scaleFactor   = 3
	scaleServices = 5_000
	scaleRecords  = 20_000 // four in each service
	scaleClients  = 2_000
)

// TestScale builds clusters of 3 members to 200, with three copies of a shard and one population: what a member holds as a
// replica, and the changes that reach it, are three of n shares. All else that it does is counted beside that.
func TestScale(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100)) // 200 members are a gigabyte
	var rows, beside []string
	for size := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(size)
		if err != nil {
			t.Fatal(err)
		}
		f := newFleet(t, scaleFactor)
		f.join(n)
		f.settled()
		f.populate()
		f.settled()
		f.replicated()
		r := f.measure()
		rows, beside = append(rows, r.shares()), append(beside, r.messages())
	}
	t.Logf("%d records in %d services, factor %d\n%s%s\n\n%s%s", scaleRecords, scaleServices, scaleFactor,
		sharesHead, strings.Join(rows, "\n"), messagesHead, strings.Join(beside, "\n"))
}

// TestGrowth grows one cluster: when clients have evened out it is as if it had been built so. A newcomer fetches its share, from
// each that holds it. Those that join together want more at first, as long as one has not heard of the other.
func TestGrowth(t *testing.T) {
	f := newFleet(t, scaleFactor)
	f.join(3)
	f.populate()
	for _, n := range []int{4, 6, 10} {
		old := len(f.seats)
		f.counted()
		f.join(n)
		f.settled()
		for _, s := range f.seats[old:] {
			if got := float64(s.fetched) / scaleRecords; got < f.fair() || got > scaleFactor {
				t.Errorf("one of %d members that join %d has fetched %.2f of all records", n-old, old, got)
			}
		}
		got := f.spread(scaleRecords, func(s *seat) int { return s.entries })
		t.Logf("%d to %d members: a member is sent %.2f times all records, the worst %.2f times", old, n, got.mean, got.worst)
		f.even()
		f.settled()
		f.replicated()
		f.judge("records held as a replica", f.held())
	}
}

// populate connects the clients at the members that there are, in a random order.
func (f *fleet) populate() {
	each := scaleRecords / scaleClients
	for i, c := range f.rng.Perm(scaleClients) {
		p := &publishing{id: c, revision: 1}
		for s := range each {
			p.services = append(p.services, model.ServiceKey{
				Namespace: "public", Group: "DEFAULT_GROUP", Name: fmt.Sprintf("service-%d", (c*each+s)%scaleServices),
			})
		}
		f.clients = append(f.clients, p)
		p.connect(f, f.seats[i%len(f.seats)])
		if i%20 == 0 {
			f.step()
		}
	}
}

// replicated waits until every record has its copies, and no more: nothing is left of what clients published before they moved.
func (f *fleet) replicated() {
	f.t.Helper()
	copies := min(f.factor, len(f.seats)) * scaleRecords
	f.within(3*time.Minute, "every record has its copies", func() string {
		sum := 0
		for _, s := range f.seats {
			sum += s.live(s.m.Holds)
		}
		if sum != copies {
			return fmt.Sprintf("there are %d copies, not %d", sum, copies)
		}
		return ""
	})
}

// sizing is what was measured of a cluster of one size.
type sizing struct {
	n int
	// held are records as a replica; all those that own publishers say beside them, too.
	held, all spread
	// replicated are changes of records held as a replica, received the records that came in, for each change anywhere.
	replicated, received spread
	// idle and busy are messages a second and member; of those at rest statuses and digests are some.
	idle, statuses, digests, busy float64
	// wish is how many messages one shard more that a member has subscribers of makes.
	wish float64
	// cpu is what a member takes at rest, of a core.
	cpu float64
}

// spread is the mean of all members and the worst, as shares of the whole.
type spread struct{ mean, worst float64 }

func (f *fleet) spread(of int, count func(s *seat) int) spread {
	sum, worst := 0, 0
	for _, s := range f.seats {
		n := count(s)
		sum, worst = sum+n, max(worst, n)
	}
	return spread{float64(sum) / float64(len(f.seats)*of), float64(worst) / float64(of)}
}

// changed is told of every change of a record here.
func (s *seat) changed(_ model.Time, c catalog.Change) {
	s.writes++
	if s.m != nil && s.m.Holds(c.Key.Service) {
		s.replicated++
	}
}

// measure counts in a settled cluster, and judges.
func (f *fleet) measure() sizing {
	f.t.Helper()
	r := sizing{n: len(f.seats), held: f.held()}
	r.all = f.spread(scaleRecords, func(s *seat) int { return s.live(func(model.ServiceKey) bool { return true }) })
	f.rest(&r)
	f.change(&r)
	f.wish(&r)
	f.judge("records held as a replica", r.held)
	f.judge("changes of them", r.replicated)
	return r
}

func (f *fleet) held() spread {
	return f.spread(scaleRecords, func(s *seat) int { return s.live(s.m.Holds) })
}

// live are the records that a member holds and that are not deleted.
func (s *seat) live(in func(k model.ServiceKey) bool) int {
	n := 0
	for _, r := range s.m.Records() {
		if !r.Deleted && in(r.Key.Service) {
			n++
		}
	}
	return n
}

// rest counts what members say while nothing happens.
func (f *fleet) rest(r *sizing) {
	const d = 10 * time.Second
	f.counted()
	began := cpuTime()
	f.pass(d)
	per := d.Seconds() * float64(r.n)
	r.cpu = (cpuTime() - began).Seconds() / per
	for _, s := range f.seats {
		r.idle += float64(s.messages()) / per
		r.statuses += float64(s.kinds[replication.KindStatus]) / per
		r.digests += float64(s.kinds[replication.KindDigest]) / per
	}
}

// change changes every record once, in a random order, 2,000 a second.
func (f *fleet) change(r *sizing) {
	f.counted()
	began := f.now
	for i, n := range f.rng.Perm(scaleRecords) {
		c := f.clients[n%scaleClients]
		c.revision++
		c.publish(f, c.services[n/scaleClients])
		if f.pull(); i%10 == 9 {
			f.step()
		}
	}
	f.pass(time.Second)
	took := (f.now - began).Seconds()
	r.replicated = f.spread(scaleRecords, func(s *seat) int { return s.replicated })
	r.received = f.spread(scaleRecords, func(s *seat) int { return s.entries })
	r.busy = f.spread(1, func(s *seat) int { return s.messages() }).mean / took
	f.settled()
}

// wish lets some members have a subscriber of one service more, which they do not hold, and counts what all are told of it.
func (f *fleet) wish(r *sizing) {
	f.t.Helper()
	f.counted()
	wishes := 0
	for i, s := range f.seats[:min(10, r.n)] {
		k := f.clients[i].services[0]
		if s.m.Holds(k) {
			continue
		}
		wishes++
		s.m.Connect(member.Connection{ID: "reader", Naming: true})
		if _, err := s.m.Subscribe("reader", k, ""); err != nil {
			f.t.Fatal(err)
		}
	}
	f.pass(time.Second)
	for _, s := range f.seats {
		r.wish += float64(s.kinds[replication.KindOwnership]) / float64(max(wishes, 1))
	}
}

// judge fails when a member does not have its share: the mean within a fifth of 3/n. Which services fall to a member is chance, as
// is each draw of n: the worst may be four and a half standard deviations off, beyond which one of 300,000 is.
func (f *fleet) judge(what string, got spread) {
	f.t.Helper()
	fair := f.fair()
	worst := fair * (1 + 4.5*math.Sqrt((1-fair)/(fair*scaleServices)))
	if math.Abs(got.mean/fair-1) > 0.2 || got.worst > worst+1e-9 {
		f.t.Errorf("%d members: %s: mean %.4f, worst %.4f of all; 3/n is %.4f, the worst may be %.4f", len(f.seats), what, got.mean, got.worst, fair, worst)
	}
}

// fair is 3/n.
func (f *fleet) fair() float64 { return float64(min(f.factor, len(f.seats))) / float64(len(f.seats)) }

const (
	sharesHead = `| members | 3/n | held as a replica | worst | with own publishers' | worst | changes written as a replica | worst | records received a change | worst |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
`
	messagesHead = `| members | messages/s at rest | statuses | digests | messages/s with 2,000 changes/s | messages a wish | CPU at rest |
| --- | --- | --- | --- | --- | --- | --- |
`
)

func (r sizing) shares() string {
	fair := 100 * float64(min(scaleFactor, r.n)) / float64(r.n)
	text := fmt.Sprintf("| %d | %.1f %% |", r.n, fair)
	for _, s := range []spread{r.held, r.all, r.replicated, r.received} {
		text += fmt.Sprintf(" %.2f %% | %.2f %% |", 100*s.mean, 100*s.worst)
	}
	return text
}

func (r sizing) messages() string {
	return fmt.Sprintf("| %d | %.1f | %.1f | %.1f | %.0f | %.0f | %.2f %% |", r.n, r.idle, r.statuses, r.digests, r.busy, r.wish, 100*r.cpu)
}

// cpuTime is what this process has taken.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
