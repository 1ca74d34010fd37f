package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/status"

	"github.com/muster-registry/muster/registry/nacos/nacospb"
)

const (
	settled     = 0.4 // seconds: the longest wait for a setup to be taken in, as recorded
	keepEvery   = 5.0
	callTimeout = 10.0
)

// GRPCSteps takes the steps of the area grpc, those over HTTP in it too:
//
//	{connect: c, setup: {...}, ack, drop_ack, idle}   a new transport; with a setup its stream is opened and that is sent;
//	                                                  requests of the server are acknowledged (ack: [types]: only those),
//	                                                  the SetupAck is taken away (drop_ack), no health checks (idle)
//	{name, grpc: Type, conn, body, raw, bare, headers} a unary call; request id and module are added unless bare or raw
//	{send: Type, conn, body, raw}                     a message on the stream
//	{name, expect: Type, conn, within, where}         the next message of that type, "any", or "nothing" within that time
//	{forget: c}, {ack: ..., conn: c}, {close: c}      drop what came, change acknowledging, close the transport
func GRPCSteps() map[string]StepFunc {
	steps := HTTPSteps()
	maps.Copy(steps, map[string]StepFunc{
		"connect": connect, "grpc": unary, "send": send, "expect": expect, "forget": forget, "ack": setAck, "close": closeConn,
	})
	return steps
}

// grpcStep are the keys that only these steps have.
type grpcStep struct {
	Connect string         `json:"connect"`
	Setup   map[string]any `json:"setup"`
	DropAck bool           `json:"drop_ack"`
	Idle    bool           `json:"idle"`
	Ack     any            `json:"ack"` // true, false, or a list of types
	Forget  string         `json:"forget"`
	Close   string         `json:"close"`

	GRPC    string         `json:"grpc"`
	Send    string         `json:"send"`
	Conn    string         `json:"conn"`
	Raw     *string        `json:"raw"`
	Bare    bool           `json:"bare"`
	Body    map[string]any `json:"body"`
	Timeout float64        `json:"timeout"`

	Expect string `json:"expect"`
	Where  string `json:"where"`
	Type   string `json:"type"`
}

func grpcStepOf(step Step) (grpcStep, error) {
	g := grpcStep{Conn: "c", Timeout: callTimeout}
	b, err := json.Marshal(step.Raw)
	if err == nil {
		err = json.Unmarshal(b, &g)
	}
	return g, err
}

