package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"time"

	configv1alpha1 "github.com/muster-registry/muster/api/config/v1alpha1"
	"github.com/muster-registry/muster/test/bench/limit"
	"github.com/muster-registry/muster/test/bench/load"
	"github.com/muster-registry/muster/test/bench/nacos"
)

const (
	mebibyte = 1 << 20
	// perInstance is what a registry may need for an instance besides its strings, to be called thrifty.
	perInstance = 100
)

// populate registers instances 0 to n-1, each by itself, so many in each service, in turn over all connections.
func populate(ctx context.Context, conns []*nacos.Conn, n, each int) error {
	_, err := load.Closed(ctx, len(conns), n, func(ctx context.Context, w, i int) error {
		_, err := conns[w].Call(ctx, nacos.Register, nacos.RegisterBody(i, nacos.ServiceOf(i/each), nacos.InstanceOf(i)))
		return err
	})
	return err
}

func (b *bench) memoryInstance(ctx context.Context) ([]row, error) {
	many, err := b.heapOf(ctx, perService)
	if err != nil {
		return nil, err
	}
	many.judgeHeap(4, 600)
	alone, err := b.heapOf(ctx, 1)
	if err != nil {
		return nil, err
	}
	alone.judgeHeap(0, 1024)
	return []row{many.row, alone.row}, nil
}

// heap is a row of the live heap.
type heap struct {
	row
	limit, bytes float64
}

// judgeHeap: at most so many times the limit (0 = as it comes), and under so many bytes.
func (h *heap) judgeHeap(most float64, under float64) {
	x := h.bytes / h.limit
	h.ratio, h.judged = times(x), true
	if h.target = fmt.Sprintf("< %.0f B", under); most > 0 {
		h.target = fmt.Sprintf("<= %.0f, %s", most, h.target)
	}
	h.met = h.bytes < under && (most == 0 || x <= most)
}

// heapOf fills a member, so many instances a service, asks for a tenth of the services, and reads its live heap.
func (b *bench) heapOf(ctx context.Context, each int) (*heap, error) {
	// What is live does not depend on how often the collector looks. More often than usual: its last look is read.
	s, err := b.members(1, nil, "GODEBUG=gctrace=1", "GOGC=50")(ctx)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	conns, stop, err := s.dial(ctx, b.size.connections, nacos.Options{})
	if err != nil {
		return nil, err
	}
	defer stop()
	before, err := b.liveHeap(ctx, s, conns, 1)
	if err != nil {
		return nil, err
	}
	n := b.size.instances
	if err := populate(ctx, conns, n, each); err != nil {
		return nil, err
	}
	services := n / each
	if _, err := load.Closed(ctx, len(conns), services/10, func(ctx context.Context, w, i int) error {
		_, err := conns[w].Call(ctx, nacos.Query, nacos.QueryBody(i, nacos.ServiceOf(i*10)))
		return err
	}); err != nil {
		return nil, err
	}
	after, err := b.liveHeap(ctx, s, conns, 2)
	if err != nil {
		return nil, err
	}
	instance, service := nacos.InstanceOf(n - 1).Strings(nacos.ServiceOf(services - 1))
	h := &heap{limit: float64(instance) + float64(service)/float64(each) + perInstance, bytes: float64(after-before) / float64(n)}
	h.what = fmt.Sprintf("live heap an instance, %s in %s services", count(n), count(services))
	h.against = fmt.Sprintf("its strings + %d B", perInstance)
	h.row.limit, h.value = fmt.Sprintf("%.0f B", h.limit), fmt.Sprintf("%.0f B", h.bytes)
	return h, nil
}

// collection is a line of gctrace: the last of the three is what lives.
var collection = regexp.MustCompile(`(?m)^gc \d+ @.* \d+->\d+->(\d+) MB, `)

// liveHeap makes garbage until the collector has looked so many times.
func (b *bench) liveHeap(ctx context.Context, s *subject, conns []*nacos.Conn, looks int) (int64, error) {
	seen := -1
	for {
		text, err := os.ReadFile(s.logs[0])
		if err != nil {
			return 0, err
		}
		all := collection.FindAllSubmatch(text, -1)
		if seen < 0 {
			seen = len(all)
		}
		if len(all) >= seen+looks {
			megabytes, err := strconv.ParseInt(string(all[len(all)-1][1]), 10, 64)
			return megabytes * mebibyte, err
		}
		if _, err := load.Closed(ctx, len(conns), 5000, func(ctx context.Context, w, i int) error {
			_, err := conns[w].Call(ctx, nacos.Query, nacos.QueryBody(i, nacos.ServiceOf(0)))
			return err
		}); err != nil {
			return 0, err
		}
	}
}

func (s *subject) resident() (int64, error) { return s.procs[0].Resident() }

