package dkim

import (
	"strings"

	"pennypost/internal/message"
)

// Index finds the fields of a header by name.
type Index map[string][][]byte

// IndexFields makes an index of fields.
func IndexFields(fields []message.Field) Index {
	index := Index{}
	for _, f := range fields {
		name := strings.ToLower(f.Name)
		index[name] = append(index[name], f.Raw)
	}
	return index
}

// Select returns the raw fields that an h= tag names: each name takes the lowest instance not yet taken, and nothing once they
// are used up (RFC 6376 section 5.4.2).
func (x Index) Select(names []string) [][]byte {
	var out [][]byte
	taken := map[string]int{}
	for _, name := range names {
		name = strings.ToLower(name)
		all := x[name]
		if n := taken[name]; n < len(all) {
			taken[name]++
			out = append(out, all[len(all)-1-n])
		}
	}
	return out
}

// HeaderBlock is the canonical header that is signed: raw fields in their order, then the signature itself, from which b= was
// taken out, without its last line end (RFC 6376 section 3.7).
func HeaderBlock(c Canon, fields [][]byte, unsigned []byte) []byte {
	var out []byte
	for _, f := range fields {
		out = canonField(out, f, c)
	}
	return trimEOL(canonField(out, unsigned, c))
}