// connect opens a transport, and with a setup its stream.
func connect(ctx context.Context, s *Session, step Step) (*Answer, error) {
	g, err := grpcStepOf(step)
	if err != nil {
		return nil, err
	}
	c, err := s.dial(g.Connect)
	if err != nil || g.Setup == nil {
		return nil, err
	}
	if _, given := step.Raw["ack"]; !given {
		g.Ack = true
	}
	if err := c.open(g.Ack); err != nil {
		return nil, err
	}
	body := maps.Clone(g.Setup)
	if body["requestId"] == nil {
		body["requestId"] = "setup"
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	if err := c.send(newPayload("ConnectionSetupRequest", text, step.Headers)); err != nil {
		return nil, err
	}
	if err := c.settle(ctx); err != nil {
		return nil, err
	}
	if !g.Idle {
		s.keep(ctx, c)
	}
	if g.DropAck {
		c.take(ctx, 3, func(m message) bool { return m.kind == "SetupAckRequest" })
	}
	return nil, nil
}

// settle waits until the connection is answered, where the recording slept.
func (c *grpcConn) settle(ctx context.Context) error {
	for end := time.Now().Add(seconds(settled)); time.Now().Before(end); {
		kind, _, err := c.call(ctx, "HealthCheckRequest", []byte(`{"requestId":"settle","module":"internal"}`), nil, callTimeout)
		if err != nil || kind == "HealthCheckResponse" {
			return err
		}
		if err := Pause(ctx, settled/40); err != nil {
			return err
		}
	}
	return nil
}

// keep sends a HealthCheckRequest every 5 s, as real clients do.
func (s *Session) keep(ctx context.Context, c *grpcConn) {
	go func() {
		for Pause(ctx, keepEvery) == nil {
			// an answer is not waited for: what it says is not part of the script
			_, _, _ = c.call(ctx, "HealthCheckRequest", []byte(`{"requestId":"keep","module":"internal"}`), nil, 3)
		}
	}()
}

// unary makes a call, again and again while the answer does not fit.
func unary(ctx context.Context, s *Session, step Step) (*Answer, error) {
	g, err := grpcStepOf(step)
	if err != nil {
		return nil, err
	}
	c, err := s.connOrDial(g.Conn)
	if err != nil {
		return nil, err
	}
	body, err := g.body(step.Name)
	if err != nil {
		return nil, err
	}
	a := &Answer{Request: g.GRPC + " " + string(body), Sort: step.Sort}
	end := time.Now().Add(seconds(within(step, defaultUntil)))
	var text string
	for {
		var p *nacospb.Payload
		if p, err = c.request(ctx, g.GRPC, body, step.Headers, g.Timeout); err != nil {
			a.GRPCStatus, a.GRPCDetails = statusOf(err)
			return a, nil
		}
		a.Type, a.TypeURL = p.GetMetadata().GetType(), p.GetBody().GetTypeUrl()
		a.ResponseHeaders = p.GetMetadata().GetHeaders()
		text = string(p.GetBody().GetValue())
		if step.Until.fits(0, text) || !time.Now().Before(end) {
			break
		}
		if err := Pause(ctx, pollEvery); err != nil {
			return nil, err
		}
	}
	for name, pattern := range step.Save {
		s.Set(name, firstGroup(pattern, text), "")
	}
	if err := s.Record(a, text, step); err != nil {
		return nil, err
	}
	return a, s.Settle(ctx, step)
}

// body is what a unary call sends: the recorder put a request id and the module into it.
func (g *grpcStep) body(name string) ([]byte, error) {
	if g.Raw != nil {
		return []byte(*g.Raw), nil
	}
	body := map[string]any{}
	maps.Copy(body, g.Body)
	if !g.Bare {
		if _, given := body["requestId"]; !given {
			body["requestId"] = "q-" + name
		}
		if _, given := body["module"]; !given {
			body["module"] = moduleOf(g.GRPC)
		}
	}
	return json.Marshal(body)
}

func moduleOf(kind string) string {
	if regexp.MustCompile(`^(Server|HealthCheck|Connect|ClientDetection|PushAck|MemberReport)`).MatchString(kind) {
		return "internal"
	}
	return "naming"
}

// send puts a message on the stream, which it opens if need be.
func send(ctx context.Context, s *Session, step Step) (*Answer, error) {
	g, err := grpcStepOf(step)
	if err != nil {
		return nil, err
	}
	c, err := s.connOrDial(g.Conn)
	if err != nil {
		return nil, err
	}
	if c.stream == nil {
		if err := c.open(true); err != nil {
			return nil, err
		}
	}
	body := []byte("{}")
	if g.Raw != nil {
		body = []byte(*g.Raw)
	} else if g.Body != nil {
		if body, err = json.Marshal(g.Body); err != nil {
			return nil, err
		}
	}
	if err := c.send(newPayload(g.Send, body, step.Headers)); err != nil {
		return nil, err
	}
	if g.Send == "ConnectionSetupRequest" && g.Raw == nil {
		return nil, c.settle(ctx)
	}
	return nil, nil
}

// expect takes the next message that fits out of those that the server sent.
func expect(ctx context.Context, s *Session, step Step) (*Answer, error) {
	g, err := grpcStepOf(step)
	if err != nil {
		return nil, err
	}
	c, err := s.conn(g.Conn)
	if err != nil {
		return nil, err
	}
	want, wait := g.Expect, within(step, 3)
	if want == "nothing" {
		want = "any"
		if g.Type != "" {
			want = g.Type
		}
	}
	m, found := c.take(ctx, wait, func(m message) bool {
		return (m.kind == want || want == "any" && m.kind != "ClientDetectionRequest") && strings.Contains(m.body, g.Where)
	})
	a := &Answer{Request: "expect " + g.Expect, Sort: step.Sort}
	switch {
	case found:
		a.Push = m.kind
		return a, s.Record(a, m.body, step)
	case g.Expect == "nothing":
		a.Push = fmt.Sprintf("nothing within %s s", plain(wait))
	default:
		a.Push = fmt.Sprintf("no %s within %s s", g.Expect, plain(wait))
	}
	return a, ctx.Err()
}

func forget(_ context.Context, s *Session, step Step) (*Answer, error) {
	g, err := grpcStepOf(step)
	if err != nil {
		return nil, err
	}
	c, err := s.conn(g.Forget)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = nil
	return nil, nil
}

func setAck(_ context.Context, s *Session, step Step) (*Answer, error) {
	g, err := grpcStepOf(step)
	if err != nil {
		return nil, err
	}
	c, err := s.conn(g.Conn)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ack = g.Ack
	return nil, nil
}

func closeConn(ctx context.Context, s *Session, step Step) (*Answer, error) {
	g, err := grpcStepOf(step)
	if err != nil {
		return nil, err
	}
	c, err := s.conn(g.Close)
	if err != nil {
		return nil, err
	}
	_ = c.channel.Close()
	return nil, Pause(ctx, 0.3) // as recorded: nothing tells when the server has noticed
}

// statusOf names a status the way the recorder did.
func statusOf(err error) (code, details string) {
	st := status.Convert(err)
	name := regexp.MustCompile(`([a-z])([A-Z])`).ReplaceAllString(st.Code().String(), `${1}_${2}`)
	return strings.ToUpper(name), st.Message()
}

// plain writes 3 and 1.5.
func plain(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

func seconds(x float64) time.Duration { return time.Duration(x * float64(time.Second)) }

func (c *grpcConn) acknowledges(kind string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch ack := c.ack.(type) {
	case bool:
		return ack
	case []any:
		return slices.Contains(ack, any(kind))
	}
	return false
}