// memoryConnection compares what a process grows by for each of many connections that do nothing.
func (b *bench) memoryConnection(ctx context.Context) ([]row, error) {
	body := []byte(`{"resultCode":200}`)
	subjects := []starter{b.limits(1, body, ""), b.limits(1, body, "", "-small"), b.members(1, nil)}
	kilobytes := make([][]float64, len(subjects))
	for range b.size.rounds {
		for i, start := range subjects {
			kb, err := b.growth(ctx, start)
			if err != nil {
				return nil, err
			}
			b.tell("  subject %d: %.1f KB", i+1, kb)
			kilobytes[i] = append(kilobytes[i], kb)
		}
	}
	var rows []row
	kb := func(i int) float64 { return load.Median(kilobytes[i]) }
	for i, against := range []string{"bare grpc-go, streams open", "the same with the smallest buffers"} {
		r := row{
			what: fmt.Sprintf("resident memory an idle connection, %s", count(b.size.idle)), against: against,
			limit: fmt.Sprintf("%.1f KB", kb(i)), value: fmt.Sprintf("%.1f KB", kb(2)),
		}
		r.judge(kb(2)/kb(i), 1.2)
		rows = append(rows, r)
	}
	return rows, nil
}

func (b *bench) growth(ctx context.Context, start starter) (float64, error) {
	s, err := start(ctx)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	if err := load.Wait(ctx, b.size.settle); err != nil {
		return 0, err
	}
	before, err := s.resident()
	if err != nil {
		return 0, err
	}
	_, stop, err := s.dial(ctx, b.size.idle, nacos.Options{Small: true})
	if err != nil {
		return 0, err
	}
	defer stop()
	if err := load.Wait(ctx, b.size.settle); err != nil {
		return 0, err
	}
	after, err := s.resident()
	return float64(after-before) / float64(b.size.idle) / 1000, err
}

// memoryGivenBack fills a member, takes everything back, and waits until the memory is the system's again. Beside it a bare
// process lets go of as much: what the runtime needs for a peak it never gives back.
func (b *bench) memoryGivenBack(ctx context.Context) ([]row, error) {
	bare, err := b.limits(1, []byte(`{"resultCode":200}`), "")(ctx)
	if err != nil {
		return nil, err
	}
	defer bare.stop()
	s, err := b.members(1, func(c *configv1alpha1.ServerConfig) { c.Timeouts.TombstoneLifetime.Duration = b.size.tombstone })(ctx)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	conns, stop, err := s.dial(ctx, b.size.connections, nacos.Options{})
	if err != nil {
		return nil, err
	}
	defer stop()
	holder, err := nacos.Dial(ctx, bare.grpc[0], nacos.Options{})
	if err != nil {
		return nil, err
	}
	defer holder.Close()
	start, bareStart, err := residents(s, bare)
	if err != nil {
		return nil, err
	}
	n := b.size.instances
	if err := populate(ctx, conns, n, perService); err != nil {
		return nil, err
	}
	peak, err := s.resident()
	if err != nil {
		return nil, err
	}
	for _, bytes := range []int64{peak - start, 0} {
		if _, err := holder.Call(ctx, limit.Hold, strconv.AppendInt(nil, bytes, 10)); err != nil {
			return nil, err
		}
	}
	if _, err := load.Closed(ctx, len(conns), n, func(ctx context.Context, w, i int) error {
		_, err := conns[w].Call(ctx, nacos.Register, nacos.DeregisterBody(i, nacos.ServiceOf(i/perService), nacos.InstanceOf(i)))
		return err
	}); err != nil {
		return nil, err
	}
	began := time.Now()
	enough := start + start/5
	left, bareLeft := peak, peak
	for left > enough && time.Since(began) < b.size.tombstone+b.size.giveBack {
		if err := load.Wait(ctx, time.Second); err != nil {
			return nil, err
		}
		if left, bareLeft, err = residents(s, bare); err != nil {
			return nil, err
		}
	}
	given := row{
		what: fmt.Sprintf("resident memory, %s instances registered and gone (peak %s), after %v; tombstones live %v",
			count(n), megabytes(peak), time.Since(began).Round(time.Second), b.size.tombstone),
		against: "before", limit: megabytes(start), value: megabytes(left),
	}
	given.judge(float64(left)/float64(start), 1.2)
	over, bareOver := left-start, bareLeft-bareStart
	return []row{given, {
		what: "the same, what is left over", against: "a bare process that let go of as much",
		limit: megabytes(bareOver), value: megabytes(over), ratio: times(float64(over) / float64(bareOver)), target: "-",
	}}, nil
}

func residents(a, b *subject) (ofA, ofB int64, err error) {
	if ofA, err = a.resident(); err != nil {
		return 0, 0, err
	}
	ofB, err = b.resident()
	return ofA, ofB, err
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
