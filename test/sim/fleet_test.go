package sim

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/membership"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/replication"
)

// fleet is many members without faults, for counting: a World looks at every pair after every event, which 200 members are too
// many for. Here time goes in steps. What is said in one arrives in the next, in order, and everybody has one source that
// tells the truth.
type fleet struct {
	t       *testing.T
	factor  int
	now     time.Duration
	steps   int
	rng     *rand.Rand
	seats   []*seat
	clients []*publishing
	flight  []parcel
}

const (
	fleetStep = 5 * time.Millisecond
	// stepsOf are how many steps lie between two of something.
	stepsOfTick    = int(tickInterval / fleetStep)
	stepsOfRenewal = int(renewInterval / fleetStep)
	stepsOfTouch   = int(5 * time.Second / fleetStep)
)

// seat is a member, and what was counted there.
type seat struct {
	f     *fleet
	index int
	m     *member.Member
	id    model.Incarnation
	// wakes ring when there is something to send, by the number of the peer.
	wakes []<-chan struct{}
	tally
}

// tally is what has come in.
type tally struct {
	kinds [replication.KindWithdraw + 1]int
	// entries are the records in messages, fetched those of shards that were asked for; shares is what others have said of
	// single shards.
	entries, fetched, shares int
	// writes are the changes of records here, own ones too; replicated those of them in shards that are held as a replica.
	writes, replicated int
}

func (t *tally) messages() int {
	sum := 0
	for _, n := range t.kinds {
		sum += n
	}
	return sum
}

type parcel struct {
	from, to *seat
	message  replication.Message
}

// publishing is a client that is connected for good.
type publishing struct {
	id       int
	seat     *seat
	moves    int
	services []model.ServiceKey
	revision int
}

func newFleet(t *testing.T, factor int) *fleet {
	return &fleet{t: t, factor: factor, rng: rand.New(rand.NewPCG(1, 0x7363616c65))}
}

// Now is everybody's clock.
func (f *fleet) Now() model.Time {
	return model.Time{Mono: f.now + time.Hour, Wall: 1_700_000_000_000 + f.now.Milliseconds()}
}

// join adds members until there are n. The source lists all at once; streams are opened one newcomer after the other.
func (f *fleet) join(n int) {
	old := len(f.seats)
	for i := old; i < n; i++ {
		timeouts := Timeouts()
		timeouts.ColdStartQuiet, timeouts.ColdStartLimit = time.Second, 5*time.Second // no client has a list to lose
		s := &seat{f: f, index: i, id: model.Incarnation(f.rng.Uint64() | 1)}
		name := fmt.Sprintf("m%d", i)
		s.m = member.New(member.Options{
			Self:        model.Member{Name: name, UID: name, Address: name + ":9849", ClientPort: 8848, Version: "sim"},
			Incarnation: func() model.Incarnation { return s.id },
			Clock:       f, Policy: membership.PolicyLease(), Timeouts: timeouts, ReplicationFactor: f.factor,
			Trace: s.changed,
		})
		f.seats = append(f.seats, s)
	}
	for _, s := range f.seats {
		s.wakes = append(s.wakes, make([]<-chan struct{}, n-len(s.wakes))...)
		s.m.SetListing(f.listing(s))
	}
	for i, s := range f.seats[old:] {
		for _, o := range f.seats[:old+i] {
			s.wakes[o.index], o.wakes[s.index] = s.m.PeerUp(o.m.Self()), o.m.PeerUp(s.m.Self())
		}
		f.step()
	}
}

// listing is what the source tells a member.
func (f *fleet) listing(s *seat) membership.Listing {
	l := membership.Listing{Reachable: true, Reader: s.id, Renewal: int64(f.steps) + 1}
	for _, o := range f.seats {
		if o != s {
			l.Entries = append(l.Entries, membership.Entry{Member: o.m.Self(), Alive: true})
		}
	}
	return l
}

// pass lets time go by.
func (f *fleet) pass(d time.Duration) {
	for end := f.now + d; f.now < end; {
		f.step()
	}
}

func (f *fleet) step() {
	f.now += fleetStep
	f.steps++
	arrived := f.flight
	f.flight = nil
	for _, p := range arrived {
		p.to.takes(p)
	}
	for _, s := range f.seats {
		if (f.steps+s.index)%stepsOfTick == 0 {
			s.m.Tick()
		}
		if (f.steps+s.index)%stepsOfRenewal == 0 {
			s.m.SetListing(f.listing(s))
		}
	}
	for _, c := range f.clients {
		if (f.steps+c.id)%stepsOfTouch == 0 {
			c.seat.m.Touch(c.conn())
		}
	}
	f.pull()
}

