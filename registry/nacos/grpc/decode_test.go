package grpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"pgregory.net/rapid"

	"github.com/muster-registry/muster/registry/member"
	"github.com/muster-registry/muster/registry/nacos/nacospb"
)

// Whatever a client sends, every type of request ends in an answer of JSON.
func FuzzRequest(f *testing.F) {
	kinds := []string{
		"HealthCheckRequest", "InstanceRequest", "BatchInstanceRequest", "ServiceQueryRequest", "SubscribeServiceRequest",
		"ServiceListRequest", "DistroDataRequest", "NoSuchRequest",
	}
	for i := range kinds {
		f.Add(byte(i), []byte(doRegister))
		f.Add(byte(i), []byte(`{`+aService+`,"type":"batchRegisterInstance","instances":[null,`+anInstance+`,{}]}`))
		f.Add(byte(i), []byte(`{"namespace":null,"serviceName":7,"groupName":true,"clusters":"a,,b","subscribe":"true","pageNo":-9e9}`))
	}
	s := New(Options{Core: newFakeMember(), Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	client, server := net.Pipe()
	f.Cleanup(func() { _, _ = client.Close(), server.Close() })
	tr := &transport{Conn: server, id: "1_10.0.0.1_2"}
	s.core.Connect(member.Connection{ID: tr.id, Naming: true})
	tr.phase.Store(phaseConnected)

	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		h, known := handlers[kinds[int(kind)%len(kinds)]]
		out, err := s.serve(t.Context(), tr, h, known, body)
		if err != nil {
			if r := (refusal{}); errors.As(err, &r) {
				err = r.error
			}
			if answer := failure(err, tr).response(); !json.Valid(answer) {
				t.Errorf("not JSON: %s", answer)
			}
			return
		}
		if answer := bodyOf(t, out); !json.Valid(answer) {
			t.Errorf("not JSON: %s", answer)
		}
	})
}

// Whatever comes on the stream, a setup is read from it or it is skipped.
func FuzzSetup(f *testing.F) {
	f.Add([]byte(goSetup))
	f.Add([]byte(javaSetup))
	f.Add([]byte(`{"labels":null,"abilityTable":null}`))
	f.Add([]byte(`{"labels":{"module":["naming"]},"abilityTable":7}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		su, ok := readSetup(&payload{kind: setupRequest, body: body})
		if !ok && (su.err != nil || su.ack) {
			t.Errorf("skipped, but asks for something: %+v", su)
		}
	})
}

// A frame is on the wire what the generated code would have written.
func TestFrameIsAPayload(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.StringMatching(`[A-Za-z]{1,200}`).Draw(t, "kind")
		parts := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 300), 1, 4).Draw(t, "parts")
		b, err := wireCodec{}.Marshal(newFrame(kind, parts...))
		if err != nil {
			t.Fatal(err)
		}
		var got nacospb.Payload
		if err := encoding.GetCodecV2(grpcproto.Name).Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		want := asPayload(kind, string(bytes.Join(parts, nil)))
		want.Metadata.ClientIp = ""
		if !proto.Equal(want, &got) {
			t.Fatalf("want %v, got %v", want, &got)
		}
	})
}

// Sharing is the point of a frame: the bytes of a list go out without a copy.
func TestFrameSharesItsParts(t *testing.T) {
	list := []byte("a list")
	f := newFrame("NotifySubscriberRequest", []byte("{"), list, []byte("}"))
	if got := f[1].ReadOnlyData(); &got[0] != &list[0] {
		t.Error("the shared part was copied")
	}
}

func TestMetricNames(t *testing.T) {
	r := prometheus.NewRegistry()
	m := newMetrics(r)
	m.answered("InstanceRequest", started)
	m.failed("InstanceRequest", "500", started)
	m.acknowledged(true)
	m.sent(0)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("metrics with problems: %v, %v", problems, err)
	}
	if len(families) != 7 {
		t.Errorf("%d metrics, want 7", len(families))
	}
}

// bodyOf is the JSON of a frame.
func bodyOf(t *testing.T, f frame) []byte {
	t.Helper()
	var p nacospb.Payload
	if err := proto.Unmarshal(mem.BufferSlice(f).Materialize(), &p); err != nil {
		t.Fatal(err)
	}
	return p.GetBody().GetValue()
}

// FuzzPayload: what is received is read as the generated code would read it.
func FuzzPayload(f *testing.F) {
	for _, p := range []*nacospb.Payload{asPayload("InstanceRequest", doRegister), asPayload("", ""), {Body: &anypb.Any{TypeUrl: "x"}}} {
		p.Metadata = proto.CloneOf(p.GetMetadata())
		if p.GetMetadata() != nil {
			p.Metadata.Headers = map[string]string{"app": "shop"}
		}
		b, err := proto.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(append(b, b...))
	}
	f.Add([]byte("\x12\x04\x1a\x02\xff\xfe"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p payload
		err := p.read(b)
		var want nacospb.Payload
		if proto.Unmarshal(b, &want) != nil {
			return // headers and types of bodies, which we step over, may be the reason
		}
		if err != nil {
			t.Fatalf("refused: %v", err)
		}
		md := want.GetMetadata()
		if p.kind != md.GetType() || p.clientIP != md.GetClientIp() || !bytes.Equal(p.body, want.GetBody().GetValue()) {
			t.Errorf("read %q from %q: %q, want %v", p.kind, p.clientIP, p.body, &want)
		}
	})
}

// TestPayloadHoldsItsBuffer: the bytes of a payload are there until it is freed, and given back once.
func TestPayloadHoldsItsBuffer(t *testing.T) {
	wire, err := proto.Marshal(asPayload("InstanceRequest", doRegister))
	if err != nil {
		t.Fatal(err)
	}
	for name, parts := range map[string][][]byte{"one part": {wire}, "two parts": {wire[:10], wire[10:]}} {
		t.Run(name, func(t *testing.T) {
			pool := &countingPool{}
			var data mem.BufferSlice
			for _, p := range parts {
				b := pool.Get(len(p))
				copy(*b, p)
				data = append(data, mem.NewBuffer(b, pool))
			}
			var p payload
			if err := (wireCodec{}).Unmarshal(data, &p); err != nil {
				t.Fatal(err)
			}
			data.Free()
			if len(parts) == 1 && pool.out != 1 {
				t.Errorf("%d buffers are held", pool.out)
			}
			if got := string(p.body); got != doRegister {
				t.Errorf("the body is %q", got)
			}
			p.free()
			p.free()
			if pool.out != 0 {
				t.Errorf("%d buffers are left", pool.out)
			}
		})
	}
	var p payload
	if err := (wireCodec{}).Unmarshal(mem.BufferSlice{mem.SliceBuffer("\x12\x7f")}, &p); err == nil || p.buffer != nil {
		t.Errorf("garbage: %v, buffer %v", err, p.buffer)
	}
}

// countingPool counts the buffers that are out.
type countingPool struct{ out int }

func (p *countingPool) Get(n int) *[]byte {
	p.out++
	b := make([]byte, n, max(n, 2<<10)) // small ones are not counted by mem
	return &b
}

func (p *countingPool) Put(b *[]byte) {
	p.out--
	clear(*b)
}
