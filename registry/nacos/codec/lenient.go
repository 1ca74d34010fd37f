package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
)

// The types below read JSON as leniently as Jackson does, because clients rely on it: numbers in strings, numbers for
// strings, 0 and 1 for booleans. null leaves the value as it was.

var errCoerce = errors.New("wrong type of JSON value")

// Text is a string that may come as a number or a boolean. Set tells it from one that was absent or null.
type Text struct {
	Value string
	Set   bool
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Text) UnmarshalJSON(b []byte) error {
	switch {
	case isNull(b):
		return nil
	case b[0] == '"':
		t.Set = true
		return json.Unmarshal(b, &t.Value)
	case b[0] == '{' || b[0] == '[':
		return errCoerce
	}
	t.Value, t.Set = string(b), true
	return nil
}

// Int is an integer that may come as a string, or with a fraction, which is cut off.
type Int int

// UnmarshalJSON implements json.Unmarshaler.
func (i *Int) UnmarshalJSON(b []byte) error {
	if isNull(b) {
		return nil
	}
	s, err := scalar(b)
	if err != nil {
		return err
	}
	if s == "" {
		*i = 0
		return nil
	}
	if n, err := strconv.ParseInt(s, 10, 32); err == nil {
		*i = Int(n)
		return nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || f > math.MaxInt32 || f < math.MinInt32 || b[0] == '"' {
		return errCoerce
	}
	*i = Int(f)
	return nil
}

// Double is a finite number that may come as a string.
type Double float64

// UnmarshalJSON implements json.Unmarshaler.
func (d *Double) UnmarshalJSON(b []byte) error {
	if isNull(b) {
		return nil
	}
	s, err := scalar(b)
	if err != nil {
		return err
	}
	if s == "" {
		*d = 0
		return nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return errCoerce
	}
	*d = Double(f)
	return nil
}

// Bool may come as a string or as a number, of which all but 0 are true.
type Bool bool

// UnmarshalJSON implements json.Unmarshaler.
func (v *Bool) UnmarshalJSON(b []byte) error {
	if isNull(b) {
		return nil
	}
	s, err := scalar(b)
	if err != nil {
		return err
	}
	switch strings.ToLower(s) {
	case "true":
		*v = true
	case "false", "":
		*v = false
	default:
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || b[0] == '"' {
			return errCoerce
		}
		*v = n != 0
	}
	return nil
}

// Metadata is a flat object whose values are Text. A value that is null is read as empty: it could not be told to a
// Python client any other way.
type Metadata map[string]string

// UnmarshalJSON implements json.Unmarshaler.
func (m *Metadata) UnmarshalJSON(b []byte) error {
	if isNull(b) {
		return nil
	}
	var values map[string]Text
	if err := json.Unmarshal(b, &values); err != nil {
		return err
	}
	*m = make(Metadata, len(values))
	for key, value := range values {
		(*m)[key] = value.Value
	}
	return nil
}

func isNull(b []byte) bool { return bytes.Equal(b, []byte("null")) }

// scalar is the text of a string (trimmed), number or boolean.
func scalar(b []byte) (string, error) {
	if b[0] != '"' {
		if b[0] == '{' || b[0] == '[' {
			return "", errCoerce
		}
		return string(b), nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return "", err
	}
	return strings.TrimSpace(s), nil
}

// unmarshalObject refuses arrays, strings and numbers where an object belongs, and what follows the object.
func unmarshalObject(b []byte, into any) error {
	b = bytes.TrimLeft(b, " \t\r\n")
	if len(b) == 0 || b[0] != '{' {
		return errCoerce
	}
	return json.Unmarshal(b, into)
}
