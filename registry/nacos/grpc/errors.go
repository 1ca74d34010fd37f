package grpc

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/muster-registry/muster/registry/model"
	"github.com/muster-registry/muster/registry/nacos/codec"
)

// answerError is a failure as the protocol shows it: an ErrorResponse, which clients retry.
type answerError struct {
	result, code int
	message      string
}

// Error implements error.
func (e *answerError) Error() string { return e.message }

// Failures that the adapter finds by itself (nacos-protocol §3.4).
var (
	errNoHandler    = &answerError{500, 302, "RequestHandler Not Found"}
	errUnregistered = &answerError{500, 301, "Connection is unregistered."}
	errDeserialize  = &answerError{500, 502, "errCode: 101, errMsg: Nacos deserialize failed.  "} // two blanks, as recorded
	errNullRequest  = &answerError{500, 502, "Invalid request"}
)

// errInternal stands for what is no client's fault, and none of its business.
var errInternal = &answerError{500, 500, "internal error"}

func errForbidden(kind string) error {
	return &answerError{500, 502, " invoke " + kind + " from sdk is forbidden"} // leading blank, as recorded
}

// errFailed is what becomes of a failure in a handler of the reference.
func errFailed(format string, args ...any) error {
	return &answerError{500, 500, fmt.Sprintf(format, args...)}
}

// refusal is final: it goes out as the request's own type of response, which Go clients take as finished.
type refusal struct{ error }

// failure maps any error to what a client is told. It is the only place where model's codes become Nacos's.
func failure(err error, t *transport) *answerError {
	var a *answerError
	if errors.As(err, &a) {
		return a
	}
	switch model.CodeOf(err) {
	case model.CodeInvalid:
		return &answerError{400, 400, err.Error()}
	case model.CodeNotFound:
		return &answerError{404, 404, err.Error()}
	case model.CodeNotReady:
		return &answerError{500, 300, err.Error()}
	case model.CodeUnregistered:
		return errUnregistered
	case model.CodeNoClient:
		return &answerError{-401, -401, "errCode: -401, errMsg: Client [" + t.id +
			"] connection already disconnect, can't register ephemeral instance. "}
	}
	return errInternal
}

// response is the JSON of a failure.
func (e *answerError) response() []byte {
	b := strconv.AppendInt([]byte(`{"resultCode":`), int64(e.result), 10)
	b = strconv.AppendInt(append(b, `,"errorCode":`...), int64(e.code), 10)
	b = codec.AppendString(append(b, `,"message":`...), e.message)
	return append(b, `,"success":false}`...)
}
