package dkim

import (
	"bytes"
	"encoding/binary"
	"io"
)

// body writes the canonical form of a message body to w (RFC 6376 sections
// 3.4.3 and 3.4.4). Empty lines are only counted until something follows them,
// so that each costs the same wherever it stands.
//
// The state between two bytes is: the empty lines held back, whether the
// current line has content, and, inside a line, the white space (relaxed) and
// after it the CR (perhaps half of a line end) held back.
type body struct {
	w       io.Writer
	relaxed bool
	blank   int64
	content bool
	space   bool
	cr      bool
	any     bool // something was written to w
	size    int  // of what waits in out
	out     [bodyBuffer]byte
}

const bodyBuffer = 4096

// These are variables so that writing them allocates nothing.
var (
	lineEnds       = bytes.Repeat([]byte("\r\n"), bodyBuffer/2)
	carriageReturn = []byte("\r")
	oneBlank       = []byte(" ")
)

// reset makes b ready for another body.
func (b *body) reset(w io.Writer, c Canon) {
	b.w, b.relaxed = w, c == Relaxed
	b.blank, b.size = 0, 0
	b.content, b.space, b.cr, b.any = false, false, false, false
}

// Write takes the next part of the body, in either line-end convention.
func (b *body) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if p = b.blanks(p); len(p) == 0 {
			break
		}
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			b.part(p)
			break
		}
		if !b.wholeLine(p[:end]) {
			b.part(p[:end])
			b.endLine()
		}
		p = p[end+1:]
	}
	return n, nil
}

// blanks passes over the line ends at the start of p if a line begins there.
func (b *body) blanks(p []byte) []byte {
	if b.content || b.space || b.cr {
		return p
	}
	i := 0
	for ; i < len(p); i++ {
		if p[i] == '\r' && i+1 < len(p) {
			i++
		}
		if p[i] != '\n' {
			break
		}
		b.blank++
	}
	if i > 0 && i < len(p) && p[i-1] == '\r' {
		i--
	}
	return p[i:]
}

// wholeLine takes a line, without its LF, that begins here and is short enough for the buffer, as nearly all are: what part and
// endLine do, at once.
func (b *body) wholeLine(p []byte) bool {
	if b.content || b.space || b.cr || len(p)+2 > bodyBuffer {
		return false
	}
	if n := len(p); n > 0 && p[n-1] == '\r' {
		p = p[:n-1]
	}
	if b.relaxed {
		p = trimBlanks(p)
	}
	if len(p) == 0 {
		b.blank++
		return true
	}
	b.putBlank()
	if b.size+len(p)+2 > bodyBuffer {
		b.flush()
	}
	b.any = true
	out, n := &b.out, b.size
	for b.relaxed {
		if isBlank(p[0]) {
			p = skipBlanks(p)
			out[n] = ' '
			n++
		}
		even := evenBlanks(p)
		if even == len(p) {
			break
		}
		n += copy(out[n:], p[:even])
		p = p[even:]
	}
	n += copy(out[n:], p)
	out[n], out[n+1] = '\r', '\n'
	b.size = n + 2
	return true
}

// trimBlanks drops the white space at the end.
func trimBlanks(p []byte) []byte {
	for len(p) > 0 && isBlank(p[len(p)-1]) {
		p = p[:len(p)-1]
	}
	return p
}

// skipBlanks drops the white space at the start of what has something else too.
func skipBlanks(p []byte) []byte {
	for isBlank(p[0]) {
		p = p[1:]
	}
	return p
}

// part takes a stretch of a line. Every CR in it but one at its end is content.
func (b *body) part(p []byte) {
	if len(p) == 0 {
		return
	}
	if b.cr {
		b.cr = false
		b.emit(carriageReturn)
	}
	if p[len(p)-1] == '\r' {
		b.cr = true
		p = p[:len(p)-1]
	}
	if !b.relaxed {
		if len(p) > 0 {
			b.emit(p)
		}
		return
	}
	words := trimBlanks(p)
	if len(words) > 0 {
		b.squeeze(words)
	}
	b.space = b.space || len(words) < len(p)
}