// pull takes what members have to say.
func (f *fleet) pull() {
	for _, s := range f.seats {
		for i, wake := range s.wakes {
			if len(wake) == 0 {
				continue
			}
			<-wake
			to := f.seats[i]
			for ms := s.m.Pull(to.id); len(ms) > 0; ms = s.m.Pull(to.id) {
				for _, m := range ms {
					f.flight = append(f.flight, parcel{s, to, m})
				}
			}
		}
	}
}

func (s *seat) takes(p parcel) {
	s.kinds[p.message.Kind]++
	s.entries += len(p.message.Entries)
	s.shares += len(p.message.Shares)
	if p.message.Kind == replication.KindFetched {
		s.fetched += len(p.message.Entries)
	}
	s.m.Receive(p.from.id, p.message)
}

// counted begins to count anew.
func (f *fleet) counted() {
	for _, s := range f.seats {
		s.tally = tally{}
	}
}

// within lets time go by until something is so.
func (f *fleet) within(d time.Duration, what string, missing func() string) {
	f.t.Helper()
	why := missing()
	for end := f.now + d; why != ""; why = missing() {
		if f.now >= end {
			f.t.Fatalf("%d members: not so within %v: %s: %s", len(f.seats), d, what, why)
		}
		f.pass(tickInterval)
	}
}

// settled waits until all are complete, answer, and hold their share and nothing else: what each gives up after a growth the
// others must have taken over.
func (f *fleet) settled() {
	f.t.Helper()
	copies := min(f.factor, len(f.seats)) * model.ShardCount
	f.within(3*time.Minute, "everybody holds its share", func() string {
		sum := 0
		for _, s := range f.seats {
			c := s.m.Counts()
			if sum += c.HeldShards; c.HeldShards != c.WantedShards || !s.m.ReadsOpen() || s.m.Dirty() {
				return fmt.Sprintf("m%d holds %d shards of %d, answers %v, dirty %v", s.index, c.HeldShards, c.WantedShards, s.m.ReadsOpen(), s.m.Dirty())
			}
		}
		if sum != copies {
			return fmt.Sprintf("there are %d copies of shards, not %d", sum, copies)
		}
		return ""
	})
}

func (c *publishing) conn() string { return fmt.Sprintf("c%d-%d", c.id, c.moves) }

// instance is what the client publishes in each of its services.
func (c *publishing) instance() model.Instance {
	return model.Instance{
		IP: fmt.Sprintf("10.1.%d.%d", c.id/250, c.id%250+1), Port: 8080, Cluster: "DEFAULT", Weight: float64(c.revision), Healthy: true, Enabled: true,
	}
}

// connect makes the client's connection and registers all that it has.
func (c *publishing) connect(f *fleet, at *seat) {
	f.t.Helper()
	c.seat = at
	agent := model.Client{IP: c.instance().IP, Agent: agents[RedoJava], App: "sim"}
	at.m.Connect(member.Connection{ID: c.conn(), Client: agent, Naming: true})
	for _, k := range c.services {
		c.publish(f, k)
	}
}

func (c *publishing) publish(f *fleet, k model.ServiceKey) {
	f.t.Helper()
	if err := c.seat.m.Publish(c.conn(), k, []model.Instance{c.instance()}); err != nil {
		f.t.Fatal(err)
	}
}

// even moves clients to members that have too few, as those that have too many ask them to. The order of the clients is random,
// so that those of one service are anywhere.
func (f *fleet) even() {
	most := (len(f.clients) + len(f.seats) - 1) / len(f.seats)
	held := make([]int, len(f.seats))
	var movers []*publishing
	for _, c := range f.clients {
		if held[c.seat.index] == most {
			movers = append(movers, c)
			continue
		}
		held[c.seat.index]++
	}
	to := 0
	for _, c := range movers {
		for held[to] == most {
			to++
		}
		held[to]++
		old, former := c.seat, c.conn()
		c.moves++
		c.connect(f, f.seats[to])
		old.m.Disconnect(former)
		if f.pull(); c.id%20 == 0 { // not all in one moment
			f.step()
		}
	}
}
