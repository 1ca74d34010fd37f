package grpc

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/muster-registry/muster/registry/model"
)

const (
	serverCheck   = "ServerCheckRequest"
	errorResponse = "ErrorResponse"
)

// handler serves one type of request.
type handler struct {
	kind string
	// response is the type of its answer and of its final refusals.
	response string
	serve    func(s *Server, t *transport, body []byte) (frame, error)
}

// handlers are all types of request that are served. Those of other servers are known only to be refused.
var handlers = byKind(
	handler{"HealthCheckRequest", "HealthCheckResponse", healthCheck},
	handler{"InstanceRequest", "InstanceResponse", instance},
	handler{"BatchInstanceRequest", "BatchInstanceResponse", batchInstance},
	handler{"ServiceQueryRequest", "QueryServiceResponse", serviceQuery},
	handler{"SubscribeServiceRequest", "SubscribeServiceResponse", subscribeService},
	handler{"ServiceListRequest", "ServiceListResponse", serviceList},

	forbidden("ServerLoaderInfoRequest"),
	forbidden("ServerReloadRequest"),
	forbidden("MemberReportRequest"),
	forbidden("DistroDataRequest"),
)

func byKind(all ...handler) map[string]handler {
	m := make(map[string]handler, len(all))
	for _, h := range all {
		m[h.kind] = h
	}
	return m
}

func forbidden(kind string) handler {
	return handler{kind, errorResponse, func(_ *Server, _ *transport, body []byte) (frame, error) {
		if err := decode(body, emptyRequest{}); err != nil {
			return nil, err
		}
		return nil, errForbidden(kind)
	}}
}

// call answers one unary call, which dec receives. A panic ends it, and nothing else (docs/adr/0017).
func (s *Server) call(ctx context.Context, dec func(any) error) (f frame, err error) {
	var p payload
	defer p.free()
	panicked := s.guarded("request", func() {
		if err = dec(&p); err == nil {
			f, err = s.request(ctx, &p)
		}
	})
	if panicked {
		s.metrics.panickedIn(p.kind)
		return newFrame(errorResponse, errInternal.response()), nil
	}
	return f, err
}

// wait waits for done, which may be nil, but no longer than the limit, nor than ctx lasts.
func wait(ctx context.Context, done <-chan struct{}, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// request answers what was received.
func (s *Server) request(ctx context.Context, p *payload) (frame, error) {
	t := transportOf(ctx)
	if t == nil {
		return nil, status.Error(codes.Internal, "no transport")
	}
	began := time.Now()
	kind := p.kind
	if kind == serverCheck {
		if s.core.Self().State == model.StateLeaving {
			wait(ctx, nil, leavingPause)
			return nil, status.Error(codes.Unavailable, "the member is leaving")
		}
		s.metrics.answered(kind, began)
		return newFrame("ServerCheckResponse", serverCheckResponse(t.id)), nil
	}
	h, known := handlers[kind]
	if !known {
		kind = otherKind
	}
	f, err := s.serve(ctx, t, h, known, p.body)
	if err == nil {
		s.metrics.answered(kind, began)
		return f, nil
	}
	return s.answerFailure(t, h, kind, began, err), nil
}

// serve keeps the reference's order of checks: 302 comes before 301, and both before the body is read.
func (s *Server) serve(ctx context.Context, t *transport, h handler, known bool, body []byte) (frame, error) {
	if !known {
		return nil, errNoHandler
	}
	if !t.connected() && !t.awaitSetup(ctx, len(body)) {
		return nil, errUnregistered
	}
	s.core.Touch(t.id)
	return h.serve(s, t, body)
}

func (s *Server) answerFailure(t *transport, h handler, kind string, began time.Time, err error) frame {
	if r := (refusal{}); errors.As(err, &r) {
		s.metrics.failed(kind, "refused", began)
		a := &answerError{500, 400, "Param check invalid:" + r.Error()}
		return newFrame(h.response, a.response())
	}
	a := failure(err, t)
	s.metrics.failed(kind, a.label(), began)
	said := model.ClipClientText(err.Error()) // a part of it may be the client's
	if a == errInternal {
		s.log.Error("request failed", "type", kind, "connection", t.id, "error", said)
	} else {
		s.log.Debug("request not served", "type", kind, "connection", t.id, "error", said)
	}
	return newFrame(errorResponse, a.response())
}
