package catalog

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/muster-registry/muster/registry/model"
)

// Encoding names a protocol's bytes of a snapshot.
type Encoding int

// Encodings that are kept with the snapshot.
const (
	EncodingGRPC Encoding = iota
	EncodingHTTP
	encodingCount
)

// Snapshot is the immutable answer for one service at one revision, shared by all its readers.
type Snapshot struct {
	Service model.ServiceKey
	// Revision is the lastRefTime that clients see, ms; it rises strictly with every difference. 0 = reads are not open.
	Revision int64
	// Hosts are all instances, disabled ones too, by ip, port and cluster, with overrides applied.
	Hosts []model.Instance
	// Known says that the service exists, or did within the last minute.
	Known bool
	// Settings are what an administrator said of the service, nil for nothing.
	Settings *model.Settings

	// content is the revision at which these hosts came to be: what push compares. Revision may be later.
	content int64
	encoded *encodings // nil: nobody asks twice for this one
}

// encodings are shared by all revisions of the same hosts.
type encodings [encodingCount]struct {
	building sync.Mutex
	built    atomic.Pointer[encoded]
}

type encoded struct {
	list      []byte
	protected bool
}

// Content is the revision at which the hosts last differed.
func (s *Snapshot) Content() int64 { return s.content }

// Select returns the enabled instances of the clusters (comma separated, "" = all). protected: so few of them are healthy that all
// of them are shown as healthy. Who asks for healthy ones is given these alone (nacos-protocol §4.5).
func (s *Snapshot) Select(clusters string, healthyOnly bool) (out []model.Instance, protected bool) {
	var want []string
	for c := range strings.SplitSeq(clusters, ",") {
		if c = strings.TrimSpace(c); c != "" {
			want = append(want, c)
		}
	}
	slices.Sort(want) // a list may name one again and again, and is held against every instance
	want = slices.Compact(want)
	healthy := 0
	out = make([]model.Instance, 0, len(s.Hosts))
	for _, h := range s.Hosts {
		if h.Enabled && (h.Healthy || !healthyOnly) && (len(want) == 0 || named(want, h.Cluster)) {
			out = append(out, h)
			if h.Healthy {
				healthy++
			}
		}
	}
	if protected = s.Settings.Protects(healthy, len(out)); protected {
		for i := range out {
			out[i].Healthy = true
		}
	}
	return out, protected
}

func named(clusters []string, cluster string) bool {
	_, found := slices.BinarySearch(clusters, cluster)
	return found
}

// Encode is what encode makes of Select's instances. Of the whole (all clusters, healthy or not) the first reader builds it, and all
// share it: it is that of every revision of the same hosts, so the revision must not be in it.
func (s *Snapshot) Encode(e Encoding, clusters string, healthyOnly bool, encode func([]model.Instance) []byte) (list []byte, protected bool) {
	if clusters != "" || healthyOnly || s.encoded == nil {
		hosts, protected := s.Select(clusters, healthyOnly)
		return encode(hosts), protected
	}
	slot := &s.encoded[e]
	b := slot.built.Load()
	if b == nil {
		slot.building.Lock()
		defer slot.building.Unlock()
		if b = slot.built.Load(); b == nil {
			hosts, protected := s.Select("", false)
			b = &encoded{fitting(encode(hosts)), protected}
			slot.built.Store(b)
		}
	}
	return b.list, b.protected
}

// fitting is b without much room to spare: it is kept as long as the snapshot.
func fitting(b []byte) []byte {
	if cap(b)-len(b) > len(b)/16 {
		return bytes.Clone(b)
	}
	return b
}

// at is the same answer, given later.
func (s *Snapshot) at(revision int64) *Snapshot {
	later := *s
	later.Revision = revision
	return &later
}

// Snapshot returns the present answer for a service. An unchanged list keeps its revision, so nothing is pushed for it.
func (s *Store) Snapshot(now model.Time, k model.ServiceKey) *Snapshot {
	st, _ := s.stripe(k)
	st.mu.Lock()
	defer st.mu.Unlock()
	svc := st.services.Get(k)
	if svc == nil {
		return &Snapshot{Service: k, Revision: s.opts.Revise(now)}
	}
	return s.snapshot(svc, now)
}

// Answer is the present answer, stamped now: a client that comes from another member may hold the same list with a
// later revision than ours, and would drop the answer (trap 5). With keep the service is remembered, so that what is
// pushed later is newer still.
func (s *Store) Answer(now model.Time, k model.ServiceKey, keep bool) *Snapshot {
	st, _ := s.stripe(k)
	st.mu.Lock()
	defer st.mu.Unlock()
	svc := st.services.Get(k)
	if svc == nil && !keep {
		return &Snapshot{Service: k, Revision: s.opts.Revise(now)}
	}
	if svc == nil {
		svc = st.service(k)
		svc.emptySince = now.Mono
		st.emptied.Add(emptied{service: svc, at: now.Mono})
	}
	snap := s.snapshot(svc, now)
	svc.given = max(svc.given, snap.Revision, s.opts.Revise(now))
	if svc.given == snap.Revision {
		return snap
	}
	return snap.at(svc.given)
}

