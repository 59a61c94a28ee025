package dkim

import (
	"bytes"
	"crypto"
	"encoding/base64"
)

// foldAt is the longest line that is written, without its line end.
const foldAt = 76

// FieldWriter lays the tags of a signature field out in lines of at most 76 bytes, with LF line ends.
type FieldWriter struct {
	out []byte
	col int
}

// NewFieldWriter begins a field.
func NewFieldWriter(name string) *FieldWriter {
	return &FieldWriter{append([]byte(name), ':'), len(name) + 1}
}

// Tag adds a tag, which is not folded.
func (f *FieldWriter) Tag(name, value string) { f.word(name + "=" + value + ";") }

// Names adds a tag that is a list of names, folded between them.
func (f *FieldWriter) Names(tag string, names []string) {
	for i, n := range names {
		end := ":"
		if i == len(names)-1 {
			end = ";"
		}
		if i == 0 {
			f.word(tag + "=" + n + end)
		} else {
			f.part(n + end)
		}
	}
}

// Sign ends the field with b=, a signature of the given raw fields and the field itself in canonical form c, and returns it with
// a line end.
func (f *FieldWriter) Sign(key crypto.Signer, c Canon, fields [][]byte) ([]byte, error) {
	f.newLine()
	f.part("b=")
	sig, err := SignBlock(key, HeaderBlock(c, fields, f.out))
	if err != nil {
		return nil, err
	}
	// The value goes to the end of the field, so that it is what removing b= takes out again, its line ends included.
	f.chunks(base64.StdEncoding.EncodeToString(sig))
	return append(f.out, '\n'), nil
}

func (f *FieldWriter) newLine() {
	f.out = append(f.out, '\n', ' ')
	f.col = 1
}

// word adds s after a blank or a fold.
func (f *FieldWriter) word(s string) {
	if f.col+1+len(s) > foldAt {
		f.newLine()
	} else {
		f.out = append(f.out, ' ')
		f.col++
	}
	f.out = append(f.out, s...)
	f.col += len(s)
}

// part adds s directly or after a fold.
func (f *FieldWriter) part(s string) {
	if f.col+len(s) > foldAt {
		f.newLine()
	}
	f.out = append(f.out, s...)
	f.col += len(s)
}

// chunks adds s, which may be folded anywhere.
func (f *FieldWriter) chunks(s string) {
	for len(s) > 0 {
		if f.col >= foldAt {
			f.newLine()
		}
		n := min(foldAt-f.col, len(s))
		f.out = append(f.out, s[:n]...)
		f.col += n
		s = s[n:]
	}
	f.out = bytes.TrimRight(f.out, " ")
}
