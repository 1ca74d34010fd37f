package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/model"
)

// collector reads the member when it is asked: nothing is counted twice. No label grows with users' data.
type collector struct {
	status func() member.Status
	gauges []reading
	states *prometheus.Desc
	probes *prometheus.Desc
}

// reading is one value of a status.
type reading struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(member.Status) float64
}

func newCollector(r *member.Runner) *collector {
	c := &collector{
		status: r.Status,
		states: prometheus.NewDesc("muster_member_view_members", "Members in the view of this one, itself included, by state.", []string{"state"}, nil),
		probes: prometheus.NewDesc("muster_member_probes_total", "Probes of instances, by what their ports answered.", []string{"answer"}, nil),
	}
	add := func(name, help string, kind prometheus.ValueType, of func(member.Status) float64) {
		c.gauges = append(c.gauges, reading{prometheus.NewDesc(name, help, nil, nil), kind, of})
	}
	gauge := func(name, help string, of func(member.Status) float64) { add(name, help, prometheus.GaugeValue, of) }
	count := func(name, help string, of func(member.Counts) int) {
		gauge(name, help, func(s member.Status) float64 { return float64(of(s.Counts)) })
	}
	flag := func(name, help string, of func(member.Status) bool) {
		gauge(name, help, func(s member.Status) float64 {
			if of(s) {
				return 1
			}
			return 0
		})
	}
	flag("muster_member_ready", "1 when the member is complete and not leaving.", func(s member.Status) bool { return s.Ready })
	flag("muster_member_reads_open", "1 when lists are answered; 0 during a cold start.", func(s member.Status) bool { return s.ReadsOpen })
	flag("muster_member_strained", "1 while what clients send is read late, for want of a processor or of files: nothing is removed for being silent.", func(s member.Status) bool { return s.Strained })
	flag("muster_member_view_frozen", "1 when the source of membership cannot be reached.", func(s member.Status) bool { return s.Frozen })
	flag("muster_member_dirty", "1 when a member of the view cannot be reached or does not agree.", func(s member.Status) bool { return s.Dirty })
	gauge("muster_member_peers_connected", "Members of the view with a stream to this one.", func(s member.Status) float64 { return float64(connected(s)) })
	count("muster_catalog_services", "Services that exist.", func(n member.Counts) int { return n.Services })
	count("muster_catalog_instances", "Instances that are published.", func(n member.Counts) int { return n.Instances })
	count("muster_session_connections", "Client connections that this member holds.", func(n member.Counts) int { return n.Connections })
	count("muster_session_beat_publishers", "Publishers whose beats this member vouches for, one a service.", func(n member.Counts) int { return n.BeatClients })
	count("muster_replication_wanted_shards", "Shards that this member keeps a copy of, or fetches one.", func(n member.Counts) int { return n.WantedShards })
	count("muster_replication_held_shards", "Shards whose copy is whole.", func(n member.Counts) int { return n.HeldShards })
	count("muster_session_unclaimed_records", "Records that nobody vouches for at the moment.", func(n member.Counts) int { return n.Unclaimed })
	count("muster_push_subscriptions", "Subscriptions of the connections of this member.", func(n member.Counts) int { return n.Subscriptions })
	flag("muster_protection_active", "1 while more instances would expire at once than may: they are held back.", func(s member.Status) bool { return s.Protection.Active })
	flag("muster_protection_registry", "1 while that is so of all instances together.", func(s member.Status) bool { return s.Protection.Registry })
	gauge("muster_protection_services", "Services of which it is so by themselves.", func(s member.Status) float64 { return float64(s.Protection.Services) })
	gauge("muster_protection_held_records", "Records over their time that this member holds back.", func(s member.Status) float64 { return float64(s.Protection.Held) })
	gauge("muster_protection_release_seconds", "Seconds until the last of them is let go, at the latest.",
		func(s member.Status) float64 { return s.Protection.Release.Seconds() })
	add("muster_protection_confirmed_total", "Records that ended while others were held back, because a probe confirmed it.", prometheus.CounterValue,
		func(s member.Status) float64 { return float64(s.Protection.Confirmed) })
	add("muster_protection_released_total", "Records that ended because their time of being held back was over.", prometheus.CounterValue,
		func(s member.Status) float64 { return float64(s.Protection.Released) })
	add("muster_member_moves_asked_total", "Clients that were asked to connect elsewhere, to even out the connections.", prometheus.CounterValue,
		func(member.Status) float64 { return float64(r.Moves().Asked) })
	gauge("muster_member_connections_staying", "Connections that were asked to move more than a minute ago and are still here.",
		func(member.Status) float64 { return float64(r.Moves().Staying) })
	add("muster_replication_records_applied_total", "Records that other members have changed here.", prometheus.CounterValue,
		func(s member.Status) float64 { return float64(s.Applied) })
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	out <- c.states
	out <- c.probes
	for _, g := range c.gauges {
		out <- g.desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := c.status()
	states := map[model.MemberState]int{model.StateStarting: 0, model.StateComplete: 0, model.StateLeaving: 0}
	for _, m := range s.Members {
		states[m.State]++
	}
	for state, n := range states {
		out <- prometheus.MustNewConstMetric(c.states, prometheus.GaugeValue, float64(n), state.String())
	}
	for answer, n := range map[string]int64{
		"accepted": s.Probes.Accepted, "refused": s.Probes.Refused, "silent": s.Probes.Silent, "none": s.Probes.Dropped,
	} {
		out <- prometheus.MustNewConstMetric(c.probes, prometheus.CounterValue, float64(n), answer)
	}
	for _, g := range c.gauges {
		out <- prometheus.MustNewConstMetric(g.desc, g.kind, g.of(s))
	}
}

func connected(s member.Status) int {
	n := 0
	for _, m := range s.Members {
		if m.Connected {
			n++
		}
	}
	return n
}
