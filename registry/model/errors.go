package model

import (
	"errors"
	"fmt"
)

// Code is a public failure of the registry. Adapters map it to their protocol in one function each.
type Code int

// Codes. Retryable ones become errors that clients retry (gRPC ErrorResponse, HTTP 503), never a typed refusal.
const (
	CodeInvalid      Code = iota + 1 // a parameter is wrong: the message names it
	CodeNotFound                     // no such service or instance
	CodeNotReady                     // the member is not complete, or reads are not open yet (retryable)
	CodeUnregistered                 // no such connection: the client must set it up again
	CodeNoClient                     // the connection has no naming client (labels without module=naming)
)

// Error is a public failure.
type Error struct {
	Code    Code
	Message string
}

// Error is the message alone: it is shown to users.
func (e *Error) Error() string { return e.Message }

// Is makes errors.Is compare codes.
func (e *Error) Is(target error) bool {
	var t *Error
	return errors.As(target, &t) && t.Code == e.Code && t.Message == ""
}

// Errorf makes a public failure.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Sentinels for errors.Is.
var (
	ErrInvalid      = &Error{Code: CodeInvalid}
	ErrNotFound     = &Error{Code: CodeNotFound}
	ErrNotReady     = &Error{Code: CodeNotReady}
	ErrUnregistered = &Error{Code: CodeUnregistered}
	ErrNoClient     = &Error{Code: CodeNoClient}
)

// CodeOf returns the code of a public failure, 0 for any other error.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}
