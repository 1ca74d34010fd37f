//go:build linux

package chaos

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	configv1alpha1 "github.com/muster-registry/muster/api/config/v1alpha1"
	"github.com/muster-registry/muster/registry/membership/peerkey"
	"github.com/muster-registry/muster/test/chaos/judge"
)

// form is how long things take.
type form struct {
	long bool
	// beat is the interval of publishers that beat, from which the graces of the short form follow.
	beat time.Duration
}

var forms = map[string]form{
	"long":  {long: true, beat: 5 * time.Second},
	"short": {beat: 2 * time.Second},
}

// pick is one of two times.
func (f form) pick(long, short time.Duration) time.Duration {
	if f.long {
		return long
	}
	return short
}

func (f form) times(long, short int) int {
	if f.long {
		return long
	}
	return short
}

// timeouts are the defaults, in the short form two fifths of those that wait for clients that beat or for members. The grace
// of ports that never answered stays: the real client's reconnecting does not become faster.
func (f form) timeouts() configv1alpha1.Timeouts {
	t := configv1alpha1.DefaultTimeouts()
	if !f.long {
		t.BeatUnhealthyAfter.Duration, t.BeatRemoveAfter.Duration = 6*time.Second, 12*time.Second
		t.ConnectionGrace.Duration, t.RefutedGrace.Duration, t.MemberLossGrace.Duration = 16*time.Second, 18*time.Second, 2*time.Minute
		t.LeaseRenewInterval.Duration, t.MemberGoneAfter.Duration = time.Second, 4*time.Second
		t.BootstrapLimit.Duration = 12 * time.Second
		t.ColdStartQuiet.Duration, t.ColdStartLimit.Duration = 2500*time.Millisecond, 14*time.Second
	}
	return t
}

// Bounds for ghosts. agreement is the limit of C, where a scenario has no other.
const agreement = 10 * time.Second

// dead is when an instance is gone whose publisher died while all was well and whose port refuses now.
func (f form) dead() time.Duration { return f.timeouts().BeatRemoveAfter.Duration + 5*time.Second }

// deadInTrouble is the same when its member was gone, or a cut could have hidden it: after the grace for refuted ones, which
// begins anew when the member is lost that has noticed it.
func (f form) deadInTrouble() time.Duration {
	return 2*f.timeouts().RefutedGrace.Duration + 25*time.Second
}

const (
	// services of a scenario, among which its publishers are spread.
	services = 3
	// patience of most scenarios.
	patience = 90 * time.Second
)

// floating are the subscribers that are at any member.
const floating = "floating"

func serviceName(i int) string { return "s-" + strconv.Itoa(i%services) }

func serviceNames() []string {
	names := make([]string, services)
	for i := range names {
		names[i] = serviceName(i)
	}
	return names
}

// cluster is a registry under test, its clients, and the judge of what it tells.
type cluster struct {
	form
	t       *testing.T // of the scenario that is under way
	net     *network
	judge   *judge.Judge
	clients *space
	dir     string // configurations, and logs of members and clients
	list    string // the file of members
	key     string

	members    []*member
	publishers []publisher
	given      int // addresses
	watchers   []string
	// further services of the scenario, and who watches them.
	further map[string][]string

	patience time.Duration // ends a test that waits for what does not come, and decides nothing else
	limit    time.Duration // of C
	// C of the scenario, and whether it has measured one.
	slowest  time.Duration
	measured bool
	remark   string // stands behind its line
}

// newCluster makes one of n members by file, of which each is watched. all is how many there may be later.
func newCluster(t *testing.T, n, all int) *cluster {
	t.Helper()
	return newSharded(t, n, all, 0)
}

// newSharded makes one with a replication factor; 0: each member holds everything.
func newSharded(t *testing.T, n, all, factor int) *cluster {
	t.Helper()
	f, ok := forms[*formName]
	if !ok {
		t.Skip("needs namespaces and minutes: make chaos-short, or make chaos")
	}
	c := prepare(t, f, newNetwork(t))
	c.list = filepath.Join(c.dir, "members")
	var lines []string
	for i := range all {
		m := c.host(fmt.Sprintf("m%d", i+1))
		m.config.Membership = configv1alpha1.Membership{Source: configv1alpha1.SourceFile, File: c.list, TLSDir: c.key}
		m.config.ReplicationFactor = factor
		lines = append(lines, net.JoinHostPort(m.address, strconv.Itoa(m.config.Listen.PeerPort)))
	}
	c.must(os.WriteFile(c.list, []byte(strings.Join(lines, "\n")+"\n"), 0o600))
	c.launch(n)
	return c
}

// prepare makes one without members.
func prepare(t *testing.T, f form, n *network) *cluster {
	t.Helper()
	c := &cluster{
		form: f, t: t, patience: patience, limit: agreement, further: map[string][]string{}, net: n, judge: judge.New(), clients: newSpace(t, false), dir: t.ArtifactDir(), key: filepath.Join(t.TempDir(), "key"),
	}
	c.must(peerkey.Write(c.key))
	return c
}

