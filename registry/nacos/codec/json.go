package codec

import (
	"math"
	"strconv"
	"unicode/utf8"
)

// AppendString writes a JSON string the way Jackson does: nothing but quotes, backslashes and control characters is
// escaped. Bytes that are not UTF-8 become the replacement character.
func AppendString(b []byte, s string) []byte { return appendString(b, s) }

// AppendDouble writes a number the way Java does, with a fraction even if it is 0. A value that JSON has no number for
// is the string that Jackson writes ("NaN").
func AppendDouble(b []byte, v float64) []byte { return appendWeight(b, FormHTTP, v) }

const hexDigits = "0123456789ABCDEF"

func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	clean := 0 // everything before it is written
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(append(b, s[clean:i]...), "\uFFFD"...)
				clean = i + 1
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		b = appendEscape(append(b, s[clean:i]...), c)
		i++
		clean = i
	}
	return append(append(b, s[clean:]...), '"')
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\b':
		return append(b, `\b`...)
	case '\t':
		return append(b, `\t`...)
	case '\n':
		return append(b, `\n`...)
	case '\f':
		return append(b, `\f`...)
	case '\r':
		return append(b, `\r`...)
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
}

// appendWeight keeps gRPC lists readable whatever was registered over HTTP: Go clients drop a whole list that has a
// string where a number belongs, so there a weight that is no number is 0 (listed, never chosen).
func appendWeight(b []byte, form Form, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		switch {
		case form == FormGRPC:
			return append(b, "0.0"...)
		case math.IsNaN(v):
			return append(b, `"NaN"`...)
		case v > 0:
			return append(b, `"Infinity"`...)
		}
		return append(b, `"-Infinity"`...)
	}
	if v == math.Trunc(v) && math.Abs(v) < 1e7 {
		return strconv.AppendFloat(b, v, 'f', 1, 64)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}
