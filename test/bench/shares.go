package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	configv1alpha1 "github.com/muster-registry/muster/api/config/v1alpha1"
	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/ring"
	"github.com/muster-registry/muster/test/bench/nacos"
)

// The rows of a cluster whose members hold a part of the shards. There is no figure that they have to reach.

const (
	sharingMembers = 3
	copies         = 2
)

// sharing starts one, and waits until each member holds its share and nothing else.
func (b *bench) sharing(ctx context.Context) (*subject, error) {
	s, err := b.members(sharingMembers, func(c *configv1alpha1.ServerConfig) { c.ReplicationFactor = copies })(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.eventually(ctx, func() error { return s.shared(ctx) }); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// shared reports whether there are as many copies of shards as there should be.
func (s *subject) shared(ctx context.Context) error {
	sum := 0
	for _, admin := range s.admin {
		n, err := metric(ctx, admin, "muster_replication_held_shards")
		if err != nil {
			return err
		}
		sum += int(n)
	}
	if sum != copies*model.ShardCount {
		return fmt.Errorf("the members hold %d shards, not %d", sum, copies*model.ShardCount)
	}
	return nil
}

// metric reads one of a member.
func metric(ctx context.Context, admin, name string) (float64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: startLimit}).Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if value, found := strings.CutPrefix(lines.Text(), name+" "); found {
			return strconv.ParseFloat(value, 64)
		}
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("the member at %s has no metric %s", admin, name)
}

// clusterShares measures registrations beside members that hold everything, and queries that another member has to answer
// beside those that the asked one answers itself.
func (b *bench) clusterShares(ctx context.Context) ([]row, error) {
	got, err := b.compare(ctx, b.registering(), b.members(sharingMembers, nil), b.sharing)
	if err != nil {
		return nil, err
	}
	register := row{
		what:    fmt.Sprintf("gRPC register, %d connections, %s services, %d members with %d copies of a shard, CPU of all", b.size.connections, count(b.size.services), sharingMembers, copies),
		against: "the same, everything at each member",
	}
	register.beside(got)
	if got, err = b.compare(ctx, b.asking(), b.sharing, b.sharingFar); err != nil {
		return []row{register}, err
	}
	query := row{
		what:    fmt.Sprintf("gRPC query, %d instances, at a member without a copy, %d members with %d copies, CPU of all", listed, sharingMembers, copies),
		against: "the same at a member with a copy",
	}
	query.beside(got)
	return []row{register, query}, nil
}

// beside has nothing to reach.
func (r *row) beside(got [][]sample) {
	r.limit, r.value, r.ratio, r.target = medians(got[0]).String(), medians(got[1]).String(), times(ratio(got[1], got[0])), "-"
}

// sharingFar is asked for what the asked member does not hold.
func (b *bench) sharingFar(ctx context.Context) (*subject, error) {
	s, err := b.sharing(ctx)
	if s != nil {
		s.far = true
	}
	return s, err
}

// asking queries each member for services that it holds, or of a far subject for those that it does not hold.
func (b *bench) asking() scenario {
	return scenario{ops: b.size.queries, open: func(ctx context.Context, s *subject) (operation, func(), error) {
		conns, stop, err := s.dial(ctx, b.size.connections, nacos.Options{})
		if err != nil {
			return nil, nil, err
		}
		lists, err := s.services(ctx, b.size.asked)
		if err == nil {
			err = b.fill(ctx, conns)
		}
		if err != nil {
			stop()
			return nil, nil, err
		}
		return func(ctx context.Context, w, i int) ([]byte, error) {
			services := lists[w%len(lists)]
			return conns[w].Call(ctx, nacos.Query, nacos.QueryBody(i, services[i%len(services)]))
		}, stop, nil
	}}
}

// services are those of the first n that each member is asked for.
func (s *subject) services(ctx context.Context, n int) ([][]string, error) {
	lists := make([][]string, len(s.admin))
	for i, admin := range s.admin {
		var v struct {
			Incarnation string
			Members     []struct{ Incarnation string }
		}
		if err := get(ctx, "http://"+admin+"/view", &v); err != nil {
			return nil, err
		}
		self, err := model.ParseIncarnation(v.Incarnation)
		if err != nil {
			return nil, err
		}
		var members []model.Member
		for _, m := range v.Members {
			id, err := model.ParseIncarnation(m.Incarnation)
			if err != nil {
				return nil, err
			}
			members = append(members, model.Member{Incarnation: id, State: model.StateComplete})
		}
		owned := ring.New(model.NewView(self, members, false), copies).Owned(self)
		for j := range n {
			key := model.ServiceKey{Namespace: model.DefaultNamespace, Group: model.DefaultGroup, Name: nacos.ServiceOf(j)}
			if owned.Has(key.Shard()) != s.far {
				lists[i] = append(lists[i], key.Name)
			}
		}
		if len(lists[i]) == 0 {
			return nil, fmt.Errorf("of %d services the member at %s can be asked for none", n, admin)
		}
	}
	return lists, nil
}