// host adds a member that does not run yet.
func (c *cluster) host(name string) *member {
	c.t.Helper()
	m := &member{node: c.net.node(), name: name, dir: c.dir, config: configv1alpha1.Default()}
	m.config.Listen.Address = m.address
	m.config.Timeouts = c.timeouts()
	c.members = append(c.members, m)
	return m
}

// launch starts the first n members, waits until they are one registry, and watches them.
func (c *cluster) launch(n int) {
	c.t.Helper()
	for _, m := range c.members[:n] {
		c.must(m.start())
	}
	c.whole()
	for _, m := range c.members[:n] {
		c.watch(m)
	}
	c.follow(floating, 2, c.servers())
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// running are the members that run.
func (c *cluster) running() []*member {
	var up []*member
	for _, m := range c.members {
		if m.runs() {
			up = append(up, m)
		}
	}
	return up
}

// servers is how clients name all of them.
func (c *cluster) servers(some ...*member) string {
	if len(some) == 0 {
		some = c.members
	}
	names := make([]string, len(some))
	for i, m := range some {
		names[i] = m.server()
	}
	return strings.Join(names, ",")
}

// address is a new one for an instance.
func (c *cluster) address() (ip string, port int) {
	c.given++
	return c.net.client(c.given), 8080
}

// pass lets time pass.
func (c *cluster) pass(d time.Duration) {
	c.t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.t.Context().Done():
		c.t.Fatal("the test is over")
	}
}

// eventually waits until holds finds nothing that is missing.
func (c *cluster) eventually(what string, missing func() string) {
	c.t.Helper()
	why := ""
	for end := time.Now().Add(c.patience); time.Now().Before(end); c.pass(50 * time.Millisecond) {
		if why = missing(); why == "" {
			return
		}
	}
	c.t.Fatalf("waited %v for %s: %s", c.patience, what, why)
}

// probed waits until the ports of n instances were found open, which is tried 10 s after they came. Only those can be refuted
// later; a ghost whose port was never seen to answer has the long grace.
func (c *cluster) probed(n int) {
	c.t.Helper()
	c.pass(11 * time.Second)
	c.eventually("the ports to be probed", func() string {
		accepted := 0
		for _, m := range c.running() {
			found, err := m.metric(c.t.Context(), `muster_member_probes_total{answer="accepted"}`)
			if err != nil {
				return err.Error()
			}
			accepted += int(found)
		}
		if accepted < n {
			return fmt.Sprintf("%d of %d", accepted, n)
		}
		return ""
	})
}

// whole waits until all members that run are ready and see each other.
func (c *cluster) whole() {
	c.t.Helper()
	c.eventually("one whole registry", func() string {
		up := c.running()
		for _, m := range up {
			v, err := m.view(c.t.Context())
			if err != nil || !v.Ready || v.Frozen || v.Dirty || len(v.Members) != len(up) {
				return fmt.Sprintf("%s: %+v, %v", m.name, v, err)
			}
		}
		return ""
	})
}

// dirty waits until members notice that they do not reach somebody: without that a cut has shown nothing.
func (c *cluster) dirty(members ...*member) {
	c.t.Helper()
	for _, m := range members {
		c.eventually(m.name+" to notice the cut", func() string {
			if v, err := m.view(c.t.Context()); err != nil || !v.Dirty {
				return fmt.Sprintf("%+v, %v", v, err)
			}
			return ""
		})
	}
}

// ready waits for one member.
func (c *cluster) ready(m *member) {
	c.t.Helper()
	c.eventually(m.name+" to be ready", func() string {
		if v, err := m.view(c.t.Context()); err != nil || !v.Ready {
			return fmt.Sprintf("%+v, %v", v, err)
		}
		return ""
	})
}

// settled waits until all that watch list exactly what is there.
func (c *cluster) settled() {
	c.t.Helper()
	c.settle(c.watchers)
}

// settledBut leaves out a member that cannot know, and those who may be its clients.
func (c *cluster) settledBut(m *member) {
	c.t.Helper()
	c.settle(slices.DeleteFunc(slices.Clone(c.watchers), func(w string) bool {
		return strings.HasSuffix(w, " at "+m.name) || strings.HasPrefix(w, floating)
	}))
}

func (c *cluster) settle(watchers []string) {
	c.t.Helper()
	c.eventually("everybody to list what is there", func() string {
		for _, w := range watchers {
			if d := c.judge.Differs(w, serviceNames()...); d != "" {
				return d
			}
		}
		for service, observers := range c.further {
			for _, o := range observers {
				if d := c.judge.Differs(o, service); d != "" {
					return d
				}
			}
		}
		return ""
	})
}

// agree measures from the heal until all members that run give the same answer, and hold the same.
func (c *cluster) agree(healed time.Time) {
	c.t.Helper()
	took := time.Duration(0)
	c.eventually("all members to agree", func() string {
		took = time.Since(healed)
		return c.disagreement()
	})
	c.agreed(took)
}

