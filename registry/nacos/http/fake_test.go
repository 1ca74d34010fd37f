package http

import (
	"cmp"
	"context"
	"net"
	"slices"
	"strconv"
	"sync"

	"github.com/muster-registry/muster/registry/catalog"
	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/model"
)

// fakeCore is a whole registry of one member that keeps what HTTP clients publish, with overrides. Its time stands still.
type fakeCore struct {
	mu       sync.Mutex // guards following
	revision int64
	services map[model.ServiceKey]*fakeService

	notReady string // why, "" = ready
	err      error  // what every call ends in
	clients  []model.Client
}

type fakeService struct {
	beats     map[string]*model.Instance // by ip:port
	overrides map[model.InstanceKey]model.Instance
	settings  *model.Settings
}

func newFakeCore() *fakeCore {
	return &fakeCore{services: map[model.ServiceKey]*fakeService{}}
}

func address(ip string, port int) string { return net.JoinHostPort(ip, strconv.Itoa(port)) }

func (f *fakeCore) RegisterInstance(key model.ServiceKey, in model.Instance, client model.Client) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.register(key, in, client)
}

func (f *fakeCore) register(key model.ServiceKey, in model.Instance, client model.Client) {
	s := f.services[key]
	if s == nil {
		s = &fakeService{beats: map[string]*model.Instance{}, overrides: map[model.InstanceKey]model.Instance{}}
		f.services[key] = s
	}
	s.beats[address(in.IP, int(in.Port))] = &in
	f.clients = append(f.clients, client)
}

func (f *fakeCore) DeregisterInstance(key model.ServiceKey, ik model.InstanceKey) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	if s := f.services[key]; s != nil {
		delete(s.beats, address(ik.IP, ik.Port))
	}
	return nil
}

func (f *fakeCore) OverrideInstance(key model.ServiceKey, in model.Instance) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	s := f.services[key]
	if s == nil {
		return model.Errorf(model.CodeNotFound, "no service %s", key)
	}
	s.overrides[in.Key()] = in
	return nil
}

func (f *fakeCore) ConfigureService(key model.ServiceKey, s model.Settings) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	if f.services[key] == nil {
		return model.Errorf(model.CodeNotFound, "no service %s", key)
	}
	f.services[key].settings = &s
	return nil
}

func (f *fakeCore) Beat(_ context.Context, b member.Beat) (member.BeatResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return member.BeatResult{}, f.err
	}
	if s := f.services[b.Service]; s != nil {
		if p := s.beats[address(b.IP, b.Port)]; p != nil {
			p.Healthy = true
			return member.BeatResult{Known: true, Interval: p.BeatInterval()}, nil
		}
	}
	if b.Full == nil {
		return member.BeatResult{}, nil
	}
	f.register(b.Service, *b.Full, b.Client)
	return member.BeatResult{Known: true, Interval: b.Full.BeatInterval()}, nil
}

func (f *fakeCore) Query(key model.ServiceKey) (*catalog.Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	f.revision++
	snap := &catalog.Snapshot{Service: key, Revision: f.revision}
	s := f.services[key]
	if s == nil {
		return snap, nil
	}
	snap.Known, snap.Settings = true, s.settings
	for _, p := range s.beats {
		in := *p
		if o, ok := s.overrides[in.Key()]; ok {
			in.Weight, in.Enabled, in.Metadata = o.Weight, o.Enabled, in.Metadata.With(o.Metadata)
		}
		snap.Hosts = append(snap.Hosts, in)
	}
	slices.SortFunc(snap.Hosts, func(a, b model.Instance) int {
		return cmp.Or(cmp.Compare(a.IP, b.IP), cmp.Compare(a.Port, b.Port))
	})
	return snap, nil
}

func (f *fakeCore) ServiceNames(namespace, group string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	names := []string{}
	for key := range f.services {
		if key.Namespace == namespace && key.Group == group {
			names = append(names, key.Name)
		}
	}
	slices.Sort(names)
	return names, f.err
}

func (f *fakeCore) Counts() member.Counts {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := member.Counts{Services: len(f.services), Subscriptions: 4, Connections: 3}
	for _, s := range f.services {
		c.Instances += len(s.beats)
		c.BeatClients += len(s.beats)
	}
	return c
}

func (f *fakeCore) Ready() (bool, string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.notReady == "", f.notReady
}
