package http

import (
	"errors"
	"io"
	"math"
	"mime"
	nethttp "net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxBody   = 2 << 20 // what Tomcat accepts as a form
	maxParams = 1000
)

// params are the parameters of query and form: of a repeated one the first counts, and the query before the form. A
// request has a dozen at most, which are found sooner in a list than in a map.
type params []param

type param struct{ name, value string }

// get is the value as it was sent, "" for none.
func (p params) get(name string) string {
	v, _ := p.find(name)
	return v
}

func (p params) find(name string) (value string, found bool) {
	for i := range p {
		if p[i].name == name {
			return p[i].value, true
		}
	}
	return "", false
}

// read reads forms of all methods but GET, which Nacos reads from the query alone. Other bodies are not looked at.
func (p *params) read(w nethttp.ResponseWriter, r *nethttp.Request) error {
	room, err := p.add(r.URL.RawQuery, maxParams)
	if err != nil {
		return err
	}
	if r.Method == nethttp.MethodGet || r.Method == nethttp.MethodHead || r.ContentLength == 0 || !isForm(r.Header.Get("Content-Type")) {
		return nil
	}
	body, err := io.ReadAll(nethttp.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge := (*nethttp.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return framework(nethttp.StatusRequestEntityTooLarge, "the form is larger than "+strconv.Itoa(maxBody)+" bytes")
	} else if err != nil {
		return framework(nethttp.StatusBadRequest, "the form could not be read")
	}
	_, err = p.add(string(body), room)
	return err
}

func isForm(contentType string) bool {
	const form = "application/x-www-form-urlencoded"
	if contentType == form {
		return true
	}
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && t == form
}

// add is url.ParseQuery with Tomcat's ways: a pair that cannot be decoded is skipped, a semicolon is a character. There is room
// for so many pairs, those that are skipped or repeated too: each is looked for among all.
func (p *params) add(query string, room int) (left int, err error) {
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		if room == 0 {
			return 0, framework(nethttp.StatusBadRequest, "more than "+strconv.Itoa(maxParams)+" parameters")
		}
		room--
		key, value, _ := strings.Cut(pair, "=")
		key, kerr := url.QueryUnescape(key)
		value, verr := url.QueryUnescape(value)
		if _, repeated := p.find(key); repeated || kerr != nil || verr != nil {
			continue
		}
		*p = append(*p, param{key, value})
	}
	return room, nil
}

// required is the trimmed value; empty counts as missing.
func (p params) required(name string) (string, error) {
	v := p.get(name)
	if v == "" {
		return "", badRequest("Param '%s' is required.", name)
	}
	return strings.TrimSpace(v), nil
}

// optional is the trimmed value, or otherwise when it is blank.
func (p params) optional(name, otherwise string) string {
	if v := strings.TrimSpace(p.get(name)); v != "" {
		return v
	}
	return otherwise
}

// flag reads Nacos' booleans: a handful of words are true, anything else is false.
func (p params) flag(name string, otherwise bool) bool {
	switch v := p.optional(name, ""); strings.ToLower(v) {
	case "":
		return otherwise
	case "true", "t", "yes", "y", "on":
		return true
	}
	return false
}

// strictFlag reads the booleans that only the word true makes true.
func (p params) strictFlag(name string, otherwise bool) bool {
	v := p.optional(name, "")
	if v == "" {
		return otherwise
	}
	return strings.EqualFold(v, "true")
}

// labels are the parameters that are stored or looked up, with the names that the parameter check has for them.
var labels = []struct{ name, label string }{
	{"app", "app"},
	{"beat", "beat"},
	{"cluster", "cluster"},
	{"clusterName", "cluster"},
	{"clusters", "cluster"},
	{"groupName", "group"},
	{"ip", "ip"},
	{"metadata", "Metadata"},
	{"namespaceId", "namespaceId/tenant"},
	{"serviceName", "serviceName"},
}

// notUTF8 finds a parameter that is not UTF-8: replaced characters would make two names one.
func (p params) notUTF8() (label string, found bool) {
	if !slices.ContainsFunc(p, func(q param) bool { return !utf8.ValidString(q.value) }) {
		return "", false
	}
	for _, l := range labels {
		if !utf8.ValidString(p.get(l.name)) {
			return l.label, true
		}
	}
	return "", false
}

// parseInt reads a number as Java's Integer.parseInt does.
func parseInt(s string) (int, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return 0, notANumber(s)
	}
	return int(n), nil
}

// parseDouble reads a number as Java's Double.parseDouble does, without its hexadecimal form. What is no number at all
// and what is infinite is NaN, which no range holds.
func parseDouble(s string) (float64, error) {
	if s == "NaN" || strings.TrimLeft(s, "+-") == "Infinity" {
		return math.NaN(), nil
	}
	digits := s
	if n := len(s) - 1; n > 0 && strings.IndexByte("dDfF", s[n]) >= 0 {
		digits = s[:n]
	}
	if strings.Trim(digits, "0123456789.eE+-") != "" {
		return 0, notANumber(s)
	}
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, notANumber(s)
	}
	return f, nil
}

func notANumber(s string) error { return badRequest("For input string: \"%s\"", s) }