// snapshot builds what is missing. Called with the lock held.
func (s *Store) snapshot(svc *service, now model.Time) *Snapshot {
	last := svc.last
	if last != nil && !svc.stale {
		return last
	}
	svc.stale = false
	next := &Snapshot{Service: svc.key, Hosts: svc.hosts(), Known: svc.listed, Settings: svc.settings()}
	same := last != nil && slices.EqualFunc(last.Hosts, next.Hosts, model.Instance.Equal)
	if same && model.SameSettings(last.Settings, next.Settings) {
		if last.Known != svc.listed {
			known := *last
			known.Known = svc.listed
			svc.last = &known
		}
		return svc.last
	}
	next.Revision = max(s.opts.Revise(now), svc.given+1)
	next.content, next.encoded = next.Revision, &encodings{}
	if same && !next.protectsOtherThan(last) {
		next.content = last.content // nobody sees a difference, and nothing is pushed
	}
	svc.given, svc.last = next.Revision, next
	return next
}

// protectsOtherThan reports whether other settings may show other lists of the same hosts.
func (s *Snapshot) protectsOtherThan(o *Snapshot) bool {
	few := slices.ContainsFunc(s.Hosts, func(h model.Instance) bool { return !h.Healthy })
	return few || s.Settings.Protects(1, 1) != o.Settings.Protects(1, 1)
}

// settings are what an administrator said last.
func (svc *service) settings() *model.Settings {
	return svc.record(model.Publisher{Kind: model.KindSettings}).Settings()
}

// hosts lays the records over each other: of two publishers of one instance the newest shows, and an override changes
// weight, enabled and metadata of whoever shows.
func (svc *service) hosts() []model.Instance {
	type candidate struct {
		version  model.Version
		instance *model.Instance
	}
	shown := map[model.InstanceKey]candidate{}
	over := map[model.InstanceKey]*model.Instance{}
	for _, r := range svc.records {
		if r.Deleted {
			continue
		}
		for i := range r.Instances {
			in := &r.Instances[i]
			if r.Key.Publisher.Kind == model.KindOverride {
				over[in.Key()] = in
				continue
			}
			if c, ok := shown[in.Key()]; !ok || r.Version.Compare(c.version) > 0 {
				shown[in.Key()] = candidate{r.Version, in}
			}
		}
	}
	hosts := make([]model.Instance, 0, len(shown))
	for k, c := range shown {
		in := c.instance.Shown(svc.key)
		if o := over[k]; o != nil {
			in = overridden(in, *o)
		}
		hosts = append(hosts, in)
	}
	slices.SortFunc(hosts, func(a, b model.Instance) int {
		return cmp.Or(cmp.Compare(a.IP, b.IP), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Cluster, b.Cluster))
	})
	return hosts
}

func overridden(in, o model.Instance) model.Instance {
	in.Weight, in.Enabled = o.Weight, o.Enabled
	if !o.Metadata.Empty() {
		in.Metadata = in.Metadata.With(o.Metadata)
	}
	return in
}

// Names lists the services of a group that exist, sorted.
func (s *Store) Names(namespace, group string) []string {
	names := []string{}
	for i := range s.stripes {
		st := &s.stripes[i]
		st.mu.Lock()
		for svc := range st.services.All() {
			if svc.listed && svc.key.Namespace == namespace && svc.key.Group == group {
				names = append(names, svc.key.Name)
			}
		}
		st.mu.Unlock()
	}
	slices.Sort(names)
	return names
}

// Known reports whether a service exists, or did within the last minute.
func (s *Store) Known(k model.ServiceKey) bool {
	st, _ := s.stripe(k)
	st.mu.Lock()
	defer st.mu.Unlock()
	svc := st.services.Get(k)
	return svc != nil && svc.listed
}

// Compose is the answer for a service from records that another member holds.
func Compose(k model.ServiceKey, known bool, records []*model.Record, revision int64) *Snapshot {
	svc := &service{key: k}
	for _, r := range records {
		if r != nil && r.Key.Service == k {
			w, _ := model.Merge(svc.record(r.Key.Publisher), r)
			svc.put(w)
		}
	}
	return &Snapshot{Service: k, Revision: revision, Hosts: svc.hosts(), Known: known, Settings: svc.settings()}
}
