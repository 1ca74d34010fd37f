package codec

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/muster-registry/muster/registry/model"
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
	case IsNull(b):
		return nil
	case b[0] == '"':
		t.Value, t.Set = Owned(unquote(b)), true
		return nil
	case b[0] == '{' || b[0] == '[':
		return errCoerce
	}
	t.Value, t.Set = string(b), true
	return nil
}

// Owned is a copy of a part of a request, which would stay with the smallest of its parts, or the one that all share of what
// nearly every client says.
func Owned[T string | []byte](part T) string {
	switch string(part) {
	case model.DefaultNamespace:
		return model.DefaultNamespace
	case model.DefaultGroup:
		return model.DefaultGroup
	case model.DefaultCluster:
		return model.DefaultCluster
	}
	return string([]byte(part))
}

// Int is an integer that may come as a string, or with a fraction, which is cut off.
type Int int

// UnmarshalJSON implements json.Unmarshaler.
func (i *Int) UnmarshalJSON(b []byte) error {
	if IsNull(b) {
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
	if IsNull(b) {
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
	if IsNull(b) {
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
type Metadata []model.Pair

// UnmarshalJSON implements json.Unmarshaler.
func (m *Metadata) UnmarshalJSON(b []byte) error {
	if IsNull(b) {
		return nil
	}
	*m = nil
	return DecodeObject(b, m)
}

// Field implements Fields.
func (m *Metadata) Field(name, value []byte) error {
	var text Text
	if err := text.UnmarshalJSON(value); err != nil {
		return err
	}
	*m = append(*m, model.Pair{Key: string(name), Value: text.Value})
	return nil
}

// IsNull reports whether a value is null.
func IsNull(b []byte) bool { return bytes.Equal(b, []byte("null")) }

// scalar is the text of a string (trimmed), number or boolean.
func scalar(b []byte) (string, error) {
	if b[0] != '"' {
		if b[0] == '{' || b[0] == '[' {
			return "", errCoerce
		}
		return string(b), nil
	}
	return strings.TrimSpace(string(unquote(b))), nil
}