// agreeing measures the same while the scenario goes on, which later waits for it with what is returned.
func (c *cluster) agreeing(healed time.Time) (wait func()) {
	t, took := c.t, make(chan time.Duration, 1)
	var work sync.WaitGroup
	t.Cleanup(work.Wait) // the context is over by then
	work.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			asked := time.Since(healed)
			if c.disagreement() == "" {
				took <- asked
				return
			}
			select {
			case <-tick.C:
			case <-t.Context().Done():
				return
			}
		}
	})
	return func() {
		t.Helper()
		timer := time.NewTimer(c.patience)
		defer timer.Stop()
		select {
		case d := <-took:
			c.agreed(d)
		case <-timer.C:
			t.Fatalf("waited %v more for all members to agree: %s", c.patience, c.disagreement())
		}
	}
}

func (c *cluster) agreed(took time.Duration) { c.measured, c.slowest = true, max(c.slowest, took) }

// alike waits until all members agree, in a scenario without a heal to count from.
func (c *cluster) alike() {
	c.t.Helper()
	c.eventually("all members to agree", c.disagreement)
}

// answers are what one member holds and tells.
type answers struct {
	digest digest
	lists  map[string]map[string]host
}

func (c *cluster) disagreement() string {
	ctx, up := c.t.Context(), c.running()
	names := slices.AppendSeq(serviceNames(), maps.Keys(c.further))
	got := make([]answers, len(up))
	var asking errgroup.Group // all at once, as near to one moment as can be
	for i, m := range up {
		asking.Go(func() (err error) {
			got[i].lists = map[string]map[string]host{}
			if got[i].digest, err = m.digest(ctx); err != nil {
				return err
			}
			for _, s := range names {
				if got[i].lists[s], err = m.list(ctx, s); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := asking.Wait(); err != nil {
		return err.Error()
	}
	for i, m := range up {
		if got[i].digest != got[0].digest {
			return fmt.Sprintf("%s holds %+v, another %+v", m.name, got[i].digest, got[0].digest)
		}
		for _, s := range names {
			if mine, other := got[i].lists[s], got[0].lists[s]; !maps.Equal(mine, other) {
				return fmt.Sprintf("%s answers %v for %s, another %v", m.name, mine, s, other)
			}
		}
	}
	return ""
}

// scenario plays one and reports it.
func (c *cluster) scenario(t *testing.T, name string, play func()) {
	t.Helper()
	c.t, c.slowest, c.measured, c.remark = t, 0, false, ""
	before := c.judge.Counts()
	lines := len(c.judge.Violations())
	defer func() {
		n := c.judge.Counts()
		n.Lists, n.Removals, n.Ghosts = n.Lists-before.Lists, n.Removals-before.Removals, n.Ghosts-before.Ghosts
		for _, line := range c.judge.Violations()[lines:] {
			t.Log(line)
		}
		if n.Removals > 0 || n.Ghosts > 0 || c.slowest > c.limit {
			t.Errorf("%d false removals, %d ghosts, members agreed after %v", n.Removals, n.Ghosts, c.slowest)
		}
		verdict := "ok"
		if t.Failed() {
			verdict = "FAILED, logs in " + c.dir
		}
		agreed := "-"
		if c.measured {
			agreed = fmt.Sprintf("%.1fs", c.slowest.Seconds())
		}
		row := fmt.Sprintf("%-34s %7d %8d %4d %8s %4d  %s%s", name, len(c.members), n.Lists, n.Removals, agreed, n.Ghosts, verdict, c.remark)
		t.Log(row)
		results.add(row)
	}()
	play()
	c.alive()
}

// alive shows that nothing was lost and that this is not because nothing is told any more: a further instance is, to all.
func (c *cluster) alive() {
	c.t.Helper()
	c.settled()
	c.newest()
	late := c.provider()
	c.settled()
	late.leave(agreement)
	c.settled()
}

// newest waits until every member shows the newest registration of each publisher that was accepted (P5). A publisher whose own
// client may have overtaken it says it once more.
func (c *cluster) newest() {
	c.t.Helper()
	c.eventually("the newest registration to win everywhere", func() string {
		for _, m := range c.running() {
			for s := range services {
				hosts, err := m.list(c.t.Context(), serviceName(s))
				if err != nil {
					return err.Error()
				}
				for _, p := range c.publishers {
					in := p.what()
					if shown, err := strconv.Atoi(hosts[in.address()].revision); in.service == serviceName(s) && in.here && (err != nil || shown < in.accepted) {
						if real, ok := p.(*provider); ok && real.overtaken() {
							c.pass(time.Second) // its redo shall be over
							c.changed(real)
						}
						return fmt.Sprintf("%s shows revision %q of %s, %d was accepted", m.name, hosts[in.address()].revision, in.address(), in.accepted)
					}
				}
			}
		}
		return ""
	})
}
