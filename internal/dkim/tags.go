package dkim

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// tag is one name=value of a tag list. The value has its surrounding white
// space removed; from and to are where it stood in the list, that space included.
type tag struct {
	name, value string
	from, to    int
}

// Tags is a tag list (RFC 6376 section 3.2), in its order.
type Tags []tag

// ParseTags reads a tag list (RFC 6376 section 3.2). Names are case-sensitive;
// a name that comes twice makes the list invalid, and so does a control byte.
// Bytes above 0x7F are let through, for RFC 8616.
func ParseTags(s string) (Tags, error) { return appendTags(make(Tags, 0, 12), s) }

func appendTags(list Tags, s string) (Tags, error) {
	for at := 0; at < len(s); {
		end := len(s)
		if n := strings.IndexByte(s[at:], ';'); n >= 0 {
			end = at + n
		}
		spec, from := s[at:end], at
		at = end + 1
		if trimFWS(spec) == "" && at >= len(s) && len(list) > 0 {
			break // the list may end in a semicolon
		}
		name, value, ok := strings.Cut(spec, "=")
		from += len(name) + 1
		name = trimFWS(name)
		if !ok || !isTagName(name) {
			return nil, fmt.Errorf("bad tag %q", clip(trimFWS(spec)))
		}
		if hasControl(value) {
			return nil, fmt.Errorf("control byte in tag %s=", name)
		}
		if _, twice := list.Get(name); twice {
			return nil, fmt.Errorf("tag %s= twice", name)
		}
		if len(list) == MaxTags {
			return nil, fmt.Errorf("more than %d tags", MaxTags)
		}
		list = append(list, tag{name, trimFWS(value), from, end})
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("empty tag list")
	}
	return list, nil
}

// Get is the value of a tag without the white space round it, and whether the tag is there.
func (l Tags) Get(name string) (string, bool) {
	for _, t := range l {
		if t.name == name {
			return t.value, true
		}
	}
	return "", false
}

// Number reads a tag of at most max decimal digits. An absent tag is -1, and what fits in no int64 is very large.
func (l Tags) Number(name string, max int) (int64, error) {
	v, ok := l.Get(name)
	if !ok {
		return -1, nil
	}
	if v == "" || len(v) > max || strings.Trim(v, "0123456789") != "" {
		return 0, fmt.Errorf("bad number in %s=", name)
	}
	if trimmed := strings.TrimLeft(v, "0"); len(trimmed) > 18 {
		return 1<<62 - 1, nil // l= may have 76 digits; no body is as long
	}
	n, err := strconv.ParseInt(v, 10, 64)
	return n, err
}

// Instant reads a time tag: seconds since 1970, 12 digits. An absent tag is
// the zero time.
func (l Tags) Instant(name string) (time.Time, error) {
	n, err := l.Number(name, 12)
	if err != nil || n < 0 {
		return time.Time{}, err
	}
	return time.Unix(n, 0), nil
}

// Bytes decodes a base64 tag, in which white space may stand anywhere.
func (l Tags) Bytes(name string) ([]byte, error) {
	v, _ := l.Get(name)
	var buf [1024]byte // enough for a key or a signature
	plain := appendDropFWS(buf[:0], v)
	b := make([]byte, base64.StdEncoding.DecodedLen(len(plain)))
	n, err := base64.StdEncoding.Decode(b, plain)
	if err != nil {
		return nil, fmt.Errorf("bad base64 in %s=", name)
	}
	return b[:n], nil
}

// List splits a tag at its colons; an absent tag is nil.
func (l Tags) List(name string) []string {
	v, ok := l.Get(name)
	if !ok {
		return nil
	}
	items := strings.Split(v, ":")
	for i, s := range items {
		items[i] = trimFWS(s)
	}
	return items
}

// ParseField reads the tag list of a raw header field. With it comes the field without the value of its b= tag: what a signature
// signs of itself (RFC 6376 section 3.7), and nil if there is no such tag.
func ParseField(raw []byte) (tags Tags, unsigned []byte, err error) {
	tags, err = appendField(make(Tags, 0, 12), raw)
	if v := tags.place("b", raw); v.to > 0 {
		unsigned = v.without(make([]byte, 0, len(raw)), raw)
	}
	return tags, unsigned, err
}

func appendField(list Tags, raw []byte) (Tags, error) {
	return appendTags(list, string(raw[bytes.IndexByte(raw, ':')+1:]))
}

// place is where the value of a tag is in a raw field.
type place struct{ from, to int }

// place is where the value of a tag of a raw field is, and zero if there is no such tag.
func (l Tags) place(name string, raw []byte) place {
	colon := bytes.IndexByte(raw, ':') + 1
	for _, t := range l {
		if t.name == name {
			return place{colon + t.from, colon + t.to}
		}
	}
	return place{}
}

// without appends a raw field without what is at the place.
func (p place) without(dst, raw []byte) []byte {
	return append(append(dst, raw[:p.from]...), raw[p.to:]...)
}

func isTagName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '_') {
			return false
		}
	}
	return s != ""
}

func hasControl(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c-' ' >= 0x7F-' ' && (c == 0x7F || c < ' ' && !isFWS(c)) {
			return true
		}
	}
	return false
}

func isFWS(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func trimFWS(s string) string {
	for len(s) > 0 && isFWS(s[0]) {
		s = s[1:]
	}
	for len(s) > 0 && isFWS(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

func dropFWS(s string) string {
	if !hasFWS(s) {
		return s
	}
	return string(appendDropFWS(nil, s))
}

func hasFWS(s string) bool {
	for i := 0; i < len(s); i++ {
		if isFWS(s[i]) {
			return true
		}
	}
	return false
}

func appendDropFWS(dst []byte, s string) []byte {
	for {
		n := 0
		for n < len(s) && (s[n] > ' ' || !isFWS(s[n])) {
			n++
		}
		dst = append(dst, s[:n]...)
		if n == len(s) {
			return dst
		}
		s = s[n+1:]
	}
}

// clip keeps quoted input in an error short.
func clip(s string) string {
	if len(s) > 60 {
		return s[:60]
	}
	return s
}

// decodeQP decodes dkim-quoted-printable (RFC 6376 section 2.11): white space
// is ignored and =XX, in upper-case hexadecimal, is a byte.
func decodeQP(s string) (string, error) {
	s = dropFWS(s)
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '=' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", fmt.Errorf("bad =XX in quoted-printable")
		}
		n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", fmt.Errorf("bad =XX in quoted-printable")
		}
		b.WriteByte(byte(n))
		i += 2
	}
	return b.String(), nil
}

// encodeQP is the inverse of decodeQP.
func encodeQP(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c > ' ' && c != ';' && c != '=' && c != 0x7F {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}
