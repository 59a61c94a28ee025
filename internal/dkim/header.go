package dkim

import (
	"slices"

	"pennypost/internal/message"
)

// Index finds the fields of a header by name, in a time that does not depend on how many there are.
type Index struct {
	fields []message.Field
	above  []int          // for each field, the next one of its name above it, or -1
	names  map[string]int // for each name in lower case, its place in lowest
	lowest []int          // for each name, its lowest field
}

// IndexFields makes an index of fields, which it keeps.
func IndexFields(fields []message.Field) Index {
	x := Index{fields: fields, above: make([]int, len(fields)), names: make(map[string]int, len(fields)), lowest: make([]int, 0, len(fields))}
	var buf [64]byte
	for i, f := range fields {
		name := appendLower(buf[:0], f.Name)
		n, ok := x.names[string(name)]
		if !ok {
			n = len(x.lowest)
			x.names[string(name)] = n
			x.lowest = append(x.lowest, -1)
		}
		x.above[i], x.lowest[n] = x.lowest[n], i
	}
	return x
}

// Without is an index of the same fields but one, known by its raw bytes.
func (x Index) Without(raw []byte) Index {
	return IndexFields(slices.DeleteFunc(slices.Clone(x.fields), func(f message.Field) bool { return &f.Raw[0] == &raw[0] }))
}

// Count is how many fields of a name there are.
func (x Index) Count(name string) (count int) {
	n, ok := x.find(name)
	if !ok {
		return 0
	}
	for i := x.lowest[n]; i >= 0; i = x.above[i] {
		count++
	}
	return count
}

func (x Index) find(name string) (int, bool) {
	var buf [64]byte
	n, ok := x.names[string(appendLower(buf[:0], name))]
	return n, ok
}

// Select returns the raw fields that an h= tag names: each name takes the lowest instance not yet taken, and nothing once they
// are used up (RFC 6376 section 5.4.2).
func (x Index) Select(names []string) [][]byte {
	out := make([][]byte, 0, len(names))
	next := slices.Clone(x.lowest)
	for _, name := range names {
		if n, ok := x.find(name); ok && next[n] >= 0 {
			out = append(out, x.fields[next[n]].Raw)
			next[n] = x.above[next[n]]
		}
	}
	return out
}

func appendLower(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}

// HeaderBlock is the canonical header that is signed: raw fields in their order, then the signature itself, from which b= was
// taken out, without its last line end (RFC 6376 section 3.7).
func HeaderBlock(c Canon, fields [][]byte, unsigned []byte) []byte {
	size := len(unsigned) + 2
	for _, f := range fields {
		size += len(f) + 2
	}
	out := make([]byte, 0, size)
	for _, f := range fields {
		out = canonField(out, f, c)
	}
	return trimEOL(canonField(out, unsigned, c))
}
