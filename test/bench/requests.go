package main

import (
	"context"
	"fmt"

	"github.com/muster-registry/muster/test/bench/load"
	"github.com/muster-registry/muster/test/bench/nacos"
)

// The scenarios of single requests.

func (b *bench) registering() scenario {
	return scenario{ops: b.size.services, open: b.calls(nil, func(i int) (string, []byte) {
		return nacos.Register, nacos.RegisterBody(i, nacos.ServiceOf(i), nacos.InstanceOf(i))
	})}
}

func (b *bench) querying() scenario {
	return scenario{ops: b.size.queries, open: b.calls(b.fill, func(i int) (string, []byte) {
		return nacos.Query, nacos.QueryBody(i, nacos.ServiceOf(i%b.size.asked))
	})}
}

// fill registers the services that are asked for, each instance by another connection.
func (b *bench) fill(ctx context.Context, conns []*nacos.Conn) error {
	_, err := load.Closed(ctx, len(conns), b.size.asked*listed, func(ctx context.Context, w, i int) error {
		// the ten of a service go to ten connections in a row
		_, err := conns[w].Call(ctx, nacos.Register, nacos.RegisterBody(i, nacos.ServiceOf(i/listed), nacos.InstanceOf(i)))
		return err
	})
	return err
}

func (b *bench) webRegistering() scenario {
	return scenario{ops: b.size.web, open: b.web(nil, nil, func(i int) []byte {
		return nacos.HTTPRegister(nacos.ServiceOf(i), nacos.InstanceOf(i))
	})}
}

func (b *bench) beating() scenario {
	registered := make([][]byte, b.size.beating)
	for i := range registered {
		registered[i] = nacos.HTTPRegister(nacos.ServiceOf(i), nacos.InstanceOf(i))
	}
	return scenario{ops: b.size.web, open: b.web(nil, registered, func(i int) []byte {
		i %= b.size.beating
		return nacos.HTTPBeat(nacos.ServiceOf(i), nacos.InstanceOf(i))
	})}
}

func (b *bench) webQuerying() scenario {
	return scenario{ops: b.size.web, open: b.web(b.fill, nil, func(i int) []byte { return nacos.HTTPList(nacos.ServiceOf(i % b.size.asked)) })}
}

// beside measures a scenario on one member, and beside it on a bare server that answers the same bytes.
func (b *bench) beside(ctx context.Context, sc scenario, r row, contentType string, target float64) ([]row, error) {
	answer, err := b.answer(ctx, sc)
	if err != nil {
		return nil, err
	}
	got, err := b.compare(ctx, sc, b.limits(1, answer, contentType), b.members(1, nil))
	if err != nil {
		return nil, err
	}
	r.limit, r.value = medians(got[0]).String(), medians(got[1]).String()
	r.judge(ratio(got[1], got[0]), target)
	return []row{r}, nil
}

// grpcRegister has the cluster of three in the same rounds.
func (b *bench) grpcRegister(ctx context.Context) ([]row, error) {
	sc := b.registering()
	answer, err := b.answer(ctx, sc)
	if err != nil {
		return nil, err
	}
	got, err := b.compare(ctx, sc, b.limits(1, answer, ""), b.members(1, nil), b.members(3, nil))
	if err != nil {
		return nil, err
	}
	bare, one, three := medians(got[0]), medians(got[1]), medians(got[2])
	what := fmt.Sprintf("gRPC register, %d connections, %s services", b.size.connections, count(b.size.services))
	alone := row{what: what + ", one member", against: "grpc-go unary, same payloads", limit: bare.String(), value: one.String()}
	alone.judge(ratio(got[1], got[0]), 1.6)
	all := row{what: what + ", 3 members, CPU of all", against: "one member", limit: one.String(), value: three.String()}
	all.judge(ratio(got[2], got[1]), 1.8)
	return []row{alone, all}, nil
}

func (b *bench) grpcQuery(ctx context.Context) ([]row, error) {
	r := row{what: fmt.Sprintf("gRPC query, %d instances", listed), against: "grpc-go unary, same payloads"}
	return b.beside(ctx, b.querying(), r, "", 1.3)
}

func (b *bench) httpRegister(ctx context.Context) ([]row, error) {
	return b.beside(ctx, b.webRegistering(), row{what: "HTTP register", against: "net/http, same answer"}, "text/plain;charset=UTF-8", 2)
}

func (b *bench) httpBeat(ctx context.Context) ([]row, error) {
	return b.beside(ctx, b.beating(), row{what: "HTTP beat (light)", against: "net/http, same answer"}, "application/json", 1.5)
}

func (b *bench) httpQuery(ctx context.Context) ([]row, error) {
	r := row{what: fmt.Sprintf("HTTP query, %d instances", listed), against: "net/http, same answer"}
	return b.beside(ctx, b.webQuerying(), r, "application/json", 1.3)
}
