package dkim

import (
	"hash/maphash"
	"math/bits"
	"slices"

	"pennypost/internal/message"
)

// Index finds the fields of a header by name, in a time that does not depend on how many there are.
type Index struct {
	fields []message.Field
	above  []int32 // for each field, the number of the next one of its name above it; they are counted from 1, and 0 is none
	lowest []int32 // a hash table with open addresses: for each name, the number of its lowest field
}

// seed keeps those who write messages from choosing names that meet in one place of the table.
var seed = maphash.MakeSeed()

// IndexFields makes an index of fields, which it keeps.
func IndexFields(fields []message.Field) Index {
	size := 1 << bits.Len(uint(2*len(fields))) // at least half of the places stay free
	room := make([]int32, len(fields)+size)
	x := Index{fields: fields, above: room[:len(fields)], lowest: room[len(fields):]}
	for i, f := range fields {
		at := x.find(f.Name)
		x.above[i], x.lowest[at] = x.lowest[at], int32(i+1)
	}
	return x
}

// Without is an index of the same fields but one, known by its raw bytes.
func (x Index) Without(raw []byte) Index {
	return IndexFields(slices.DeleteFunc(slices.Clone(x.fields), func(f message.Field) bool { return &f.Raw[0] == &raw[0] }))
}

// Count is how many fields of a name there are.
func (x Index) Count(name string) (count int) {
	for i := x.lowest[x.find(name)]; i > 0; i = x.above[i-1] {
		count++
	}
	return count
}

// find is the place of a name in the table: where it is, or the free one where it would be.
func (x Index) find(name string) int {
	var buf [64]byte
	lower := appendLower(buf[:0], name)
	at := int(maphash.Bytes(seed, lower)) & (len(x.lowest) - 1)
	for x.lowest[at] > 0 && !isLower(x.fields[x.lowest[at]-1].Name, lower) {
		at = (at + 1) & (len(x.lowest) - 1)
	}
	return at
}

// Select returns the raw fields that an h= tag names: each name takes the lowest instance not yet taken, and nothing once they
// are used up (RFC 6376 section 5.4.2).
func (x Index) Select(names []string) [][]byte {
	return x.appendFields(make([][]byte, 0, len(names)), names)
}

func (x Index) appendFields(out [][]byte, names []string) [][]byte {
	var room [64]int32
	next := append(room[:0], x.lowest...)
	for _, name := range names {
		at := x.find(name)
		if i := next[at]; i > 0 {
			out = append(out, x.fields[i-1].Raw)
			next[at] = x.above[i-1]
		}
	}
	return out
}

// isLower says whether a name is, in lower case, another.
func isLower(name string, lower []byte) bool {
	if len(name) != len(lower) {
		return false
	}
	for i := range lower {
		if toLower(name[i]) != lower[i] {
			return false
		}
	}
	return true
}

func toLower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c |= 0x20
	}
	return c
}

func appendLower(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		dst = append(dst, toLower(s[i]))
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
