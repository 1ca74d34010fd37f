package http

import (
	"bytes"
	"encoding/json"
	"fmt"
	nethttp "net/http"
	"strconv"
	"strings"
	"time"

	"github.com/muster-registry/muster/registry/model"
)

const (
	typeText = "text/plain;charset=UTF-8"
	typeJSON = "application/json"
	typeHTML = "text/html;charset=utf-8"
)

// What nearly all answers have for a Content-Type; nobody changes them.
var headerJSON, headerText = []string{typeJSON}, []string{typeText}

// answer is a whole response. Answers are values, so that one place writes and counts them.
type answer struct {
	status      int
	contentType string // "" = none at all
	header      map[string]string
	body        []byte
	// end follows the body, which may be shared with other answers.
	end []byte
}

func text(status int, body string) answer {
	return answer{status: status, contentType: typeText, body: []byte(body)}
}

var done = []byte("ok")

func ok() answer { return answer{status: nethttp.StatusOK, contentType: typeText, body: done} }

func rawJSON(body []byte) answer {
	return answer{status: nethttp.StatusOK, contentType: typeJSON, body: body}
}

func toJSON(v any) answer { return rawJSON(marshal(v)) }

// marshal is for values of our own, which always have a JSON form.
func marshal(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err))
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// buffered is what net/http keeps until the end of an answer: up to there it writes the length by itself, and cheaper.
const buffered = 2 << 10

func (a answer) write(w nethttp.ResponseWriter) {
	h := w.Header()
	switch a.contentType {
	case "":
		h["Content-Type"] = nil // or net/http would guess one
	case typeJSON:
		h["Content-Type"] = headerJSON
	case typeText:
		h["Content-Type"] = headerText
	default:
		h["Content-Type"] = []string{a.contentType}
	}
	for k, v := range a.header {
		h.Set(k, v)
	}
	if n := len(a.body) + len(a.end); n > buffered {
		h["Content-Length"] = []string{strconv.Itoa(n)}
	}
	w.WriteHeader(a.status)
	// an error means that the client is gone: nobody is left to be told
	_, _ = w.Write(a.body)
	if len(a.end) > 0 {
		_, _ = w.Write(a.end)
	}
}

// refusal is a failure in one of the three shapes that Nacos v1 has for it (nacos-protocol §0).
type refusal struct {
	shape  shape
	status int
	text   string
}

type shape int

const (
	shapeText      shape = iota // business errors: text
	shapeBare                   // parameter check, server status: no content type
	shapeFramework              // filters and unknown paths: the framework's JSON
)

func (r *refusal) Error() string { return r.text }

func badRequest(format string, args ...any) *refusal {
	return &refusal{shapeText, nethttp.StatusBadRequest, fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) *refusal {
	return &refusal{shapeText, nethttp.StatusNotFound, fmt.Sprintf(format, args...)}
}

// caused is how Nacos words an exception that nobody foresaw.
func caused(text string) *refusal {
	return &refusal{shapeText, nethttp.StatusInternalServerError, "caused: " + text + ";"}
}

func framework(status int, text string) *refusal { return &refusal{shapeFramework, status, text} }

// bare is a parameter that the check refuses.
func bare(text string) *refusal {
	return &refusal{shapeBare, nethttp.StatusBadRequest, text + "\r\n"}
}

func noSuchAPI(r *nethttp.Request) *refusal {
	return framework(nethttp.StatusNotImplemented, "no such api:"+r.Method+":"+rawPath(r))
}

// unavailable is what Nacos answers while its server status does not allow a request; "now" has no blank before it.
func unavailable(status, detail string) *refusal {
	t := "server is " + status + "now, please try again later!"
	if detail != "" {
		t += ", detailed error message: " + detail
	}
	return &refusal{shapeBare, nethttp.StatusServiceUnavailable, t}
}

// refusalOf maps failures of the member. Everything that clients shall try again, here or elsewhere, is a 503.
func refusalOf(err error) *refusal {
	switch model.CodeOf(err) {
	case model.CodeInvalid:
		return badRequest("%s", err.Error())
	case model.CodeNotFound:
		return notFound("%s", err.Error())
	case model.CodeNotReady:
		return unavailable("WRITE_ONLY", err.Error()) // reads are closed, registrations pass
	}
	return caused(err.Error())
}

// answer gives the refusal its shape.
func (r *refusal) answer(req *nethttp.Request, now time.Time) answer {
	switch r.shape {
	case shapeBare:
		return answer{status: r.status, body: []byte(r.text)}
	case shapeFramework:
		a := toJSON(frameworkError{
			Timestamp: now.UTC().Format("2006-01-02T15:04:05.000-07:00"), Status: r.status,
			Error: nethttp.StatusText(r.status), Message: r.text, Path: rawPath(req),
		})
		a.status = r.status
		return a
	}
	return text(r.status, r.text)
}

type frameworkError struct {
	Timestamp string `json:"timestamp"`
	Status    int    `json:"status"`
	Error     string `json:"error"`
	Message   string `json:"message"`
	Path      string `json:"path"`
}

// rawPath is the path as the client wrote it, with its trailing slash.
func rawPath(r *nethttp.Request) string {
	p, _, _ := strings.Cut(r.RequestURI, "?")
	if !strings.HasPrefix(p, "/") { // through a proxy, or OPTIONS *
		p = r.URL.EscapedPath()
	}
	return strings.ToValidUTF8(p, "\uFFFD")
}