// squeeze emits a stretch that ends in something else than white space, every run of white space in it as one blank.
func (b *body) squeeze(p []byte) {
	for {
		if isBlank(p[0]) {
			b.space = true
			p = skipBlanks(p)
		}
		n := evenBlanks(p)
		b.emit(p[:n])
		if p = p[n:]; len(p) == 0 {
			return
		}
	}
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// whiteSpace has the high bit of each of the next eight bytes that is a blank or a tab; some may be set above one that is.
func whiteSpace(p []byte) (blanks, tabs uint64) {
	const ones = 0x0101010101010101
	x := binary.LittleEndian.Uint64(p)
	y, z := x^' '*ones, x^'\t'*ones
	return (y - ones) &^ y & (0x80 * ones), (z - ones) &^ z & (0x80 * ones)
}

// evenBlanks is the length of the stretch at the start of p before the first white space that is not a single blank. It looks at
// eight bytes at a time.
func evenBlanks(p []byte) int {
	i := 0
	for last := uint64(0); i+8 <= len(p); i += 8 {
		blanks, tabs := whiteSpace(p[i:])
		if tabs|blanks&(blanks<<8|last) != 0 {
			break
		}
		last = blanks >> 56
	}
	if i > 0 && len(p)-i < 8 {
		// The last eight overlap what was seen, so that no pair is missed.
		if blanks, tabs := whiteSpace(p[len(p)-8:]); tabs|blanks&(blanks<<8) == 0 {
			return len(p)
		}
	}
	for i = max(i-1, 0); i < len(p); i++ {
		if p[i] == '\t' || p[i] == ' ' && i+1 < len(p) && isBlank(p[i+1]) {
			break
		}
	}
	return i
}

func (b *body) endLine() {
	if b.content {
		b.put(lineEnds[:2])
	} else {
		b.blank++
	}
	b.content, b.space, b.cr = false, false, false
}

// emit writes bytes of a line, after what was held back before them.
func (b *body) emit(p []byte) {
	b.putBlank()
	if b.space {
		b.space = false
		b.put(oneBlank)
	}
	b.content = true
	b.put(p)
}

// putBlank writes the empty lines that were held back.
func (b *body) putBlank() {
	for b.blank > 0 {
		n := min(b.blank, int64(len(lineEnds)/2))
		b.put(lineEnds[:2*n])
		b.blank -= n
	}
}

func (b *body) put(p []byte) {
	b.any = true
	if b.size+len(p) > bodyBuffer {
		b.flush()
	}
	if len(p) > bodyBuffer {
		_, _ = b.w.Write(p) // a hash does not fail
		return
	}
	b.size += copy(b.out[b.size:], p)
}

func (b *body) flush() {
	_, _ = b.w.Write(b.out[:b.size])
	b.size = 0
}

// Close ends an unfinished last line and drops the empty lines at the end.
// An empty body is one CRLF in the simple form and nothing in the relaxed.
func (b *body) Close() error {
	if b.cr {
		b.cr = false
		b.emit(carriageReturn)
	}
	if b.content {
		b.endLine()
	}
	if !b.any && !b.relaxed {
		b.put(lineEnds[:2])
	}
	b.flush()
	return nil
}

// canonField appends the canonical form of a header field, raw with its line
// end, to dst (RFC 6376 sections 3.4.1 and 3.4.2).
func canonField(dst, raw []byte, c Canon) []byte {
	if c == Simple {
		return append(simpleField(dst, raw), '\r', '\n')
	}
	return append(relaxedField(dst, raw), '\r', '\n')
}

// trimEOL drops the last line end, if there is one.
func trimEOL(raw []byte) []byte {
	if n := len(raw); n > 0 && raw[n-1] == '\n' {
		raw = raw[:n-1]
		if n > 1 && raw[n-2] == '\r' {
			raw = raw[:n-2]
		}
	}
	return raw
}

func simpleField(dst, raw []byte) []byte {
	raw = trimEOL(raw)
	for i, c := range raw {
		if c == '\n' && (i == 0 || raw[i-1] != '\r') {
			dst = append(dst, '\r')
		}
		dst = append(dst, c)
	}
	return dst
}

func relaxedField(dst, raw []byte) []byte {
	name, value, _ := bytes.Cut(raw, []byte{':'})
	for _, c := range bytes.TrimRight(name, " \t") {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	dst = append(dst, ':')
	start, space := len(dst), false
	for i, c := range value {
		switch {
		case c == ' ' || c == '\t':
			space = true
		case c == '\n' || c == '\r' && i+1 < len(value) && value[i+1] == '\n':
			// unfolding removes the line end, and only that
		default:
			if space && len(dst) > start {
				dst = append(dst, ' ')
			}
			space = false
			dst = append(dst, c)
		}
	}
	return dst
}
